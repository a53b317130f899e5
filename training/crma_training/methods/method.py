"""The seam between methods of continual learning and whoever compares them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from crma_training.fit import Batches, own_batches, steps_for
from crma_training.workbench import Task, Workbench


@dataclass(frozen=True)
class Serving:
    """What answers: a saved LoRA, a saved CRMA backbone, both, or neither (the bare base model)."""

    adapter: Path | None = None
    backbone: Path | None = None


@dataclass(frozen=True)
class Lesson:
    """One domain at its place in a sequence.

    Attributes:
        tasks: the whole sequence. A method may look at rows of `task` and, if it is one that stores rows, of
            `earlier`; only the upper bound of joint training looks at all.
        stages: folders of the finished stages before this one, in order.
        basis: as `stages`, this one included, of the method that this one builds on; empty without.
        generic: prompts that belong to no domain, as token ids up to where an answer begins.
    """

    bench: Workbench
    tasks: tuple[Task, ...]
    index: int
    stages: tuple[Path, ...]
    basis: tuple[Path, ...] = ()
    generic: tuple[tuple[int, ...], ...] = ()

    @property
    def task(self) -> Task:
        """The domain to learn."""
        return self.tasks[self.index]

    @property
    def earlier(self) -> tuple[Task, ...]:
        """The domains learnt before."""
        return self.tasks[: self.index]

    @property
    def last(self) -> Path | None:
        """The stage before this one; None at the first domain."""
        return self.stages[-1] if self.stages else None

    @property
    def steps(self) -> int:
        """The budget: optimizer steps of this domain, the same for every method."""
        return steps_for(self.task, self.bench.config)

    @property
    def batches(self) -> Batches:
        """This domain's batches, the same for every method with one seed."""
        return own_batches(self.task, self.bench.config, self.steps)


class Method(Protocol):
    """A way to learn domains in sequence. What it must remember between domains stands in its stage folders,
    so that a run can stop after any domain and go on in another process. A frozen dataclass: its fields are
    its settings and belong to the identity of a run.
    """

    @property
    def name(self) -> str:
        """As it is called on command lines and in reports."""
        ...

    @property
    def basis(self) -> str | None:
        """The method whose stages this one builds on instead of training itself; None for most."""
        ...

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """Learns `lesson.task`; writes into the empty `folder`. The model is left as it was found.

        Raises:
            TrainingError: the loss is not finite.
        """
        ...

    def serving(self, stages: Sequence[Path], domain: int) -> Serving | None:
        """What answers questions of the `domain`-th task after these stages; None: nothing yet (joint
        training before the last stage).
        """
        ...
