"""A LoRA in CRMA's place: what CRMA's form must be better than."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma import Crma
from crma_training.fit import fit
from crma_training.learn import ADAPTER
from crma_training.lora import DomainLora
from crma_training.methods.lora_training import fresh_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.saved_lora import SavedLora, stacked
from crma_training.trainer.groups import ParameterGroup, lora_group
from crma_training.trainer.metrics import MetricsLog
from crma_training.workbench import Workbench

SHARED = "shared"


@dataclass(frozen=True)
class SharedLora:
    """A LoRA per domain over one LoRA of CRMA's size that keeps training under all, both at the LoRA's rate;
    every domain keeps the shared one it was trained on, stacked beside its own.
    """

    name: str = "shared-lora"
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        bench, config = lesson.bench, lesson.bench.config
        rank, last = crma_sized_rank(bench), None if lesson.last is None else lesson.last / SHARED
        lora = fresh_lora(lesson)
        shared = lora.add_trainable(last, rank)
        groups = [
            lora_group(config, lora),
            ParameterGroup("shared", shared, config.learning_rate, config.weight_decay),
        ]
        with MetricsLog(folder, lesson.task.name, lesson.steps) as log:
            fit(bench, groups, lesson.batches, log)
        lora.save(folder / "own", bench.base.name)
        lora.save_beside(folder / SHARED, bench.base.name)
        lora.remove()
        stacked([SavedLora.read(folder / SHARED), SavedLora.read(folder / "own")]).write(folder / ADAPTER)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:
        """The domain's own LoRA with the shared one it was trained on; before that the newest shared one."""
        return Serving(stages[domain] / ADAPTER if domain < len(stages) else stages[-1] / SHARED)


def crma_sized_rank(bench: Workbench) -> int:
    """The LoRA rank whose parameters come nearest to those of one CRMA, at least 1."""
    config = dataclasses.replace(bench.config, rank=1, lora_alpha=1)
    crma = Crma.from_model(bench.model, mode=config.mode, rank=config.mixing_rank)
    lora = DomainLora.fresh(bench.model, config, seed=0)
    per_rank = sum(parameter.numel() for parameter in lora.parameters())
    lora.remove()
    return max(1, round(sum(parameter.numel() for parameter in crma.parameters()) / per_rank))
