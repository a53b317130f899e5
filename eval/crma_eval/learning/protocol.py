"""The forgetting protocol at work: methods x seeds x domains, each cell trained once, then measured.

work/<method>/seed-<n>/<domain>/   a run folder of training, sealed stage by stage
work/measured/<key>.json           scores by content
journal/<cell>.json                finished cells, which need no work folder any more
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from crma_adapters.errors import ConfigError, TrainingError
from crma_adapters.models.base_model import resolve_base_model
from crma_eval.learning.journal import CellResult, Journal, StageCost, settings
from crma_eval.learning.measure import Measurer
from crma_eval.learning.scores import DomainScores, MethodRun
from crma_eval.learning.setup import Exam, Protocol, exam, recipe
from crma_eval.report import provenance
from crma_training.adapter import at_work
from crma_training.config import digest
from crma_training.consolidate import GENERIC
from crma_training.data.dataset import Dataset
from crma_training.data.tokens import prompt_ids
from crma_training.methods.method import Lesson, Method, Serving
from crma_training.methods.registry import METHODS
from crma_training.run_folder import RunFolder
from crma_training.small_talk import SMALL_TALK
from crma_training.taught import Teacher, kept_answers, sampled
from crma_training.trainer.metrics import FILE_NAME, read_steps
from crma_training.workbench import Task, load_workbench

MEASURED = "measured"
MOST_GENERIC = 120  # prompts of no domain: half of them anchor, half of them measure


@dataclass(frozen=True)
class Cell:
    """One method with one seed; `rate` is the learning rate of all that it trains, None: as configured."""

    method: Method
    seed: int
    rate: float | None = None


class Experiment:
    """A protocol in a work folder: cells are run one by one, or read where they are finished."""

    def __init__(
        self,
        protocol: Protocol,
        work: Path,
        say: Callable[[str], None] = print,
        journal: Path | None = None,
        *,
        generic: bool = False,
    ) -> None:
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
        self._journal = None if journal is None else Journal(journal, say)
        self._commit = provenance({})["commit"]
        texts = [*SMALL_TALK, *self.data.out_of_domain]
        prompts = sampled([prompt_ids(text, bench.chat) for text in texts], MOST_GENERIC, GENERIC)
        self._anchors, self._asked = prompts[::2], prompts[1::2] if generic else ()

    @property
    def domains(self) -> tuple[str, ...]:
        """Names in learning order."""
        return tuple(task.name for task in self.tasks)

    def result(self, cell: Cell, learnt: Callable[[str], None] = lambda _name: None) -> CellResult:
        """The finished cell: from the journal if it is there, else as `run`, then kept there."""
        identity = self._key(cell)
        kept = self._journal.find(identity) if self._journal else None
        if kept is not None:
            for name in self.domains:
                learnt(name)
            if kept.generic_rise is not None or not self.complete(cell):
                return kept
            return self.keep(dataclasses.replace(kept, generic_rise=self._generic_rise(cell)))
        run = self.run(cell, learnt)
        return self.keep(
            CellResult(
                run,
                identity,
                self.parameters(cell),
                self._costs(cell),
                self._commit,
                generic_rise=self._generic_rise(cell),
            )
        )

    def keep(self, result: CellResult) -> CellResult:
        """Writes a result into the journal, if there is one, in place of what it has of the cell."""
        return self._journal.keep(result) if self._journal else result

    def discard(self, cell: Cell) -> None:
        """Removes the cell's stages if the journal has what was measured of them."""
        if self._journal and self._journal.find(self._key(cell)):
            shutil.rmtree(self.folder(cell), ignore_errors=True)

    def run(self, cell: Cell, learnt: Callable[[str], None]) -> MethodRun:
        """Trains and measures what is missing; `learnt` is called with each domain's name once it is done.
        Stages of another method that this one builds on are trained first.

        Raises:
            ConfigError: the cell's folder belongs to another protocol.
            TrainingError: a stage was tampered with, the loss is not finite, or base weights changed.
        """
        matrix: list[tuple[DomainScores, ...]] = []

        def measure(stages: tuple[Path, ...]) -> None:
            matrix.append(tuple(self._measured(cell.method, stages)))
            learnt(stages[-1].name)

        self._train(cell, measure)
        base = tuple(self._measurer.scores(Serving(), exam) for exam in self.exams)
        return MethodRun(cell.method.name, cell.seed, self.domains, base, tuple(matrix))

    def _train(self, cell: Cell, after: Callable[[tuple[Path, ...]], None] = lambda _stages: None) -> None:
        """Trains the missing stages; `after` is called with all stages so far, whenever one is there."""
        below = self._below(cell)
        if below is not None:
            self._train(below)
        basis = () if below is None else self.stages(below)
        bench = dataclasses.replace(self.bench, config=self.protocol.config_for(cell.seed, cell.rate))
        stages: tuple[Path, ...] = ()
        with RunFolder(self.folder(cell), self._identity(cell)) as run:
            for index, task in enumerate(self.tasks):
                if run.finished(task.name) is None:
                    lesson = Lesson(bench, self.tasks, index, stages, basis[: index + 1], self._anchors)
                    with run.stage(task.name) as folder:
                        cell.method.learn(lesson, folder)
                    self._check_weights(cell, task)
                stages = (*stages, run.path / task.name)
                after(stages)

    def complete(self, cell: Cell) -> bool:
        """Whether every domain of the cell is trained."""
        return all((self.folder(cell) / name / "seal.json").exists() for name in self.domains)

    def folder(self, cell: Cell) -> Path:
        """The cell's run folder."""
        at = "" if cell.rate is None else f"-at-{cell.rate:g}"
        return self.work / cell.method.name / f"seed-{cell.seed}{at}"

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
            raise ConfigError(f"{cell.method.name} with seed {cell.seed} is not trained in {self.work} yet")
        return tuple(self.folder(cell) / name for name in self.domains)

    def _generic_rise(self, cell: Cell) -> float | None:
        """Of a complete cell that answers all domains with one model, where it is asked for: on the bare base
        model's own answers to the generic prompts that nothing was anchored on.
        """
        servings = set(self.servings(cell))
        if not self._asked or len(servings) > 1:
            return None
        rows = [row.example for row in kept_answers(self.bench, Teacher(GENERIC, None, None, self._asked))]
        (serving,) = servings
        bare = self.bench.loss(rows)
        with at_work(self.bench.model, serving.adapter, serving.backbone):
            return self.bench.loss(rows) / bare - 1

    def _below(self, cell: Cell) -> Cell | None:
        """The cell that this one builds on."""
        basis = cell.method.basis
        return None if basis is None else dataclasses.replace(cell, method=METHODS[basis])

    def _costs(self, cell: Cell) -> tuple[StageCost, ...]:
        """Of a complete cell's stages, by their logs."""
        costs = []
        for stage in self.stages(cell):
            if (stage / FILE_NAME).exists():
                steps = read_steps(stage)
                seconds = sum(step.tokens / step.tokens_per_s for step in steps if step.tokens_per_s)
                costs.append(StageCost(len(steps), sum(step.tokens for step in steps), seconds))
        return tuple(costs)

    def _check_weights(self, cell: Cell, task: Task) -> None:
        if self.bench.weights_digest() != self._weights:
            raise TrainingError(
                f"{cell.method.name}, {task.name}: frozen base weights changed in training; this is a bug"
            )

    def _identity(self, cell: Cell) -> dict[str, Any]:
        return {
            "method": dataclasses.asdict(cell.method),  # type: ignore[call-overload]
            "seed": cell.seed,
            "config": recipe(self.protocol.config_for(cell.seed, cell.rate)),
            "base_fingerprint": self._base.fingerprint,
            "data_sha256": self.data.sha256,
            "cut": self.protocol.cut(),
            "domains": list(self.domains),
        }

    def _key(self, cell: Cell) -> dict[str, Any]:
        """The cell's identity in the journal: of the configuration only what decides its training."""
        below = self._below(cell)
        return {
            "name": cell.method.name,
            "seed": cell.seed,
            "method": settings(cell.method),
            "basis": None if below is None else settings(below.method),
            "recipe": recipe(self.protocol.config_for(cell.seed, cell.rate)),
            "base_fingerprint": self._base.fingerprint,
            "data_sha256": self.data.sha256,
            "cut": self.protocol.cut(),
            "domains": list(self.domains),
            "measured_on": digest({"rows": [_content(paper) for paper in self.exams]}),
        }


def _content(paper: Exam) -> list[Any]:
    return [[list(e.token_ids), e.answer_start] for e in (*paper.holdout, *paper.short_answer)]
