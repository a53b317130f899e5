"""What is known of a request while it is answered, kept in its ASGI scope for whoever watches.

Owns: the record of one request and how the routing layer adds its choice to it. Knows nothing of who watches:
without a watcher around it (`request_watch`) a choice is told to nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from crma_server.routing.selector import Choice

_MEMBER = "crma.observation"


@dataclass(frozen=True)
class Routed:
    """A choice that was made for a request.

    asked: the model name the client gave. started_ns, ended_ns: since the epoch. document: the request's body
    with the user's words in it: nobody may keep it who was not asked to.
    """

    request_id: str
    endpoint: str
    asked: str
    choice: Choice
    started_ns: int
    ended_ns: int
    document: Mapping[str, Any] = field(repr=False)

    @property
    def seconds(self) -> float:
        return (self.ended_ns - self.started_ns) / 1e9


@dataclass
class Observation:
    """One request. `listeners` are called when its choice is made."""

    request_id: str
    listeners: tuple[Callable[[Routed], None], ...] = ()
    routed: Routed | None = None

    def carried_by(self, scope: Scope) -> Scope:
        return {**scope, _MEMBER: self}


def tell_choice(
    scope: Scope, asked: str, choice: Choice, document: Mapping[str, Any], started_ns: int, ended_ns: int
) -> None:
    """Tell those who watch the request of `scope` what was chosen for it."""
    observation: Observation | None = scope.get(_MEMBER)
    if observation is None:
        return
    routed = Routed(observation.request_id, scope["path"], asked, choice, started_ns, ended_ns, document)
    observation.routed = routed
    for listener in observation.listeners:
        listener(routed)
