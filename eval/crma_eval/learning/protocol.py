"""The forgetting protocol at work: methods x seeds x domains, each cell trained once, then measured.

work/<method>/seed-<n>/<domain>/   a run folder of training, sealed stage by stage
work/measured/<key>.json           scores by content
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from crma_adapters.errors import ConfigError, TrainingError
from crma_adapters.models.base_model import resolve_base_model
from crma_eval.learning.measure import Measurer
from crma_eval.learning.scores import DomainScores, MethodRun
from crma_eval.learning.setup import BESIDE, Exam, Protocol, exam
from crma_training.data.dataset import Dataset
from crma_training.methods.method import Lesson, Method, Serving
from crma_training.run_folder import RunFolder
from crma_training.workbench import Task, load_workbench

MEASURED = "measured"


@dataclass(frozen=True)
class Cell:
    """One method with one seed."""

    method: Method
    seed: int


class Experiment:
    """A protocol in a work folder: cells are run one by one, or read where they are finished."""

    def __init__(self, protocol: Protocol, work: Path, say: Callable[[str], None] = print) -> None:
        self.protocol, self.work = protocol, work
        self.data: Dataset = protocol.dataset()
        self._base = resolve_base_model(protocol.config.model)
        self._say = say
        bench = load_workbench(self._base, protocol.config)
        self.bench = bench
        self._weights = bench.weights_digest()
        self.tasks = tuple(bench.task(domain) for domain in self.data.domains)
        self.exams = tuple(exam(bench, protocol, task) for task in self.tasks)
        self._measurer = Measurer(bench, work / MEASURED, say)

    @property
    def domains(self) -> tuple[str, ...]:
        """Names in learning order."""
        return tuple(task.name for task in self.tasks)

    def run(self, cell: Cell, learnt: Callable[[str], None], basis: Method | None = None) -> MethodRun:
        """Trains and measures what is missing; `learnt` is called with each domain's name once it is done.

        Raises:
            ConfigError: the cell's folder belongs to another protocol.
            TrainingError: a stage was tampered with, the loss is not finite, or base weights changed.
        """
        bench = dataclasses.replace(self.bench, config=self.protocol.config_for(cell.seed))
        below = self.stages(Cell(basis, cell.seed)) if basis else ()
        matrix = []
        with RunFolder(self.folder(cell), self._identity(cell)) as run:
            stages: list[Path] = []
            for index, task in enumerate(self.tasks):
                if run.finished(task.name) is None:
                    lesson = Lesson(bench, self.tasks, index, tuple(stages), below[: index + 1])
                    with run.stage(task.name) as folder:
                        cell.method.learn(lesson, folder)
                    self._check_weights(cell, task)
                stages.append(run.path / task.name)
                matrix.append(tuple(self._measured(cell.method, stages)))
                learnt(task.name)
        base = tuple(self._measurer.scores(Serving(), exam) for exam in self.exams)
        return MethodRun(cell.method.name, cell.seed, self.domains, base, tuple(matrix))

    def complete(self, cell: Cell) -> bool:
        """Whether every domain of the cell is trained."""
        return all((self.folder(cell) / name / "seal.json").exists() for name in self.domains)

    def folder(self, cell: Cell) -> Path:
        """The cell's run folder."""
        return self.work / cell.method.name / f"seed-{cell.seed}"

    def servings(self, cell: Cell) -> tuple[Serving, ...]:
        """What answers each domain after the last stage of a complete cell."""
        stages = self.stages(cell)
        found = [cell.method.serving(stages, index) for index in range(len(stages))]
        return tuple(serving for serving in found if serving is not None)

    def parameters(self, cell: Cell) -> int:
        """Parameters that answer one query beside the base model's, after the last stage."""
        serving = self.servings(cell)[0]
        parts = [folder for folder in (serving.adapter, serving.backbone) if folder is not None]
        tensors = [load_file(path) for folder in parts for path in folder.glob("*.safetensors")]
        return sum(tensor.numel() for weights in tensors for tensor in weights.values())

    def scores(self, serving: Serving, exam: Exam) -> DomainScores:
        """As `Measurer.scores`."""
        return self._measurer.scores(serving, exam)

    def _measured(self, method: Method, stages: Sequence[Path]) -> Iterator[DomainScores]:
        for index, paper in enumerate(self.exams):
            serving = method.serving(stages, index)
            if serving is not None:
                yield self._measurer.scores(serving, paper)

    def stages(self, cell: Cell) -> tuple[Path, ...]:
        """The stage folders of a complete cell. Raises `ConfigError` if it is not complete."""
        if not self.complete(cell):
            raise ConfigError(
                f"{cell.method.name} with seed {cell.seed} is not trained in {self.work} yet, and another "
                f"method builds on it; add it to --methods"
            )
        return tuple(self.folder(cell) / name for name in self.domains)

    def _check_weights(self, cell: Cell, task: Task) -> None:
        if self.bench.weights_digest() != self._weights:
            raise TrainingError(
                f"{cell.method.name}, {task.name}: frozen base weights changed in training; this is a bug"
            )

    def _identity(self, cell: Cell) -> dict[str, Any]:
        config = self.protocol.config_for(cell.seed)
        return {
            "method": dataclasses.asdict(cell.method),  # type: ignore[call-overload]
            "config": {k: v for k, v in config.to_json().items() if k not in BESIDE},
            "base_fingerprint": self._base.fingerprint,
            "data_sha256": self.data.sha256,
            "cut": dataclasses.asdict(self.protocol.sizes) | {"split": self.protocol.split},
            "domains": list(self.domains),
        }
