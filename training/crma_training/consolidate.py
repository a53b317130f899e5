"""The consolidated backbone: one CRMA distilled from every domain's bundle, anchored to the base model.

    teachers -> each answers its own questions (kept, so that a killed run goes on) -> student -> gate

It needs no router and no adapter to answer, so it is what `backbone` and the fallback serve.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.attach import attach
from crma_adapters.crma.crma import Crma
from crma_training.data.tokens import Example
from crma_training.fit import fit
from crma_training.run_folder import RunFolder, json_bytes
from crma_training.taught import (
    ROWS,
    Taught,
    Teacher,
    ask,
    divergence,
    epochs_of,
    read_taught,
    taught_loss,
    write_taught,
)
from crma_training.trainer.checkpoints import CHECKPOINTS
from crma_training.trainer.groups import crma_groups
from crma_training.trainer.metrics import MetricsLog
from crma_training.workbench import Workbench

STAGE = ".consolidated"
ANSWERS = ".answers-"
GENERIC = "generic"
HELD_OUT = 10  # one of ten answered rows measures, the others teach
GENERIC_BOUND = 0.02

Say = Callable[[str], None]


@dataclass(frozen=True)
class Consolidation:
    """How the student did on answered rows that it did not learn from, nats per answer token.

    Attributes:
        divergence: of the student from each teacher, "generic" (the base model) among them.
        before: the same before the student learnt.
        generic_rise: rise of the loss of the base model's own answers to generic prompts, as a share of the
            base's loss on them.
    """

    divergence: Mapping[str, float]
    before: Mapping[str, float]
    generic_rise: float

    @property
    def passes(self) -> bool:
        """The gate: nearer to every teacher than before, generic prompts within 2 % of the base model."""
        nearer = all(self.divergence[name] < value for name, value in self.before.items() if name != GENERIC)
        return nearer and self.generic_rise <= GENERIC_BOUND


def answer_all(
    run: RunFolder, bench: Workbench, teachers: Sequence[Teacher], end_ids: Sequence[int]
) -> dict[str, tuple[Taught, ...]]:
    """Every teacher's answered rows; a teacher that answered before a stop is not asked again."""
    found = {}
    for teacher in teachers:
        stage = ANSWERS + teacher.name
        if run.finished(stage) is None:
            with run.stage(stage) as folder:
                write_taught(ask(bench, teacher, end_ids), folder / ROWS)
        found[teacher.name] = read_taught(run.path / stage / ROWS)
    return found


def consolidate(
    bench: Workbench, student: Crma, taught: Mapping[str, Sequence[Taught]], folder: Path
) -> Consolidation:
    """Teaches `student` all teachers' rows together; metrics and `consolidation.json` go into `folder`.

    Raises:
        TrainingError: the loss is not finite.
    """
    config = bench.config
    held = {name: [row for i, row in enumerate(rows) if i % HELD_OUT == 0] for name, rows in taught.items()}
    learnt = [row for rows in taught.values() for i, row in enumerate(rows) if i % HELD_OUT]
    steps = max(1, config.consolidation_epochs * len(learnt) // config.step_rows)
    base_loss = _own_loss(bench, held.get(GENERIC, ()))
    with attach(bench.model, student) as attachment, ExitStack() as stack:
        before = {name: divergence(bench, rows) for name, rows in held.items()}
        student.unfreeze()
        groups = crma_groups(config, student)
        log = stack.enter_context(MetricsLog(folder, STAGE.lstrip("."), steps))
        batches = epochs_of(learnt, config.step_rows, steps, f"{config.seed}/consolidate")
        fit(bench, groups, batches, log, attachment=attachment, rows=taught_loss, resumable=True)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        after = {name: divergence(bench, rows) for name, rows in held.items()}
        rise = _own_loss(bench, held.get(GENERIC, ())) / base_loss - 1 if base_loss else 0.0
    result = Consolidation(after, before, rise)
    (folder / "consolidation.json").write_bytes(json_bytes(vars(result) | {"passes": result.passes}))
    return result


def _own_loss(bench: Workbench, rows: Sequence[Taught]) -> float:
    examples: list[Example] = [row.example for row in rows]
    return bench.loss(examples) if examples else 0.0
