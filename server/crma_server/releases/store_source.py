"""The store as the place that releases come from while the server runs.

Owns: reading it again for the same base model, names and engine. Knows nothing of when.
"""

from collections.abc import Collection

from crma_adapters.store.release import Pointer
from crma_adapters.store.store import Store
from crma_server.releases.plan import Origin, ServePlan, make_plan
from crma_server.releases.snapshot import Reading, read_contents


class StoreSource:
    """The store that a plan came from."""

    def __init__(self, origin: Origin, max_rank: int, modules: frozenset[str] | None = None) -> None:
        """`max_rank` is the largest LoRA rank the running engine takes, `modules` are those it gives a LoRA
        (None: all)."""
        self._origin = origin
        self._store = Store(origin.root)
        self._max_rank = max_rank
        self._modules = modules

    def pointer(self) -> Pointer:
        """Raises `StoreError` if there is none or it is damaged."""
        return self._store.pointer()

    def plan(self, current: ServePlan, refused: Collection[int]) -> ServePlan:
        """As `make_plan`. Raises `StoreError`, `RouterError` or `ConfigError` for what cannot be served."""
        sound = [release for release in (current.release, *current.kept) if release is not None]
        how = Reading(self._origin.keep, self._max_rank, self._modules, tuple(sound), refused)
        contents = read_contents(self._store, self._origin.base, how)
        known = (*current.bundles, *current.named)
        return make_plan(contents, self._origin.served_names, keep=self._origin.keep, known=known)
