"""Holdout loss of the domain in training, measured so that training does not notice."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from crma_adapters.crma.attach import Attachment
from crma_training.data.tokens import Example
from crma_training.json_lines import read_lines
from crma_training.trainer.metrics import MetricsLog
from crma_training.workbench import Task, Workbench

FILE_NAME = "holdout.jsonl"


@dataclass(frozen=True)
class HoldoutReading:
    """A line of `holdout.jsonl`.

    Attributes:
        domain: whose holdout; the one in training or an earlier one.
        step: optimizer steps done in the domain in training.
        loss: nats per answer token over `rows` rows, the same ones each time.
        seconds: what the measurement took.
    """

    domain: str
    step: int
    loss: float
    rows: int
    seconds: float


class HoldoutLog:
    """Measures and appends to `holdout.jsonl`; `watch` is given every reading too.

    Of what a stopped training left, readings up to its step `done` stay, those after it are made again.
    """

    def __init__(
        self, directory: Path, watch: Callable[[HoldoutReading], None] | None = None, done: int = 0
    ) -> None:
        self._path, self._watch = directory / FILE_NAME, watch
        kept = [reading for reading in read_holdout(directory) if 0 < done >= reading.step]
        self._path.unlink(missing_ok=True)
        for reading in kept:
            self._append(reading)

    def measure(self, task: Task, step: int, loss: Callable[[Sequence[Example]], float], rows: int) -> None:
        """One reading: `loss` of a sample of the task's holdout."""
        sample = spread(task.holdout, rows)
        began = time.perf_counter()
        value = loss(sample)
        seconds = round(time.perf_counter() - began, 4)
        self._append(HoldoutReading(task.name, step, value, len(sample), seconds))

    def _append(self, reading: HoldoutReading) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(reading)) + "\n")
        if self._watch is not None:
            self._watch(reading)


@dataclass(frozen=True)
class HoldoutCurve:
    """Measures the domain in training; called with the number of steps done (0: before the first)."""

    bench: Workbench
    task: Task
    attachment: Attachment | None
    log: HoldoutLog
    metrics: MetricsLog

    def __call__(self, done: int) -> None:
        config = self.bench.config
        every = config.holdout_every
        if every and (done % every == 0 or done == self.metrics.steps):
            with self.metrics.pause(), _undisturbed(self.bench, self.attachment):
                self.log.measure(self.task, done, self.bench.loss, config.holdout_rows)


def read_holdout(directory: Path) -> tuple[HoldoutReading, ...]:
    """The readings of a finished stage; none if its run did not measure. Raises as `read_lines`."""
    path = directory / FILE_NAME
    return read_lines(HoldoutReading, path) if path.exists() else ()


def spread(examples: Sequence[Example], rows: int) -> tuple[Example, ...]:
    """At most `rows` examples at even distances, so that no part of the holdout is left out."""
    count = min(rows, len(examples))
    return tuple(examples[index * len(examples) // count] for index in range(count))


@contextmanager
def _undisturbed(bench: Workbench, attachment: Attachment | None) -> Iterator[None]:
    training = bench.model.training
    recording = attachment is not None and attachment.record_updates
    if attachment is not None:
        attachment.record_updates = False
    try:
        yield
    finally:
        bench.model.train(training)
        if attachment is not None:
            attachment.record_updates = recording
