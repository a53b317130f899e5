"""O-LoRA: subspaces orthogonal to earlier ones, earlier LoRAs untouched, one LoRA that is their sum."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from crma_training.lora import DomainLora
from crma_training.methods.lora_training import fresh_lora
from crma_training.methods.method import Lesson
from crma_training.methods.o_lora import OLora, down_projections, overlap
from crma_training.methods.per_domain import FROZEN
from crma_training.saved_lora import A, SavedLora

MakeCourse = Callable[..., Any]
IDS = torch.tensor([[3, 4, 5, 6]])


def test_overlap_is_its_formula() -> None:
    earlier = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    new = torch.tensor([[0.0, -1.0, 0.0], [2.0, 0.0, -1.0]])
    assert overlap([(earlier, new)]).item() == 3  # the second row is orthogonal to both
    assert overlap([(earlier, new), (earlier, 2 * new)]).item() == 9


def cosine(lora: SavedLora, rank: int) -> float:
    """Mean |cosine| between the last `rank` rows of A and the rows before them."""
    values = []
    for layer in lora.layers:
        rows = torch.nn.functional.normalize(lora.weights[layer + A].float(), dim=1)
        values.append((rows[:-rank] @ rows[-rank:].T).abs().mean())
    return float(torch.stack(values).mean())


def test_a_new_subspace_is_orthogonal_to_the_earlier_ones(make_course: MakeCourse) -> None:
    course = make_course(steps=30, batch_size=1, learning_rate=5e-3, weight_decay=0.0)
    held = course.learn(OLora(strength=10.0), name="held")
    loose = course.learn(OLora(strength=0.0), name="loose")
    for index in (1, 2):
        apart, as_drawn = (cosine(SavedLora.read(stages[index] / "adapter"), 2) for stages in (held, loose))
        assert as_drawn > 0.1
        assert apart < 0.02


def test_earlier_loras_stay_and_all_stand_side_by_side(make_course: MakeCourse) -> None:
    course = make_course()
    stages = course.learn(OLora())
    saved = [SavedLora.read(stage / "adapter") for stage in stages]
    assert [lora.settings["r"] for lora in saved] == [2, 4, 6]
    assert {lora.settings["lora_alpha"] / lora.settings["r"] for lora in saved} == {2}
    for before, after in pairwise(saved):
        for layer in before.layers:
            assert torch.equal(after.weights[layer + A][: before.settings["r"]], before.weights[layer + A])
    assert course.files(stages[0] / "adapter") == course.files(course.learn(FROZEN)[0] / "adapter")
    assert OLora().serving(stages, 0).adapter == stages[2] / "adapter"


def test_the_stack_answers_as_the_sum_of_both_while_training(make_course: MakeCourse) -> None:
    course = make_course("code", "legal")
    first, second = course.learn(OLora(), name="stack")
    bench, tasks = course.load()
    stack = DomainLora.saved(bench.model, second / "adapter")
    expected = bench.model(IDS).logits
    stack.remove()
    whole = SavedLora.read(second / "adapter")
    lora = fresh_lora(Lesson(bench, tasks, 1, (first,)))
    lora.add_frozen(first / "adapter")
    own = lora.named_parameters()
    assert {id(p) for p in own.values()} == {id(p) for p in bench.model.parameters() if p.requires_grad}
    for name, parameter in own.items():
        stored = whole.weights[name.replace(".default", "")]
        parameter.data.copy_(stored[2:] if ".lora_A." in name else stored[:, 2:])
    torch.testing.assert_close(bench.model(IDS).logits, expected, rtol=1e-5, atol=1e-5)
    assert overlap(down_projections(lora)).item() == pytest.approx(
        sum(
            float((whole.weights[n][:2].float() @ whole.weights[n][2:].float().T).abs().sum())
            for n in whole.weights
            if ".lora_A." in n
        ),
        rel=1e-4,
    )
    lora.remove()
