"""Norms measured again, against the same computed at full size."""

import pytest
import torch

from crma_adapters.crma.config import CrmaConfig, Mode
from crma_adapters.crma.crma import Crma
from crma_eval.learning.spectral.recompute import (
    backbone_spectrum,
    identity_plus_norm,
    mixing_errors,
    untrained_errors,
)


def _crma(mode: Mode, hidden: int = 24, streams: int = 3) -> Crma:
    """Random in all its parameters, as no training would leave it."""
    torch.manual_seed(1)
    crma = Crma(CrmaConfig(hidden, 2, rank=streams, mode=mode, form=1), [torch.randn(hidden, streams)] * 2)
    for parameter in crma.parameters():
        parameter.data += 0.7 * torch.randn_like(parameter)
    return crma


def test_a_projected_m_is_exact_in_float64_and_rounded_in_float32() -> None:
    spectrum = backbone_spectrum(_crma("residual"))
    assert spectrum.exact is not None
    assert max(vars(spectrum.exact).values()) < 1e-9 < spectrum.used.row < 1e-6
    assert min(spectrum.off_identity) > 0.01


def test_modes_without_a_projection_have_none_to_measure() -> None:
    assert backbone_spectrum(_crma("identity")).exact is None
    free = backbone_spectrum(_crma("free"))
    assert free.exact is None and free.used.norm > 0.1


@pytest.mark.parametrize("mode", ["residual", "nonexpansive"])
@pytest.mark.parametrize(("hidden", "streams"), [(24, 3), (4, 3)])  # 2n rows span all of d in the second
def test_norms_of_the_maps_are_those_of_the_full_matrices(mode: Mode, hidden: int, streams: int) -> None:
    crma = _crma(mode, hidden, streams)
    spectrum = backbone_spectrum(crma)
    for index in range(2):
        down, up = (part.detach().double() for part in crma.block(index).maps())
        added = up @ down
        whole = torch.eye(hidden, dtype=torch.float64) + added
        norm = float(torch.linalg.matrix_norm(added, ord=2))
        assert spectrum.branch_norms[index] == pytest.approx(norm, rel=1e-9)
        assert spectrum.map_norms[index] == pytest.approx(
            float(torch.linalg.matrix_norm(whole, ord=2)), rel=1e-9
        )


def test_only_nonexpansive_bounds_the_whole_map() -> None:
    assert max(backbone_spectrum(_crma("nonexpansive")).map_norms) <= 1 + 1e-6
    assert max(backbone_spectrum(_crma("residual")).map_norms) > 1.1


def test_the_identity_outside_the_span_counts() -> None:
    up = torch.zeros(10, 1, dtype=torch.float64)
    up[0] = -0.5
    assert identity_plus_norm(up, up.mT / -0.5) == 1.0


def test_errors_are_the_worst_of_all_matrices() -> None:
    good, bad = (
        torch.eye(2, dtype=torch.float64),
        torch.tensor([[1.0, 0.25], [0.0, 1.0]], dtype=torch.float64),
    )
    errors = mixing_errors(torch.stack([good, bad, good]))
    assert (errors.row, errors.column) == (0.25, 0.25)
    assert errors.norm == pytest.approx(float(torch.linalg.matrix_norm(bad, ord=2)) - 1)


def test_projections_that_saw_no_data_are_as_good() -> None:
    assert max(vars(untrained_errors(50, 4, 8.0)).values()) < 1.2e-7
