"""InfLoRA: A reads nothing that earlier domains' inputs hold, and only B learns."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from crma_training.methods.inf_lora import ROW_NORM, InfLora
from crma_training.methods.input_memory import InputMemory
from crma_training.saved_lora import A, B, SavedLora

MakeCourse = Callable[..., Any]
BFLOAT16 = 2**-8  # relative rounding


def new_branch(stage: Path, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B that a stage added to a layer, of rank 2."""
    saved = SavedLora.read(stage / "adapter")
    return saved.weights[layer + A][-2:].float(), saved.weights[layer + B][:, -2:].float()


def test_a_lies_in_the_null_space_of_earlier_inputs(make_course: MakeCourse) -> None:
    stages = make_course().learn(InfLora())
    for before, stage in pairwise(stages):
        memory = InputMemory.read(before / "inputs.safetensors")
        for layer, basis in memory.bases.items():
            a, b = new_branch(stage, layer)
            assert b.any()
            assert (a @ basis).norm() < BFLOAT16 * a.norm()
            torch.testing.assert_close(a @ a.T, ROW_NORM**2 * torch.eye(2), rtol=0, atol=BFLOAT16)
            # so inputs from the space are answered as before
            states = basis @ torch.randn(basis.shape[1], 5, generator=torch.Generator().manual_seed(0))
            assert (b @ (a @ states)).norm() < 2 * BFLOAT16 * b.norm() * a.norm() * states.norm()


def test_layers_that_read_the_same_share_a(make_course: MakeCourse) -> None:
    (stage,) = make_course("code").learn(InfLora())
    saved, memory = SavedLora.read(stage / "adapter"), InputMemory.read(stage / "inputs.safetensors")
    assert len(saved.layers) == 5 * 2
    assert len(memory.bases) == 3 * 2
    for left, right in (("self_attn.q_proj", "self_attn.v_proj"), ("mlp.gate_proj", "mlp.up_proj")):
        for layer in (name for name in saved.layers if name.endswith(left)):
            other = layer.replace(left, right)
            assert torch.equal(saved.weights[layer + A], saved.weights[other + A])
            assert not torch.equal(saved.weights[layer + B][:8], saved.weights[other + B][:8])


def test_only_b_learns(make_course: MakeCourse) -> None:
    course = make_course("code")
    (short,) = course.learn(InfLora(), name="short")
    (long,) = make_course("code", steps=9).learn(InfLora(), name="long")
    for layer in SavedLora.read(short / "adapter").layers:
        a, b = new_branch(short, layer)
        again, further = new_branch(long, layer)
        assert torch.equal(a, again)
        assert not torch.equal(b, further)


def test_memory_and_rank_grow(make_course: MakeCourse) -> None:
    stages = make_course().learn(InfLora(threshold=0.98))
    assert [SavedLora.read(stage / "adapter").settings["r"] for stage in stages] == [2, 4, 6]
    memories = [InputMemory.read(stage / "inputs.safetensors").bases for stage in stages]
    for before, after in pairwise(memories):
        assert all(torch.equal(after[n][:, : before[n].shape[1]], before[n]) for n in before)
    sizes = [sum(basis.shape[1] for basis in memory.values()) for memory in memories]
    assert sizes[0] <= sizes[1] <= sizes[2]  # what domains share is remembered once
    assert sizes[0] < sizes[2]
    assert InfLora().serving(stages, 0).adapter == stages[2] / "adapter"


def test_when_no_direction_is_left_nothing_more_is_learnt(make_course: MakeCourse) -> None:
    stages = make_course("code", "legal").learn(InfLora(threshold=1.0))
    first, second = (SavedLora.read(stage / "adapter") for stage in stages)
    for layer in first.layers:
        basis = InputMemory.read(stages[0] / "inputs.safetensors").bases.get(layer)
        if basis is not None and basis.shape[1] == basis.shape[0]:
            torch.testing.assert_close(first.delta(layer), second.delta(layer), rtol=0, atol=0)


@pytest.mark.parametrize("rows", [1, 8])
def test_the_same_rows_give_the_same_bytes(make_course: MakeCourse, rows: int) -> None:
    course = make_course("code")
    one, two = (course.learn(InfLora(rows=rows), name=name)[0] for name in ("one", "two"))
    assert course.files(one) == course.files(two)
