"""When a server is killed: the phases of its life, and a random point in each.

Owns: which kills a run has and in which order. Knows nothing of servers.
"""

import random
from dataclasses import dataclass
from typing import Literal

Phase = Literal["starting", "loading", "serving", "changing", "published"]
MEANING: dict[Phase, str] = {
    "starting": "store, model and engine are on their way, no adapter is loaded",
    "loading": "adapters are loaded and warmed up before the first request",
    "serving": "streams are under way",
    "changing": "a new release is opened, composed, loaded or made live, with streams under way",
    "published": "release.json has just been moved, with streams under way",
}
BEFORE_READY: frozenset[Phase] = frozenset({"starting", "loading"})


@dataclass(frozen=True)
class Moment:
    """A point of a phase: `share` of its usual length after its begin, 0 .. 1."""

    phase: Phase
    share: float


@dataclass
class Lengths:
    """How long each phase lasts, seconds. The first two and `changing` are those of the last server."""

    starting: float = 30.0
    loading: float = 5.0
    serving: float = 5.0
    changing: float = 2.0
    published: float = 0.2

    def delay_s(self, moment: Moment) -> float:
        """From the phase's begin to the kill."""
        return moment.share * float(getattr(self, moment.phase))


def draw_moments(count: int, seed: int) -> list[Moment]:
    """As many of each phase as of any other, in random order; the first is one of a server that got ready."""
    draw = random.Random(seed)
    phases: list[Phase] = []
    while len(phases) < count:
        phases += draw.sample(list(MEANING), len(MEANING))
    phases = phases[:count]
    draw.shuffle(phases)
    # The phases before it are measured on it.
    _move_first(phases, next((each for each in phases if each not in BEFORE_READY), "serving"))
    return [Moment(phase, draw.random()) for phase in phases]


def _move_first(phases: list[Phase], phase: Phase) -> None:
    if phase in phases:
        phases.remove(phase)
    else:
        phases.pop()
    phases.insert(0, phase)
