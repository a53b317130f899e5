"""A step's rows as the parts that processes and gradient accumulation work on, one after another."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from crma_training.data.tokens import Batch, collate


@dataclass(frozen=True)
class Part:
    """What one process sends through the model at once.

    Attributes:
        rows: as the step gave them: examples, or rows that hold one.
        batch: their token ids; without targets where the step had fewer rows than parts.
        step_tokens, step_answer_tokens: of the whole step, over all parts of all processes.
    """

    rows: Sequence[Any]
    batch: Batch
    step_tokens: int
    step_answer_tokens: int


class StepParts:
    """Iterates over this process's parts of every step: `accumulation` of them a step.

    Every process is given the same batches and takes its own share of each, so a step is the same whatever
    the number of processes. Batches are asked for one by one, when the step before is done; the first `skip`
    of them are passed over.
    """

    def __init__(
        self,
        batches: Iterable[Sequence[Any]],
        collate_rows: Callable[[Sequence[Any]], Batch],
        *,
        accumulation: int,
        process: int = 0,
        processes: int = 1,
        skip: int = 0,
    ) -> None:
        self._batches, self._collate = iter(batches), collate_rows
        self._accumulation, self._process, self._processes = accumulation, process, processes
        self._skip = skip

    def __iter__(self) -> Iterator[dict[str, Part]]:
        for _ in range(self._skip):
            next(self._batches, None)
        self._skip = 0
        for rows in self._batches:
            for part in self._parts(rows):
                yield {"part": part}

    def finish(self) -> None:
        """Lets what makes the batches come to its end after the last of them."""
        next(self._batches, None)

    def _parts(self, rows: Sequence[Any]) -> Iterator[Part]:
        count = self._accumulation * self._processes
        shares = [list(rows[index::count]) for index in range(count)]
        if count == 1:
            batch = self._collate(rows)
            yield Part(rows, batch, batch.tokens, batch.answer_tokens)
            return
        whole = self._collate(rows)
        for index in range(self._process, count, self._processes):
            share = shares[index]
            batch = self._collate(share) if share else _without_targets(self._collate(rows[:1]))
            yield Part(share, batch, whole.tokens, whole.answer_tokens)


def examples_batch(pad_id: int) -> Callable[[Sequence[Any]], Batch]:
    """What collates examples."""
    return lambda rows: collate(rows, pad_id)


def rows_batch(pad_id: int) -> Callable[[Sequence[Any]], Batch]:
    """What collates rows that hold an `example`."""
    return lambda rows: collate([row.example for row in rows], pad_id)


def _without_targets(batch: Batch) -> Batch:
    return replace(batch, targets=torch.full_like(batch.targets, -100), shared=0, tokens=0, answer_tokens=0)
