"""EWC: the Fisher is the Fisher, the anchor costs nothing, and a large λ holds the weights there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from crma_training.data.tokens import collate
from crma_training.methods.ewc import Ewc, Penalty, fisher_information, normalised
from crma_training.methods.lora_training import fresh_lora
from crma_training.methods.method import Lesson
from crma_training.methods.plain import Naive
from crma_training.saved_lora import SavedLora
from crma_training.trainer.losses import answer_loss

MakeCourse = Callable[..., Any]
A, B = "q.lora_A.default.weight", "q.lora_B.default.weight"


@pytest.fixture
def toy() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Parameters and their Fisher information."""
    generator = torch.Generator().manual_seed(0)
    parameters = {A: torch.randn(2, 3, generator=generator), B: torch.randn(4, 2, generator=generator)}
    fisher = {name: torch.rand(value.shape, generator=generator) for name, value in parameters.items()}
    return {name: value.requires_grad_() for name, value in parameters.items()}, fisher


Toy = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]


def test_the_anchor_costs_nothing_and_pulls_nowhere(toy: Toy) -> None:
    parameters, fisher = toy
    penalty = Penalty(parameters, fisher, 7.0)()
    assert penalty.item() == 0
    gradients = torch.autograd.grad(penalty, list(parameters.values()))
    assert all(not gradient.any() for gradient in gradients)


def test_the_penalty_is_its_formula(toy: Toy) -> None:
    parameters, fisher = toy
    penalty = Penalty(parameters, fisher, 7.0)
    with torch.no_grad():
        parameters[A] += 0.5
        parameters[B][1, 0] -= 2.0
    expected = 3.5 * (float(fisher[A].mean()) * 0.25 + float(fisher[B][1, 0]) * 4 / 8)
    assert penalty().item() == pytest.approx(expected, rel=1e-5)


def test_normalising_makes_every_group_one_on_average(toy: Toy) -> None:
    _, fisher = toy
    scaled = normalised({**fisher, B: 1000 * fisher[B]})
    torch.testing.assert_close(scaled[A] * fisher[A].mean(), fisher[A])
    assert scaled[B].mean().item() == pytest.approx(1)
    assert not normalised({A: fisher[A], B: torch.zeros(4, 2)})[B].any()


def test_the_fisher_is_the_mean_squared_gradient_of_single_rows(make_course: MakeCourse) -> None:
    bench, tasks = make_course("code").load()
    lora = fresh_lora(Lesson(bench, tasks, 0, ()))
    rows, parameters = tasks[0].train[:3], lora.named_parameters()
    with torch.no_grad():
        for index, parameter in enumerate(parameters.values()):
            generator = torch.Generator().manual_seed(index)
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.01)
    fisher = fisher_information(bench, parameters, rows)
    name, step = next(name for name in parameters if "lora_B" in name), 1e-2
    place = divmod(int(fisher[name].argmax()), fisher[name].shape[1])
    squares = [difference(bench, parameters[name], place, row, step) ** 2 for row in rows]
    assert float(fisher[name][place]) == pytest.approx(sum(squares) / 3, rel=0.02)
    assert all(value.any() for value in fisher.values())
    lora.remove()


def difference(bench: Any, parameter: torch.Tensor, place: tuple[int, int], row: Any, step: float) -> float:
    """Derivative of a row's log likelihood by one weight, from its values on both sides."""
    values = []
    for side in (step, -2 * step):
        with torch.no_grad():
            parameter[place] += side
            values.append(float(answer_loss(bench.model, collate([row], 0), reduction="sum")))
    with torch.no_grad():
        parameter[place] += step
    return (values[0] - values[1]) / (2 * step)


def moved(stages: tuple[Path, ...], fisher: dict[str, torch.Tensor]) -> float:
    """How far the second domain moved the LoRA, in terms of the first domain's Fisher information."""
    first, second = (SavedLora.read(stage / "adapter").weights for stage in stages)
    return sum(
        float(
            (fisher[name.replace(".weight", ".default.weight")] * (second[name] - first[name]).square()).sum()
        )
        for name in first
    )


def test_a_growing_strength_freezes_what_the_first_domain_depends_on(make_course: MakeCourse) -> None:
    course = make_course("code", "legal", steps=12, learning_rate=1e-2)
    held = course.learn(Ewc(strength=1e12, rows=8), name="held")
    loose = course.learn(Ewc(strength=0.0, rows=8), name="loose")
    naive = course.learn(Naive())
    assert course.files(loose[1] / "adapter") == course.files(naive[1] / "adapter")
    assert course.files(held[0] / "adapter") == course.files(naive[0] / "adapter")
    fisher = load_file(held[0] / "fisher.safetensors")
    # Not zero: Adam's steps have one size however small the gradient, until the schedule ends.
    assert moved(held, fisher) < 1e-2 * moved(loose, fisher)


def test_the_information_of_all_domains_adds_up(make_course: MakeCourse) -> None:
    stages = make_course().learn(Ewc(rows=4))
    for count, stage in enumerate(stages, start=1):
        fisher = load_file(stage / "fisher.safetensors")
        for factor in ("lora_A", "lora_B"):
            values = torch.cat([value.flatten() for name, value in fisher.items() if factor in name])
            assert values.mean().item() == pytest.approx(count, rel=1e-4)
