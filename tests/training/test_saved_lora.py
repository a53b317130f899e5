"""LoRAs side by side: their sum and their mean, exactly."""

from pathlib import Path

import pytest
import torch

from crma_adapters.errors import TrainingError
from crma_training.saved_lora import A, B, SavedLora, stacked

LAYERS = {"up": (6, 4), "down": (4, 6)}  # outputs, inputs


def random_lora(seed: int, rank: int = 3, alpha: int = 5) -> SavedLora:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for layer, (outputs, inputs) in LAYERS.items():
        for name, shape in ((".lora_A.weight", (rank, inputs)), (".lora_B.weight", (outputs, rank))):
            weights[layer + name] = torch.randn(shape, generator=generator).bfloat16()
    return SavedLora(weights, {"r": rank, "lora_alpha": alpha, "target_modules": ["down", "up"]})


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    lora = random_lora(0)
    lora.write(tmp_path)
    again = SavedLora.read(tmp_path)
    assert again.settings == lora.settings
    assert again.weights.keys() == lora.weights.keys()
    assert all(torch.equal(again.weights[name], lora.weights[name]) for name in lora.weights)
    assert lora.layers == ("down", "up")


@pytest.mark.parametrize("mean", [False, True])
def test_the_stack_is_the_sum_or_the_mean(tmp_path: Path, mean: bool) -> None:
    parts = [random_lora(seed) for seed in range(3)]
    stacked(parts, mean=mean).write(tmp_path)  # through bfloat16: nothing may be lost
    stack = SavedLora.read(tmp_path)
    assert stack.settings["r"] == 9
    for layer in LAYERS:
        deltas = torch.stack([part.delta(layer) for part in parts])
        expected = deltas.mean(0) if mean else deltas.sum(0)
        torch.testing.assert_close(stack.delta(layer), expected, rtol=1e-5, atol=1e-5)


def test_a_sum_of_different_ranks_keeps_the_scaling() -> None:
    stack = stacked([random_lora(0, rank=6, alpha=10), random_lora(1, rank=3, alpha=5)])
    assert (stack.settings["r"], stack.settings["lora_alpha"]) == (9, 15)


def test_different_scalings_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"different scaling.*\[1\.66.*, 1\.33.*\]"):
        stacked([random_lora(0), random_lora(1, alpha=4)])


@pytest.mark.parametrize("mean", [False, True])
def test_rs_loras_of_any_rank_become_a_plain_one(mean: bool) -> None:
    parts = [random_lora(0, rank=4, alpha=6), random_lora(1, rank=16, alpha=12)]  # 3 and 3
    parts = [SavedLora(part.weights, {**part.settings, "use_rslora": True}) for part in parts]
    stack = stacked(parts, mean=mean)
    assert not stack.settings["use_rslora"]
    for layer in LAYERS:
        a, b = (3 * part.weights[layer + B].float() @ part.weights[layer + A].float() for part in parts)
        torch.testing.assert_close(stack.delta(layer), (a + b) / (2 if mean else 1), rtol=1e-5, atol=1e-4)
