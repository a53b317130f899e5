"""One state for all domains, taught by their own adapters' answers: a CRMA, or a LoRA of its size alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crma_adapters.crma.attach import attach
from crma_adapters.crma.backbone import save_backbone
from crma_adapters.crma.crma import Crma
from crma_training.consolidate import GENERIC
from crma_training.fit import fit
from crma_training.learn import ADAPTER, BACKBONE, domain_seed
from crma_training.lora import DomainLora
from crma_training.methods.method import Lesson, Serving
from crma_training.methods.shared_lora import crma_sized_rank
from crma_training.taught import Teacher, epochs_of, kept_answers, taught_loss
from crma_training.trainer.groups import crma_groups, lora_group
from crma_training.trainer.metrics import MetricsLog


@dataclass(frozen=True)
class Consolidated:
    """A student distilled from the adapters that another method trained, each answering its own training
    questions, and from the base model's answers to generic prompts (the anchor); after the last domain, with
    the steps of all domains. It answers every domain without router or adapter.
    """

    name: str
    student: Literal["crma", "lora"] = "crma"
    basis: str = "frozen"

    def learn(self, lesson: Lesson, folder: Path) -> None:
        """As `Method.learn`; only the last stage trains."""
        if lesson.index < len(lesson.tasks) - 1:
            return
        bench, config = lesson.bench, lesson.bench.config
        rows = [row for teacher in _teachers(lesson) for row in kept_answers(bench, teacher)]
        steps = len(lesson.tasks) * lesson.steps
        batches = epochs_of(rows, config.batch_size, steps, f"{config.seed}/consolidate")
        with MetricsLog(folder, self.name, steps) as log:
            if self.student == "lora":
                sized = config.with_rank(crma_sized_rank(bench))
                lora = DomainLora.fresh(bench.model, sized, domain_seed(config.seed, self.name))
                fit(bench, [lora_group(config, lora)], batches, log, rows=taught_loss)
                lora.save(folder / ADAPTER, bench.base.name)
                lora.remove()
                return
            crma = Crma.from_model(bench.model, mode=config.mode, rank=config.mixing_rank, seed=config.seed)
            with attach(bench.model, crma) as attachment:
                crma.unfreeze()
                groups = crma_groups(config, crma)
                fit(bench, groups, batches, log, attachment=attachment, rows=taught_loss)
        base = bench.base
        save_backbone(crma, folder / BACKBONE, base_model=base.name, base_fingerprint=base.fingerprint)

    def serving(self, stages: Sequence[Path], domain: int) -> Serving | None:  # noqa: ARG002
        """The one student once it is there."""
        adapter, backbone = stages[-1] / ADAPTER, stages[-1] / BACKBONE
        if adapter.exists():
            return Serving(adapter)
        return Serving(None, backbone) if backbone.exists() else None


def _teachers(lesson: Lesson) -> list[Teacher]:
    """Every domain's own adapter with its training questions, and the base model with generic ones."""
    found = [
        Teacher(
            task.name, stage / ADAPTER, None, tuple(row.token_ids[: row.answer_start] for row in task.train)
        )
        for task, stage in zip(lesson.tasks, lesson.basis, strict=True)
    ]
    return [*found, Teacher(GENERIC, None, None, lesson.generic)] if lesson.generic else found
