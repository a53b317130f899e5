"""CRMA's own methods: a LoRA per domain over one CRMA that keeps training, and ways to serve them."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.backbone import load_backbone, save_backbone
from crma_adapters.crma.config import Mode
from crma_adapters.crma.crma import Crma
from crma_adapters.store.refresh import MIN_ROWS, compare_losses
from crma_training.adapter import at_work
from crma_training.learn import ADAPTER, BACKBONE, learn_domain
from crma_training.methods.method import Lesson, Serving
from crma_training.trainer.losses import row_losses
from crma_training.workbench import Workbench

RUNS_ON = "runs_on.json"


@dataclass(frozen=True)
class Modular:
    """A LoRA per domain and one CRMA under all, trained together; every domain keeps the CRMA it was trained
    on (pinned). `frozen_after` domains the CRMA stops training; 0: never.
    """

    name: str = "modular"
    mode: Mode = "residual"
    frozen_after: int = 0
    basis: None = None

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`."""
        config = dataclasses.replace(lesson.bench.config, adapter="lora", start="fresh", mode=self.mode)
        bench, base = dataclasses.replace(lesson.bench, config=config), lesson.bench.base
        crma = self._crma(lesson)
        frozen = 0 < self.frozen_after <= lesson.index
        learn_domain(
            bench,
            lesson.task.name,
            lesson.batches,
            lesson.steps,
            folder,
            backbone=crma,
            train_backbone=not frozen,
        )
        save_backbone(crma, folder / BACKBONE, base_model=base.name, base_fingerprint=base.fingerprint)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:
        """The domain's own LoRA on the CRMA it was trained on; before that the newest CRMA alone."""
        if domain < len(stages):
            return Serving(stages[domain] / ADAPTER, stages[domain] / BACKBONE)
        return Serving(None, stages[-1] / BACKBONE)

    def _crma(self, lesson: Lesson) -> Crma:
        if lesson.last is not None:
            return load_backbone(lesson.last / BACKBONE)
        config = lesson.bench.config
        return Crma.from_model(lesson.bench.model, mode=self.mode, rank=config.mixing_rank, seed=config.seed)


@dataclass(frozen=True)
class Unpinned:
    """What MODULAR trained, every domain on the newest CRMA: what drift there is without pinning."""

    name: str = "modular-unpinned"
    basis: str = "modular"

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`; nothing is trained."""
        for part in (ADAPTER, BACKBONE):
            shutil.copytree(lesson.basis[lesson.index] / part, folder / part)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:
        """The domain's own LoRA, if it has one yet, on the newest CRMA."""
        return Serving(stages[domain] / ADAPTER if domain < len(stages) else None, stages[-1] / BACKBONE)


@dataclass(frozen=True)
class Refreshed(Unpinned):
    """What MODULAR trained, an earlier domain moved to the newest CRMA only where its validation loss is not
    worse by more than one standard error; without two such rows it stays where it is.
    """

    name: str = "modular-refreshed"

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`; nothing is trained."""
        super().learn(lesson, folder)
        runs_on = json.loads((lesson.last / RUNS_ON).read_text()) if lesson.last else []
        stages = [*lesson.stages, folder]
        for index in range(lesson.index):
            adapter, rows = stages[index] / ADAPTER, lesson.tasks[index].validation
            if len(rows) < MIN_ROWS:
                continue
            own, newest = (
                losses_under(lesson.bench, adapter, stages[at] / BACKBONE, rows)
                for at in (index, lesson.index)
            )
            if compare_losses(own, newest, backbone="0" * 12).is_not_worse:
                runs_on[index] = lesson.index
        (folder / RUNS_ON).write_text(json.dumps([*runs_on, lesson.index]))

    def serving(self, stages: Sequence[Path], domain: int) -> Serving:
        """The domain's own LoRA on the CRMA that the rule gave it."""
        if domain >= len(stages):
            return Serving(None, stages[-1] / BACKBONE)
        runs_on = json.loads((stages[-1] / RUNS_ON).read_text())
        return Serving(stages[domain] / ADAPTER, stages[runs_on[domain]] / BACKBONE)


def losses_under(
    bench: Workbench, adapter: Path | None, backbone: Path | None, rows: Sequence[object]
) -> tuple[float, ...]:
    """Every row's answer loss (nats per token) with these parts; the model is left bare."""
    with at_work(bench.model, adapter, backbone):
        return row_losses(bench.model, rows, 2 * bench.config.batch_size, bench.pad_id)  # type: ignore[arg-type]
