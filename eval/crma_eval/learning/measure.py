"""Scores of model states on exams, each measured once and kept."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.io.durable import write_durably
from crma_eval.learning.scores import DomainScores, RowScore
from crma_eval.learning.setup import Exam
from crma_training.adapter import at_work
from crma_training.data.tokens import Example
from crma_training.methods.method import Serving
from crma_training.trainer.losses import answer_scores
from crma_training.workbench import Workbench

BATCH_ROWS = 16


@dataclass(frozen=True)
class Measurer:
    """Measures with `bench`; keeps what it measured in `folder`. `say` hears of entries that were damaged."""

    bench: Workbench
    folder: Path
    say: Callable[[str], None] = print

    def scores(self, serving: Serving, exam: Exam) -> DomainScores:
        """The exam's scores with `serving` on the base model."""
        path = self.folder / f"{self._key(serving, exam)}.json"
        if path.exists():
            kept = _read(path)
            if kept is not None:
                return kept
            self.say(f"{path}: damaged, measured again")
        with at_work(self.bench.model, serving.adapter, serving.backbone):
            holdout = self._rows(exam.holdout)
            same = exam.short_answer == exam.holdout
            scores = DomainScores(holdout, holdout if same else self._rows(exam.short_answer))
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.folder, path, _document(scores))
        return scores

    def _rows(self, examples: tuple[Example, ...]) -> tuple[RowScore, ...]:
        return answer_scores(self.bench.model, examples, BATCH_ROWS, self.bench.pad_id)

    def _key(self, serving: Serving, exam: Exam) -> str:
        config = self.bench.config
        parts = {
            "base": self.bench.base.fingerprint,
            "dtype": config.dtype,
            "adapter": _digest(serving.adapter),
            "backbone": _digest(serving.backbone),
            "exam": [[e.token_ids, e.answer_start] for e in (*exam.holdout, *exam.short_answer)],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _digest(folder: Path | None) -> str | None:
    """sha256 hex over the folder's files."""
    if folder is None:
        return None
    content = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        content.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()


def _document(scores: DomainScores) -> bytes:
    values = dataclasses.asdict(scores)
    return (json.dumps({"scores": values, "sha256": _seal(values)}) + "\n").encode()


def _read(path: Path) -> DomainScores | None:
    """None if the file is not what was written."""
    try:
        document = json.loads(path.read_bytes())
        values = document["scores"]
        if document["sha256"] != _seal(values):
            return None
        return DomainScores(
            *(tuple(RowScore(**row) for row in values[part]) for part in ("holdout", "short_answer"))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seal(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
