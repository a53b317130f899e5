"""Reference values by hand, and what must hold for any matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import ConfigError
from crma_eval.learning.statistics import (
    Row,
    backward_transfer,
    drift,
    forgetting,
    learning_advantage,
    run_statistics,
)

if TYPE_CHECKING:
    from tests.eval.conftest import RunMaker

LOSSES = [[2.0, 4.0, 4.0], [2.2, 1.0, 4.0], [3.0, 1.5, 2.0]]
ACCURACIES = [[0.8, 0.1, 0.2], [0.9, 0.7, 0.3], [0.5, 0.6, 0.4]]
JOINT: list[list[float]] = [[], [], [2.0, 1.0, 3.0]]


@st.composite
def matrices(draw: st.DrawFn, low: float = 0.1, high: float = 9.0) -> list[Row]:
    size = draw(st.integers(2, 5))
    row = st.tuples(*[st.floats(low, high)] * size)
    return draw(st.lists(row, min_size=size, max_size=size))


def test_losses_by_hand(maker: RunMaker) -> None:
    found = run_statistics(maker.run(LOSSES, base=[4.0, 5.0, 6.0]))
    assert found.drift is not None
    assert found.drift.nats == pytest.approx((1.0, 0.5))
    assert found.drift.relative == pytest.approx((0.5, 0.5))
    assert found.drift.mean == pytest.approx(0.5)
    assert found.learnt_loss == pytest.approx(5 / 3)
    assert found.final_loss == pytest.approx(6.5 / 3)
    assert found.forward_transfer_loss == pytest.approx((5 - 4 + 6 - 4) / 2)


def test_accuracies_by_hand(maker: RunMaker) -> None:
    found = run_statistics(maker.run(LOSSES, ACCURACIES, base_accuracies=[0.0, 0.0, 0.1]))
    assert found.average_accuracy == pytest.approx(0.5)
    assert found.backward_transfer == pytest.approx((0.5 - 0.8 + 0.6 - 0.7) / 2)
    assert found.forgetting == pytest.approx((0.9 - 0.5 + 0.7 - 0.6) / 2)
    assert found.forward_transfer == pytest.approx((0.1 - 0.0 + 0.3 - 0.1) / 2)


def test_without_short_answers_there_is_no_accuracy(maker: RunMaker) -> None:
    found = run_statistics(maker.run(LOSSES))
    assert found.drift is not None
    accuracies = (found.average_accuracy, found.backward_transfer, found.forgetting, found.forward_transfer)
    assert accuracies == (None, None, None, None)


def test_joint_training_has_final_figures_only(maker: RunMaker) -> None:
    found = run_statistics(maker.run(JOINT, [[], [], [0.5, 0.3, 0.7]], method="joint"))
    assert found.final_loss == pytest.approx(2.0) and found.average_accuracy == pytest.approx(0.5)
    assert found.drift is None and found.learnt_loss is None and found.forward_transfer_loss is None
    assert found.backward_transfer is None and found.forgetting is None and found.forward_transfer is None


def test_one_domain_has_nothing_to_forget(maker: RunMaker) -> None:
    found = run_statistics(maker.run([[2.0]], [[0.5]]))
    assert found.final_loss == 2.0 and found.learnt_loss == 2.0
    assert found.drift is None and found.backward_transfer is None and found.forward_transfer is None


def test_learning_advantage_by_hand(maker: RunMaker) -> None:
    frozen = maker.run([[2, 9, 9], [9, 1, 9], [9, 9, 2]], method="frozen")
    found = learning_advantage(maker.run([[1.5, 7, 7], [7, 1.2, 7], [7, 7, 1]]), frozen)
    assert found is not None
    assert found.nats == pytest.approx((0.5 - 0.2 + 1.0) / 3)
    assert found.relative == pytest.approx((0.25 - 0.2 + 0.5) / 3)
    assert learning_advantage(maker.run(JOINT, method="joint"), frozen) is None


def test_learning_advantage_is_paired_by_seed(maker: RunMaker) -> None:
    with pytest.raises(ConfigError, match=r"modular \(seed 1, a, b, c\) and frozen \(seed 0.*not a pair"):
        learning_advantage(maker.run(LOSSES, seed=1), maker.run(LOSSES, method="frozen"))


@given(matrices())
def test_drift_is_zero_exactly_if_the_last_row_repeats_the_diagonal(losses: list[Row]) -> None:
    found = drift(losses)
    assert found is not None
    kept = [losses[-1][j] == losses[j][j] for j in range(len(losses) - 1)]
    assert [value == 0 for value in found.relative] == kept
    diagonal = tuple(losses[j][j] for j in range(len(losses)))
    still = drift([*losses[:-1], diagonal])
    assert still is not None and still.mean == 0 and set(still.nats) == {0}


@given(matrices(), st.floats(0.1, 5))
def test_a_unit_of_loss_does_not_change_relative_drift(losses: list[Row], scale: float) -> None:
    found, scaled = drift(losses), drift([tuple(scale * x for x in row) for row in losses])
    assert found is not None and scaled is not None
    assert scaled.relative == pytest.approx(found.relative, abs=1e-9)
    assert scaled.nats == pytest.approx([scale * x for x in found.nats], abs=1e-9)


@given(matrices(), st.floats(0, 3))
def test_a_constant_added_everywhere_keeps_the_nats_and_shrinks_the_ratio(
    losses: list[Row], shift: float
) -> None:
    found, shifted = drift(losses), drift([tuple(x + shift for x in row) for row in losses])
    assert found is not None and shifted is not None
    assert shifted.nats == pytest.approx(found.nats, abs=1e-9)
    assert all(abs(a) <= abs(b) + 1e-9 for a, b in zip(shifted.relative, found.relative, strict=True))


@given(matrices(0, 1))
def test_forgetting_is_never_less_than_the_loss_of_accuracy_since_learning(accuracies: list[Row]) -> None:
    lost, transfer = forgetting(accuracies), backward_transfer(accuracies)
    assert lost is not None and transfer is not None
    assert lost >= -transfer - 1e-12
