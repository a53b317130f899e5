"""The engine that bundles are loaded into: what the server needs of it; `vllm` is the real one, and all that
knows vLLM."""

from collections.abc import Mapping
from typing import Protocol

from crma_server.releases.bundles import Bundle


class Engine(Protocol):
    """An engine that serves bundles by name.

    A registered name answers; its bundle is loaded when somebody asks for it, if it was not loaded before.
    """

    @property
    def slots(self) -> int:
        """How many bundles it can compute with at a time."""
        ...

    @property
    def room(self) -> int:
        """How many bundles its memory holds, slots included; for another the least recently used goes."""
        ...

    async def load(self, bundle: Bundle) -> None:
        """Bring a bundle into memory. Raises `IncompatibleError` if the engine refuses it."""
        ...

    async def unload(self, bundle: Bundle) -> None:
        """Let go of its memory; a registered name goes on to answer."""
        ...

    async def loaded(self) -> int:
        """How many bundles it has in memory."""
        ...

    def register(self, bundle: Bundle) -> None:
        """Have its name answer."""
        ...

    def unregister(self, bundle: Bundle) -> None:
        """Have its name answer no more. Requests under way are not touched."""
        ...

    async def first_logprobs(self, bundle: Bundle | None) -> Mapping[int, float]:
        """Generate one token for the warm-up prompt; None: on the base model.

        Returns the log-probabilities in nats of the likeliest tokens, by token id.
        """
        ...
