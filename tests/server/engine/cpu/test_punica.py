"""The CPU kernel against the definition: each row, one at a time, in float64, with its own slot's adapter."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vllm.lora.layers import LoRAMapping

from crma_server.engine.vllm.cpu.native import native_kernel
from crma_server.engine.vllm.cpu.products import NO_SLOT
from crma_server.engine.vllm.cpu.punica import GroupedPunicaWrapper

SLOTS, RANK, WIDTH = 3, 8, 12
OUT = (10, 6, 6)
CPU = torch.device("cpu")
FULL = [0, NO_SLOT, 1, 2, NO_SLOT, 1, 0, 2]
"""Rows of every slot, and rows of none between them."""


@pytest.fixture(params=["cc", ""], ids=["native", "torch"], autouse=True)
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute: in C, and with PyTorch where there is no compiler."""
    compiler: str = request.param
    monkeypatch.setenv("CC", compiler)
    if compiler and native_kernel() is None:
        pytest.skip("needs a C compiler")
    return compiler


def wrapper_for(token_slots: Sequence[int], sampler_slots: Sequence[int] = ()) -> GroupedPunicaWrapper:
    wrapper = GroupedPunicaWrapper(max(64, len(token_slots)), 64, CPU)
    ids: list[int | None] = [slot + 100 for slot in range(SLOTS)]
    mapping = LoRAMapping(
        tuple(0 if slot == NO_SLOT else slot + 100 for slot in token_slots),
        tuple(0 if slot == NO_SLOT else slot + 100 for slot in sampler_slots),
        is_prefill=True,
    )
    wrapper.update_metadata(mapping, ids, SLOTS + 1, vocab_size=50)
    return wrapper


def stacked(dtype: torch.dtype, out: Sequence[int] = OUT) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    a = [torch.randn(SLOTS, 1, RANK, WIDTH, generator=generator).to(dtype) for _ in out]
    b = [torch.randn(SLOTS, 1, size, RANK, generator=generator).to(dtype) for size in out]
    return a, b


def rows(count: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count)).to(dtype)


def by_definition(
    y: torch.Tensor,
    x: torch.Tensor,
    a: Sequence[torch.Tensor],
    b: Sequence[torch.Tensor],
    slots: Sequence[int],
) -> torch.Tensor:
    expected = y.double()
    for row, slot in enumerate(slots):
        if slot != NO_SLOT:
            added = [
                up[slot, 0].double() @ (down[slot, 0].double() @ x[row].double())
                for down, up in zip(a, b, strict=True)
            ]
            expected[row] += torch.cat(added)
    return expected


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slots=st.lists(st.integers(NO_SLOT, SLOTS - 1), min_size=1, max_size=24),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    weights=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_each_row_gets_its_own_slots_adapter(
    slots: list[int], dtype: torch.dtype, weights: torch.dtype
) -> None:
    a, b = stacked(weights)
    x, y = rows(len(slots), WIDTH, dtype), rows(len(slots), sum(OUT), dtype)
    expected, before = by_definition(y, x, a, b, slots), y.clone()
    wrapper_for(slots).add_lora_linear(y, x, a, b, 1.0, OUT)
    tolerance = 1e-5 if dtype is torch.float32 else 2e-2  # bfloat16 has 8 bits, and is rounded to twice
    assert torch.allclose(y.double(), expected, rtol=tolerance, atol=tolerance)
    bare = torch.tensor(slots) == NO_SLOT
    assert torch.equal(y[bare], before[bare])


def test_base_rows_are_exact_with_every_slot_in_use() -> None:
    a, b = stacked(torch.float32)
    y = rows(len(FULL), sum(OUT))
    before = y.clone()
    wrapper_for(FULL).add_lora_linear(y, rows(len(FULL), WIDTH), a, b, 1.0, OUT)
    changed = (y != before).any(dim=1).tolist()
    assert changed == [slot != NO_SLOT for slot in FULL]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_rows_neighbours_do_not_change_it(dtype: torch.dtype) -> None:
    """Consecutive rows and scattered ones take different ways through the kernel."""
    a, b = stacked(dtype)
    x, y = rows(4, WIDTH, dtype), rows(4, sum(OUT), dtype)
    together, scattered = y.clone(), y.clone()
    wrapper_for([1, 1, 0, 0]).add_lora_linear(together, x, a, b, 1.0, OUT)
    wrapper_for([1, 0, 1, 0]).add_lora_linear(scattered, x, a, b, 1.0, OUT)
    assert torch.allclose(together[[0, 3]], scattered[[0, 3]], rtol=1e-6, atol=1e-6)


def test_modules_an_adapter_does_not_target_are_not_computed() -> None:
    a, b = stacked(torch.float32)
    wrapper = wrapper_for(FULL)
    b[1][2] = 0
    b[0][2, 0, :, 5:] = 0
    y, x = rows(len(FULL), sum(OUT)), rows(len(FULL), WIDTH)
    expected = by_definition(y, x, a, b, FULL)
    a[1][2] = torch.nan  # would show in y if it were read
    a[0][2, 0, 5:] = torch.nan
    wrapper.add_lora_linear(y, x, a, b, 1.0, OUT)
    assert torch.allclose(y.double(), expected, atol=1e-5)


def test_scale_is_applied() -> None:
    a, b = stacked(torch.float32)
    x = rows(len(FULL), WIDTH)
    once, twice = torch.zeros(2, len(FULL), sum(OUT))
    wrapper_for(FULL).add_lora_linear(once, x, a, b, 1.0, OUT)
    wrapper_for(FULL).add_lora_linear(twice, x, a, b, 2.0, OUT)
    assert torch.allclose(twice, 2 * once)


def test_shrink_then_expand_is_linear() -> None:
    a, b = stacked(torch.float32)
    x, y = rows(len(FULL), WIDTH), rows(len(FULL), 3 + sum(OUT))
    expected = y.double()
    expected[:, 3:] = by_definition(y[:, 3:], x, a, b, FULL)
    shrunk = list(torch.zeros(len(OUT), len(FULL), RANK))
    wrapper = wrapper_for(FULL)
    wrapper.add_shrink(shrunk, x, a, 1.0)
    wrapper.add_expand(y, shrunk, b, OUT, offset_start=3)
    assert torch.allclose(y.double(), expected, atol=1e-5)


def test_embedding_adds_only_to_rows_with_a_slot() -> None:
    _, [b] = stacked(torch.float32, out=[WIDTH])
    looked_up, y = rows(len(FULL), RANK), torch.zeros(len(FULL), WIDTH)
    wrapper_for(FULL).add_lora_embedding(y, looked_up, b, add_input=True)
    for row, slot in enumerate(FULL):
        expected = torch.zeros(WIDTH) if slot == NO_SLOT else b[slot, 0] @ looked_up[row]
        assert torch.allclose(y[row], expected, atol=1e-5)


def test_logits_of_sampled_rows_leave_the_padded_vocabulary_alone() -> None:
    a, b = stacked(torch.float32, out=[20])
    sampled = [2, NO_SLOT, 0]
    x, y = rows(3, WIDTH), torch.zeros(3, 24)
    wrapper_for(FULL, sampled).add_lora_logits(y, x, a[0], b[0], 1.0)
    assert torch.allclose(y[:, :20].double(), by_definition(torch.zeros(3, 20), x, a, b, sampled), atol=1e-5)
    assert not y[:, 20:].any()


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (3, 5), (5, 7)])
def test_logits_of_prompt_rows_belong_to_the_request_they_lie_in(start: int, stop: int) -> None:
    """Prompts of 3, 2 and 3 tokens, three sampled rows: a slice may well be as long as those."""
    slots = [2, 2, 2, NO_SLOT, NO_SLOT, 0, 0, 0]
    a, b = stacked(torch.float32, out=[20])
    hidden_states = rows(len(slots), WIDTH)
    x, y = hidden_states[start:stop], torch.zeros(stop - start, 20)
    wrapper_for(slots, [2, NO_SLOT, 0]).add_lora_logits(y, x, a[0], b[0], 1.0)
    expected = by_definition(torch.zeros_like(y), x, a, b, slots[start:stop])
    assert torch.allclose(y.double(), expected, atol=1e-5)


def test_a_step_without_adapters_changes_nothing() -> None:
    a, b = stacked(torch.float32)
    y = rows(2, sum(OUT))
    before = y.clone()
    wrapper_for([NO_SLOT, NO_SLOT]).add_lora_linear(y, rows(2, WIDTH), a, b, 1.0, OUT)
    assert torch.equal(y, before)


def test_a_step_whose_adapters_do_not_target_the_module_does_not_read_it() -> None:
    a, b = stacked(torch.float32)
    for stacked_b in b:
        stacked_b[[0, 2]] = 0
    y, x = rows(3, sum(OUT)), rows(3, WIDTH)
    before = y.clone()
    wrapper = wrapper_for([0, 2, NO_SLOT])
    assert not wrapper.touches(a, b, OUT)
    wrapper.add_lora_linear(y, x, a, b, 1.0, OUT)
    assert torch.equal(y, before)
    assert wrapper_for([0, 1, NO_SLOT]).touches(a, b, OUT)


def test_long_and_scattered_rows_share_a_step() -> None:
    """A decode batch ahead of two prompts, as vLLM's scheduler has them."""
    slots = [0, 1, NO_SLOT, 0, 2, 1, 0, *[2] * 40, *[NO_SLOT] * 3, *[0] * 17]
    a, b = stacked(torch.float32)
    x, y = rows(len(slots), WIDTH), rows(len(slots), sum(OUT))
    expected = by_definition(y, x, a, b, slots)
    wrapper_for(slots).add_lora_linear(y, x, a, b, 1.0, OUT)
    assert torch.allclose(y.double(), expected, atol=1e-5)


def test_an_adapter_written_into_a_used_slot_is_read_anew() -> None:
    a, b = stacked(torch.float32)
    wrapper, x = wrapper_for(FULL), rows(len(FULL), WIDTH)
    wrapper.add_lora_linear(torch.zeros(len(FULL), sum(OUT)), x, a, b, 1.0, OUT)
    a[0][1] *= 2
    b[2][1] = 0
    wrapper.weights.slot_written(SimpleNamespace(lora_a_stacked=a, lora_b_stacked=b, output_slices=OUT), 1)
    y = torch.zeros(len(FULL), sum(OUT))
    wrapper.add_lora_linear(y, x, a, b, 1.0, OUT)
    assert torch.allclose(y.double(), by_definition(torch.zeros_like(y), x, a, b, FULL), atol=1e-5)


def test_fewer_rows_than_tokens_is_refused() -> None:
    a, b = stacked(torch.float32)
    with pytest.raises(RuntimeError, match="2 rows in a step of 8 tokens"):
        wrapper_for(FULL).add_lora_linear(rows(2, sum(OUT)), rows(2, WIDTH), a, b, 1.0, OUT)
