"""Which adapters are in the engine's memory, as far as the order of requests tells."""

from collections import OrderedDict
from collections.abc import Iterable


class Residency:
    """Follows a server whose every request is known, since its `--max-cpu-loras` hottest were asked for."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, None] = OrderedDict()

    def ask(self, models: Iterable[str]) -> tuple[bool, ...]:
        """Whether each was there when it was asked for; now it is."""
        return tuple(self._ask(model) for model in models)

    def _ask(self, model: str) -> bool:
        found = model in self._known
        self._known[model] = None
        self._known.move_to_end(model)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return found
