"""One domain: its log, its frozen weights, every form and precision it trains in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crma_adapters.crma.backbone import load_backbone
from crma_adapters.errors import TrainingError
from crma_adapters.store.release import Release
from crma_training.fit import Fitted, fit

Train = Callable[..., Release]


def test_every_step_is_logged(train: Train, tmp_path: Path) -> None:
    train(domains=("code",))
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "code" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    for line in lines:
        assert line["domain"] == "code"
        groups = {"lora", "projections", "logits"}
        assert set(line["gradient_norm"]) == set(line["clipped"]) == set(line["learning_rate"]) == groups
        assert (line["gradient_norm"]["logits"] > 0) == (line["step"] > 0)  # M has no say while U is zero
        spectral = line["spectral"]
        assert max(spectral[key] for key in ("mixing_norm_error", "row_error", "column_error")) < 1e-6
        assert spectral["alpha_min"] <= spectral["alpha_mean"] <= spectral["alpha_max"]
        assert (spectral["relative_change"] > 0) == (line["step"] > 0)  # it starts as the base model
        assert spectral["relative_change"] < 0.5
        assert line["tokens"] > 0
        assert line["tokens_per_s"] > 0


def test_a_frozen_weight_that_changes_stops_the_run(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(bench: Any, *arguments: Any, **options: Any) -> Fitted:
        with torch.no_grad():
            bench.model.get_input_embeddings().weight[0, 0] += 1e-3
        return fit(bench, *arguments, **options)

    monkeypatch.setattr("crma_training.learn.fit", careless)
    with pytest.raises(TrainingError, match="code: frozen base weights changed"):
        train()


def test_gradients_that_stay_infinite_stop_the_run(train: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="step 3: the gradients were not finite 3 steps in a row"):
        train(learning_rate=1e30, weight_decay=0.0)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("mode", ["nonexpansive", "identity", "free"])
def test_every_form_of_crma_trains(train: Train, tmp_path: Path, mode: str) -> None:
    release = train(mode=mode, mixing_rank=2, domains=("code",))
    assert release.backbone is not None
    assert load_backbone(tmp_path / "store" / "backbone" / release.backbone.version).config.mode == mode


def test_bfloat16_and_checkpointing_train(train: Train) -> None:
    release = train(dtype="bfloat16", gradient_checkpointing=True, domains=("code",))
    assert release.adapters.keys() == {"code"}
