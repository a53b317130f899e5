"""Merging: the mean is the mean, TIES trims, elects and averages, and FROZEN's LoRAs are all it reads."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from crma_training.low_rank import factors
from crma_training.methods.merging import Merging
from crma_training.methods.method import Lesson
from crma_training.saved_lora import SavedLora


@pytest.fixture
def frozen(tmp_path: Path) -> tuple[Path, ...]:
    """Stage folders with LoRAs of rank 2 on one layer of 12 outputs and 8 inputs."""
    generator = torch.Generator().manual_seed(0)
    stages = tuple(tmp_path / "frozen" / str(index) for index in range(3))
    for stage in stages:
        a, b = torch.randn(2, 8, generator=generator), torch.randn(12, 2, generator=generator)
        settings = {"r": 2, "lora_alpha": 6, "target_modules": ["up"]}
        SavedLora({"up.lora_A.weight": a, "up.lora_B.weight": b}, settings).write(stage / "adapter")
    return stages


def merge(method: Merging, frozen: tuple[Path, ...], index: int, folder: Path) -> SavedLora:
    method.learn(Lesson(cast(Any, None), (), index, (), frozen[: index + 1]), folder)  # no model is touched
    assert method.serving([folder], 0).adapter == folder / "adapter"
    return SavedLora.read(folder / "adapter")


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_mean_is_the_mean_of_the_updates(frozen: tuple[Path, ...], tmp_path: Path, index: int) -> None:
    mean = merge(Merging("mean", combination="mean"), frozen, index, tmp_path / "merged")
    parts = [SavedLora.read(stage / "adapter").delta("up") for stage in frozen[: index + 1]]
    assert mean.settings["r"] == 2 * (index + 1)
    torch.testing.assert_close(mean.delta("up"), torch.stack(parts).mean(0))


def test_ties_trims_elects_and_averages(frozen: tuple[Path, ...], tmp_path: Path) -> None:
    ties = merge(Merging("ties", combination="ties", density=0.3), frozen, 2, tmp_path / "merged")
    expected = by_definition([SavedLora.read(stage / "adapter").delta("up") for stage in frozen], 0.3)
    assert (expected == 0).any()
    torch.testing.assert_close(ties.delta("up"), expected, rtol=0, atol=0.02 * float(expected.abs().max()))


def test_one_lora_alone_stays_as_it_is(frozen: tuple[Path, ...], tmp_path: Path) -> None:
    alone = merge(Merging("ties", combination="ties"), frozen, 0, tmp_path / "merged")
    assert torch.equal(alone.delta("up"), SavedLora.read(frozen[0] / "adapter").delta("up"))


def by_definition(deltas: list[torch.Tensor], density: float) -> torch.Tensor:
    """TIES-Merging, algorithm 1, one weight after the other."""
    trimmed = []
    for delta in deltas:
        least = delta.abs().flatten().sort(descending=True).values[int(density * delta.numel()) - 1]
        trimmed.append(torch.where(delta.abs() >= least, delta, 0.0).flatten())
    merged = torch.zeros_like(trimmed[0])
    for place in range(len(merged)):
        values = [float(part[place]) for part in trimmed]
        sign = 1 if sum(values) >= 0 else -1
        agreeing = [value for value in values if value * sign > 0]
        merged[place] = sum(agreeing) / len(agreeing) if agreeing else 0.0
    return merged.view(deltas[0].shape)


@pytest.mark.parametrize("rank", [2, 5, 9])
def test_factors_are_the_best_approximation_of_that_rank(rank: int) -> None:
    delta = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    a, b = factors(delta, rank)
    assert (a.shape, b.shape) == ((rank, 5), (7, rank))
    values = torch.linalg.svdvals(delta)
    torch.testing.assert_close((delta - b @ a).norm(), values[rank:].norm(), rtol=1e-4, atol=1e-5)
