"""Both arms side by side, one at work at a time: A B, B A, A B, ..."""

import contextlib
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from crma_adapters.errors import TrainingError
from crma_eval.learning.overhead.arm import ARMS, ArmName, Block, Footprint, Work, work


@dataclass(frozen=True)
class Pair:
    """One block of each arm, on the same rows, one right after the other."""

    lora: Block
    crma: Block


@dataclass(frozen=True)
class Race:
    """What was measured. `pairs` in order, warm-up left out."""

    pairs: tuple[Pair, ...]
    lora: Footprint
    crma: Footprint


def race(task: Work, warmup: int, measured: Callable[[], None] = lambda: None) -> Race:
    """Runs every block in both arms; `measured` is called after each pair. The first `warmup` pairs, in which
    allocators and optimizers settle, are not counted.

    Raises:
        TrainingError: an arm failed, or its process ended.
    """
    with Runner(task, "lora") as lora, Runner(task, "crma") as crma:
        pairs = []
        for index in range(task.blocks):
            runners = (lora, crma) if index % 2 == 0 else (crma, lora)
            blocks = {runner.arm: runner.block() for runner in runners}
            pairs.append(Pair(*(blocks[arm] for arm in ARMS)))
            measured()
        return Race(tuple(pairs[warmup:]), lora.footprint(), crma.footprint())


class Runner:
    """An arm's process, seen from outside."""

    def __init__(self, task: Work, arm: ArmName) -> None:
        self.arm = arm
        context = multiprocessing.get_context("spawn")
        self._channel, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(task, arm, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def block(self) -> Block:
        """Lets the arm do one block."""
        with contextlib.suppress(OSError):  # it has ended then, and its last message says why
            self._channel.send("go")
        found = self._received(self._channel)
        assert isinstance(found, Block)
        return found

    def footprint(self) -> Footprint:
        """After the last block."""
        found = self._received(self._channel)
        assert isinstance(found, Footprint)
        return found

    def _received(self, channel: Connection) -> object:
        try:
            found = channel.recv()
        except (EOFError, ConnectionResetError) as error:
            raise TrainingError(
                f"the process of arm {self.arm} ended (was there enough memory for both arms?); "
                "try a smaller --batch-size or --model"
            ) from error
        if isinstance(found, str):
            raise TrainingError(f"arm {self.arm}: {found}")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.terminate()
        self._process.join()
        self._channel.close()
