"""Drift under the final backbone: measured where the backbone changed, on the rows of the card."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_adapters.store.release import Release

Train = Callable[..., Release]
WriteRows = Callable[..., Path]


def test_a_frozen_backbone_drifts_nowhere(train: Train) -> None:
    release = train(freeze_backbone=True, domains=("code", "legal"))
    assert release.backbone is not None
    for entry in release.adapters.values():
        assert entry.trained_on_backbone == release.backbone.version
        assert entry.drift is None


def test_drift_is_measured_on_the_same_rows_or_not_at_all(
    train: Train, tmp_path: Path, write_rows: WriteRows
) -> None:
    train(domains=("code",))
    other = {"question": "What else?", "answer": "Nothing at all, I fear."}
    for rows in (1, 4):
        write_rows("code/holdout.jsonl", [other] * rows)
        with pytest.raises(DataError, match="code: not the holdout that its adapter was measured on"):
            train(domains=("legal",), run=tmp_path / f"run-{rows}")
