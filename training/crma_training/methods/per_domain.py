"""An adapter per domain on the frozen base model: FROZEN, its larger and longer forms, mixers, warm starts.

Nothing that was learnt ever changes: drift is zero by construction, and a wrong route gives nothing.
"""

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crma_adapters.crma.config import Mode
from crma_adapters.crma.crma import Crma
from crma_training.config import TrainConfig
from crma_training.fit import own_batches
from crma_training.learn import ADAPTER, learn_domain
from crma_training.lora import DomainLora
from crma_training.methods.method import Lesson, Serving
from crma_training.starts import starting_point
from crma_training.workbench import Workbench


@dataclass(frozen=True)
class PerDomain:
    """One adapter per domain, of the configured sizes unless said otherwise.

    Attributes:
        adapter: kind.
        start: what it starts from; the earlier adapters stay as they are.
        rank: of the LoRA; 0: the run's. alpha / rank stays.
        mixing_rank: of the mixer; 0: the run's.
        matched: the LoRA's rank is raised by the parameters of one CRMA.
        times_steps: multiple of the steps that every method has.
        shared_maps: later domains train nothing but their own M, on the first domain's U and V.
    """

    name: str
    adapter: Literal["lora", "mixer", "both"] = "lora"
    start: Literal["fresh", "previous", "mean", "nearest"] = "fresh"
    mode: Mode = "residual"
    rank: int = 0
    mixing_rank: int = 0
    matched: bool = False
    times_steps: int = 1
    shared_maps: bool = False
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        bench = dataclasses.replace(lesson.bench, config=self.config(lesson.bench))
        steps = self.times_steps * lesson.steps
        with tempfile.TemporaryDirectory() as scratch:
            start, _ = starting_point(
                bench.config, _questions(lesson, lesson.index), self._earlier(lesson), Path(scratch)
            )
            if self.shared_maps and lesson.stages:
                start = lesson.stages[0] / ADAPTER
            learn_domain(
                bench,
                lesson.task.name,
                own_batches(lesson.task, bench.config, steps),
                steps,
                folder,
                start=start,
                only_logits=self.shared_maps and bool(lesson.stages),
            )

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:
        """The domain's own adapter; the bare base model before it has one."""
        return Serving(stages[domain] / ADAPTER if domain < len(stages) else None)

    def config(self, bench: Workbench) -> TrainConfig:
        """The run's configuration as this method changes it."""
        given = bench.config
        rank = matched_rank(bench) if self.matched else self.rank or given.rank
        return dataclasses.replace(
            given.with_rank(rank),
            adapter=self.adapter,
            start=self.start,
            mode=self.mode,
            mixing_rank=self.mixing_rank or given.mixing_rank,
        )

    def _earlier(self, lesson: Lesson) -> dict[str, tuple[Path, Sequence[str]]]:
        return {
            task.name: (stage / ADAPTER, _questions(lesson, index))
            for index, (task, stage) in enumerate(zip(lesson.earlier, lesson.stages, strict=True))
        }


FROZEN = PerDomain("frozen")
"""A fresh LoRA per domain on the bare base model."""


def _questions(lesson: Lesson, index: int) -> Sequence[str]:
    return [row.question for row in lesson.tasks[index].domain.train]


def matched_rank(bench: Workbench) -> int:
    """The run's LoRA rank raised by the parameters of one CRMA, rounded up."""
    config = bench.config
    crma = Crma.from_model(bench.model, mode=config.mode, rank=config.mixing_rank)
    extra = sum(parameter.numel() for parameter in crma.parameters())
    lora = DomainLora.fresh(bench.model, config, seed=0)
    per_rank = sum(parameter.numel() for parameter in lora.parameters()) / config.rank
    lora.remove()
    return config.rank + math.ceil(extra / per_rank)
