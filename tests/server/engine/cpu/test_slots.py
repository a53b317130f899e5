from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crma_server.engine.vllm.cpu.products import LONG_RUN, NO_SLOT, Plan, Run, StepRows, plan_rows
from crma_server.engine.vllm.cpu.weights import slot_set


def step(slots: Sequence[int]) -> StepRows:
    return StepRows(np.array(slots, dtype=np.int64))


def planned(plan: Plan) -> list[tuple[int, int]]:
    """(row, slot) of everything that the plan adds to, padding left out."""
    found = [(row, run.slot) for run in plan.runs for row in range(run.first, run.first + run.count)]
    for batch in plan.batches:
        padding = torch.zeros(len(batch.rows), dtype=torch.bool)
        if batch.padding is not None:
            padding = batch.padding.flatten()
        slots = torch.arange(batch.first_slot, batch.first_slot + batch.slots)
        of_row = slots.repeat_interleave(len(batch.rows) // batch.slots)
        found += list(zip(batch.rows[~padding].tolist(), of_row[~padding].tolist(), strict=True))
    return sorted(found)


@st.composite
def slots_of_rows(draw: st.DrawFn) -> list[int]:
    """Stretches of rows, some long enough for a run."""
    stretches = draw(
        st.lists(st.tuples(st.integers(NO_SLOT, 6), st.sampled_from([1, 1, 2, LONG_RUN])), max_size=20)
    )
    return [slot for slot, count in stretches for _ in range(count)]


@given(slots_of_rows())
def test_every_row_with_a_slot_is_planned_once(slots: list[int]) -> None:
    plan = plan_rows(np.array(slots, dtype=np.int64))
    assert planned(plan) == [(row, slot) for row, slot in enumerate(slots) if slot != NO_SLOT]


@given(slots_of_rows())
def test_only_rows_with_a_slot_fill_batches_up(slots: list[int]) -> None:
    for batch in plan_rows(np.array(slots, dtype=np.int64)).batches:
        assert all(slots[row] != NO_SLOT for row in batch.rows.tolist())


def test_consecutive_rows_are_a_run() -> None:
    assert plan_rows(np.array([NO_SLOT, 2, 2, 0])) == Plan((Run(2, 1, 2), Run(0, 3, 1)))


def test_scattered_rows_of_neighbouring_slots_share_a_batch() -> None:
    [batch] = plan_rows(np.array([3, 4, 3, 4, NO_SLOT, 5])).batches
    assert (batch.first_slot, batch.slots, batch.rows.tolist()) == (3, 3, [0, 2, 1, 3, 5, 5])
    assert batch.padding is not None and batch.padding.flatten().tolist() == [False] * 5 + [True]


def test_slots_far_apart_are_not_read_across() -> None:
    batches = plan_rows(np.array([0, 7, 0, 7, 6])).batches
    assert [(batch.first_slot, batch.slots) for batch in batches] == [(0, 1), (6, 2)]


def test_a_slot_of_many_rows_does_not_fill_the_others_up() -> None:
    batches = plan_rows(np.array([0, 1] * LONG_RUN + [2])).batches
    assert [(batch.first_slot, batch.slots) for batch in batches] == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("slots", [[], [NO_SLOT, NO_SLOT]])
def test_a_step_without_slots_has_nothing_to_do(slots: list[int]) -> None:
    assert not step(slots).in_use and step(slots).lay_out(slot_set({0, 1}), plan_rows) == Plan()


def test_a_modules_plan_has_only_the_slots_that_target_it() -> None:
    rows = step([0, 1, 2, 0, 1])
    assert planned(rows.lay_out(slot_set({1, 5}), plan_rows)) == [(1, 1), (4, 1)]
    assert rows.lay_out(slot_set({5}), plan_rows) == Plan()


def test_rows_are_laid_out_once_per_step() -> None:
    rows = step([0, 1, 0, 1])
    assert rows.lay_out(slot_set({0, 1}), plan_rows) is rows.lay_out(slot_set({0, 1, 2}), plan_rows)


def test_rows_by_slot() -> None:
    assert [(slot, rows.tolist()) for slot, rows in step([1, NO_SLOT, 0, 1]).by_slot()] == [
        (0, [2]),
        (1, [0, 3]),
    ]
