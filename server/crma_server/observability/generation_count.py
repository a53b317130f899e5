"""What each generation of the engine cost, counted by what answered: tokens, first token, latency, how many
are under way."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from crma_server.observability.metrics import Metrics
from crma_server.routing.catalog import Label, label_of
from crma_server.routing.selector import InFlight


@dataclass
class Generation:
    """One generation under way. `generated_tokens` are counted by sequence: a request may ask for several."""

    start_s: float
    prompt_tokens: int = 0
    generated_tokens: dict[int, int] = field(default_factory=dict)
    first_token_s: float | None = None
    finished: bool = False

    def saw(self, prompt_tokens: int, sequence: int, tokens: int, *, adds: bool) -> None:
        """`tokens` of a sequence were given out: further ones if `adds`, else all there are so far."""
        self.prompt_tokens = prompt_tokens
        before = self.generated_tokens.get(sequence, 0)
        self.generated_tokens[sequence] = before + tokens if adds else tokens


class GenerationCounter:
    """Counts generations by engine model, for the metrics and for whoever waits until a model is idle."""

    def __init__(
        self, metrics: Metrics, in_flight: InFlight, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._metrics = metrics
        self._in_flight = in_flight
        self.clock = clock
        self._running: dict[Label, int] = {}

    @contextmanager
    def generation(self, engine_model: str) -> Iterator[Generation]:
        """Within, a generation by `engine_model` is under way; it is counted however it ends."""
        label = label_of(engine_model)
        generation = Generation(self.clock())
        self._in_flight.enter(engine_model)
        self._count(label, 1)
        try:
            yield generation
        finally:
            self._count(label, -1)
            self._tell(label, generation)
            self._in_flight.leave(engine_model)  # last: whoever waits for it forgets the label's metrics

    def _count(self, label: Label, change: int) -> None:
        self._running[label] = self._running.get(label, 0) + change
        self._metrics.set_in_flight(label, self._running[label])
        if not self._running[label]:
            del self._running[label]

    def _tell(self, label: Label, generation: Generation) -> None:
        self._metrics.observe_generation(
            label,
            generation.prompt_tokens,
            sum(generation.generated_tokens.values()),
            generation.first_token_s,
            self.clock() - generation.start_s,
            finished=generation.finished,
        )
