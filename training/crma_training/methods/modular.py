"""MODULAR, the project's way: a fresh LoRA per domain on a CRMA backbone that keeps training.

Owns: the form of CRMA and when its training stops. Knows nothing of the other methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crma_adapters.crma.attach import attach
from crma_adapters.crma.backbone import load_backbone, save_backbone
from crma_adapters.crma.config import Mode
from crma_adapters.crma.crma import Crma
from crma_training.domain import ADAPTER, BACKBONE
from crma_training.fit import fit, parameter_groups
from crma_training.methods.lora_training import fresh_lora
from crma_training.methods.method import Lesson, Serving
from crma_training.metrics import MetricsLog


@dataclass(frozen=True)
class Modular:
    """A LoRA per domain and one CRMA. `frozen_after` domains the CRMA stops training; 0: never."""

    name: str = "modular"
    mode: Mode = "residual"
    frozen_after: int = 0
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        bench, base = lesson.bench, lesson.bench.base
        frozen = 0 < self.frozen_after <= lesson.index
        crma = self._crma(lesson)
        with attach(bench.model, crma) as attachment:
            lora = fresh_lora(lesson)
            groups = parameter_groups(replace(bench.config, freeze_backbone=frozen), lora, crma)
            with MetricsLog(folder, lesson.task.name, lesson.steps) as log:
                fit(bench, groups, lesson.batches, log, attachment=attachment)
            lora.save(folder / ADAPTER, base.name)
            lora.remove()
        save_backbone(crma, folder / BACKBONE, base_model=base.name, base_fingerprint=base.fingerprint)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:
        """The domain's own LoRA, if it has one yet, on the newest backbone."""
        adapter = stages[domain] / ADAPTER if domain < len(stages) else None
        return Serving(adapter, stages[-1] / BACKBONE)

    def _crma(self, lesson: Lesson) -> Crma:
        if lesson.last is not None:
            return load_backbone(lesson.last / BACKBONE)
        return Crma.from_model(
            lesson.bench.model,
            mode=self.mode,
            rank=lesson.bench.config.mixing_rank,
            seed=lesson.bench.config.seed,
        )
