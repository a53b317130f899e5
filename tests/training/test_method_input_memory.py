"""The memory of inputs: as many directions as their energy asks for, and those that are left."""

from pathlib import Path

import pytest
import torch

from crma_training.methods.input_memory import InputMemory, Inputs

SIZE = 12


def inputs(energies: dict[int, float], copies: int = 1) -> Inputs:
    """Inputs with these energies along some axes of a rotated space, a token for each."""
    states = torch.stack([energy**0.5 * AXES[:, axis] for axis, energy in energies.items()])
    return Inputs({"q": torch.cat([states / 2**0.5] * copies * 2) / copies**0.5}, {"q": ("q", "v")})


AXES = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0))).Q


def same_space(basis: torch.Tensor, axes: list[int]) -> bool:
    return torch.allclose(basis @ basis.T, AXES[:, axes] @ AXES[:, axes].T, atol=1e-4)


@pytest.mark.parametrize(
    ("threshold", "count"), [(0.4, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (0.999, 4)]
)
@pytest.mark.parametrize("copies", [1, 2])  # fewer tokens than dimensions, and more
def test_directions_are_remembered_until_they_hold_the_energy(
    threshold: float, count: int, copies: int
) -> None:
    given = inputs({0: 5.0, 3: 3.0, 5: 1.5, 7: 0.5}, copies)
    memory = InputMemory({}).extended(given, threshold)
    assert same_space(memory.bases["q"], [0, 3, 5, 7][:count])


def test_what_is_remembered_already_counts(tmp_path: Path) -> None:
    memory = InputMemory({}).extended(inputs({0: 5.0, 3: 3.0}), 0.99)
    assert same_space(memory.extended(inputs({3: 9.6, 4: 0.4}), 0.95).bases["q"], [0, 3])
    grown = memory.extended(inputs({3: 5.0, 4: 3.0, 6: 2.0}), 0.75)
    assert same_space(grown.bases["q"], [0, 3, 4])
    assert torch.equal(grown.bases["q"][:, :2], memory.bases["q"])
    grown.write(tmp_path / "memory")
    assert torch.equal(InputMemory.read(tmp_path / "memory").bases["q"], grown.bases["q"])


def test_free_directions_are_the_largest_outside_the_memory() -> None:
    memory = InputMemory({}).extended(inputs({0: 5.0, 3: 3.0}), 0.99)
    states = inputs({0: 9.0, 1: 2.0, 2: 1.0, 3: 9.0, 4: 0.5}).states["q"]
    directions = memory.free_directions("q", states, 2)
    assert same_space(directions, [1, 2])
    torch.testing.assert_close(directions.T @ directions, torch.eye(2))
    assert (directions.T @ memory.bases["q"]).abs().max() < 1e-6


def test_a_full_memory_leaves_no_direction() -> None:
    everything = inputs(dict.fromkeys(range(SIZE), 1.0))
    memory = InputMemory({}).extended(everything, 1.0)
    assert memory.bases["q"].shape == (SIZE, SIZE)
    assert not memory.free_directions("q", everything.states["q"], 3).any()
    assert memory.extended(everything, 1.0).bases["q"].shape == (SIZE, SIZE)
