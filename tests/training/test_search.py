"""Rank and rate chosen on validation rows; losses of a store's domains under its newest backbone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.errors import ConfigError
from crma_adapters.store.refresh import read_losses
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_training.cli import main
from crma_training.config import TrainConfig
from crma_training.search import Trial, choose, flags, search


def test_the_smallest_rank_within_one_standard_error_is_chosen() -> None:
    best = Trial(32, 2e-3, 320, (1.0, 2.0, 3.0))
    near = Trial(8, 1e-3, 80, (1.3, 1.8, 3.1))  # worse by 0.07 in the mean, its standard error 0.15
    assert (
        choose([best, near, Trial(8, 4e-3, 80, (5.0, 5.0, 5.0)), Trial(4, 1e-3, 40, (1.5, 2.5, 3.5))]) == near
    )
    assert choose([best, Trial(8, 1e-3, 80, ())]) == best
    with pytest.raises(ConfigError, match="every trial diverged"):
        choose([Trial(8, 1e-3, 80, ())])


def test_recommended_flags_are_those_of_the_kind() -> None:
    trial = Trial(8, 2e-3, 1, (1.0, 1.0))
    assert flags(TrainConfig(adapter="mixer"), trial) == [
        *("--adapter", "mixer", "--mixing-rank", "8", "--crma-learning-rate", "0.002")
    ]
    assert flags(TrainConfig(adapter="lora"), trial)[2:6] == ["--rank", "8", "--lora-alpha", "16"]


def test_a_search_goes_on_where_it_was(base_model: Path, data_folder: Path, tmp_path: Path) -> None:
    config = TrainConfig(model=str(base_model), steps=4, batch_size=4, validation_share=0.2)
    said: list[str] = []

    def run(ranks: tuple[int, ...]) -> list[Trial]:
        return search(data_folder, ("code", "legal"), config, ranks, (1e-2,), tmp_path / "run", said.append)

    first = run((2,))
    both = run((2, 4))
    assert both[0] == first[0] and said == ["rank 2, rate 0.01", "rank 4, rate 0.01"]
    assert len(both[1].losses) == 2 * 4 and both[1].parameters > both[0].parameters


def test_losses_are_measured_for_what_was_trained_on_another_backbone(
    train: Callable[..., Release], data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(domains=("code", "legal"))
    where: list[Any] = [
        "--adapters",
        tmp_path / "store",
        "--data",
        data_folder,
        "--losses",
        tmp_path / "out/l.json",
    ]
    arguments = ["refresh", *map(str, where)]
    assert main(arguments) == 2
    assert "code has 0 validation rows, 2 are needed" in capsys.readouterr().err
    assert main([*arguments, "--validation-share", "0.2"]) == 0
    measured = read_losses(tmp_path / "out/l.json")
    live = Store(tmp_path / "store").live()
    assert live.backbone is not None and measured.backbone == live.backbone.version
    assert list(measured.adapters) == ["code"]  # legal was trained on the newest
    assert len(measured.adapters["code"].own) == 4
    assert json.loads((tmp_path / "out/l.json").read_bytes())["format"] == 1
    assert main([*arguments, "--domains", "cooking"]) == 2
