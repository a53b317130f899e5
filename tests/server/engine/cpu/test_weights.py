from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crma_server.engine.vllm.cpu.native import Kernel, NativeLoraSlots, lora_slots_of, native_kernel
from crma_server.engine.vllm.cpu.weights import (
    LoraSlots,
    MakeLoraSlots,
    ModuleWeights,
    Packed,
    WeightsByModule,
    report_activations,
    slot_set,
)

Read = Callable[[list[torch.Tensor], list[torch.Tensor]], ModuleWeights]

SLOTS, RANK, IN, OUT = 2, 8, 6, (5, 4)


def stacks() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """As vLLM allocates them: zeros."""
    return [torch.zeros(SLOTS, 1, RANK, IN) for _ in OUT], [torch.zeros(SLOTS, 1, out, RANK) for out in OUT]


def fill(a: torch.Tensor, b: torch.Tensor, slot: int, rank: int) -> None:
    """An adapter of that rank in the slot, as vLLM writes it."""
    a[slot], b[slot] = 0, 0
    a[slot, 0, :rank], b[slot, 0, :, :rank] = torch.randn(rank, IN), torch.randn(OUT[0], rank)


@pytest.fixture
def kernel() -> Kernel:
    found = native_kernel()
    if found is None:
        pytest.skip("needs a C compiler")
    return found


@pytest.fixture(params=["native", "torch"])
def make_slots(request: pytest.FixtureRequest) -> MakeLoraSlots:
    """Both ways to read a slot."""
    return (
        LoraSlots if request.param == "torch" else partial(lora_slots_of, request.getfixturevalue("kernel"))
    )


@pytest.fixture
def read(make_slots: MakeLoraSlots) -> Read:
    def made(a: list[torch.Tensor], b: list[torch.Tensor]) -> ModuleWeights:
        weights = ModuleWeights(a, b, [stack.size(-2) for stack in b], make_slots)
        weights.read_stale()
        return weights

    return made


def test_no_adapter_takes_no_memory(read: Read) -> None:
    weights = read(*stacks())
    assert (weights.targeting, weights.ranks, weights.b, weights.a.numel()) == (0, [], [], 0)


def test_ranks_end_where_the_adapters_do_and_untargeted_slices_are_left_out(read: Read) -> None:
    a, b = stacks()
    fill(a[0], b[0], slot=1, rank=3)
    weights = read(a, b)
    assert (weights.targeting, weights.ranks) == (slot_set({1}), [3])
    assert torch.equal(weights.a[1], a[0][1, 0, :3].T) and torch.equal(weights.b[0][1], b[0][1, 0, :, :3].T)
    [columns] = weights.outputs(torch.arange(9.0).expand(2, 9))
    assert columns[0].tolist() == [0, 1, 2, 3, 4]


def test_a_larger_rank_repacks_every_slot(read: Read) -> None:
    a, b = stacks()
    fill(a[0], b[0], slot=0, rank=2)
    weights = read(a, b)
    fill(a[0], b[0], slot=1, rank=5)
    weights.stale.add(1)
    weights.read_stale()
    assert weights.ranks == [5]
    for slot in range(SLOTS):
        assert torch.equal(weights.a[slot] @ weights.b[0][slot], (b[0][slot, 0] @ a[0][slot, 0]).T)


def test_a_smaller_adapter_leaves_nothing_of_the_one_before(read: Read) -> None:
    a, b = stacks()
    fill(a[0], b[0], slot=0, rank=5)
    weights = read(a, b)
    fill(a[0], b[0], slot=0, rank=2)
    weights.stale.add(0)
    weights.read_stale()
    assert not weights.a[0][:, 2:].any() and not weights.b[0][0, 2:].any()


@pytest.mark.parametrize("rank", [0, 2])
def test_weights_first_read_in_inference_mode_can_be_written_outside_of_it(read: Read, rank: int) -> None:
    a, b = stacks()
    fill(a[0], b[0], slot=0, rank=rank)
    with torch.inference_mode():
        weights = read(a, b)
    fill(a[0], b[0], slot=0, rank=rank)
    weights.stale.add(0)
    weights.read_stale()
    assert torch.equal(weights.a[0], a[0][0, 0, :rank].T)


def test_a_broken_b_stays_with_its_own_rows(read: Read) -> None:
    a, b = stacks()
    fill(a[0], b[0], slot=0, rank=2)
    b[0][0, 0, 0, 0] = torch.inf
    weights = read(a, b)
    assert weights.b[0].isfinite().all() and weights.a[0].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_read_the_same(kernel: Kernel, dtype: torch.dtype) -> None:
    """Ranks 3, 0 and all of them, a row of B that is no column of y, and a value that is not finite."""
    generator = torch.Generator().manual_seed(0)
    outs, widths, ranks, room = (5, 4, 7), (5, 4, 6), (3, 0, RANK), (4, 2, RANK)
    a = [torch.randn(SLOTS, 1, RANK, IN, generator=generator).to(dtype) for _ in outs]
    b = [torch.randn(SLOTS, 1, out, RANK, generator=generator).to(dtype) for out in outs]
    for stack, rank in zip(b, ranks, strict=True):
        stack[1, ..., rank:] = 0
    b[0][1, 0, 2, 1] = -torch.inf
    ways = [LoraSlots(a, b, widths), lora_slots_of(kernel, a, b, widths)]
    assert type(ways[1]) is NativeLoraSlots
    packed = []
    for stacks in ways:
        assert stacks.ranks(1) == list(ranks)
        to = Packed(
            room,
            torch.full((SLOTS, sum(room), IN), 9.0),
            tuple(torch.full((SLOTS, fits, width), 9.0) for fits, width in zip(room, widths, strict=True)),
        )
        stacks.copy(1, ranks, to)
        packed.append(to)
    one, other = packed
    assert torch.equal(one.a.nan_to_num(7), other.a.nan_to_num(7)) and one.a[1, :3].isnan().all()
    assert one.a[0].eq(9).all() and one.a[1, 3:6].eq(0).all()
    for first, second in zip(one.b, other.b, strict=True):
        finite = first.abs() < 1e30  # PyTorch's makes the largest number of infinity, C zero: A is NaN there
        assert torch.equal(first[finite], second[finite]) and second.isfinite().all()


def test_stacks_that_c_cannot_take_are_read_with_pytorch(kernel: Kernel) -> None:
    a, b = stacks()
    assert type(lora_slots_of(kernel, [x.double() for x in a], [x.double() for x in b], OUT)) is LoraSlots
    apart = [torch.zeros(SLOTS, 1, RANK, 2 * IN)[..., ::2] for _ in OUT]
    assert type(lora_slots_of(kernel, apart, b, OUT)) is LoraSlots


class Manager:
    """vLLM's manager as far as it matters here: it writes an adapter's B into the next slot of each layer."""

    def __init__(self, layer: Any, adapters: dict[int, float]) -> None:
        self.modules = {"layer": layer, "without adapters": SimpleNamespace()}
        self.adapters = adapters
        self.lora_index_to_id: list[int | None] = [None, None]

    def activate_adapter(self, lora_id: int) -> bool:
        if lora_id in self.lora_index_to_id:
            return False
        slot = self.lora_index_to_id.index(None)
        self.lora_index_to_id[slot] = lora_id
        self.modules["layer"].lora_b_stacked[0][slot] = self.adapters[lora_id]
        return True


def test_every_written_slot_is_read_again_also_when_reloaded_in_place(make_slots: MakeLoraSlots) -> None:
    a, b = stacks()
    by_module = WeightsByModule(make_slots)
    layer = SimpleNamespace(
        lora_a_stacked=tuple(a), lora_b_stacked=tuple(b), output_slices=OUT,
        punica_wrapper=SimpleNamespace(weights=by_module),
    )  # fmt: skip
    report_activations(Manager)
    report_activations(Manager)  # vLLM builds several wrappers: the second must not wrap again
    manager = Manager(layer, {1: 0.0, 2: 1.0})
    weights = by_module.of(a, b, OUT)
    assert manager.activate_adapter(1) and manager.activate_adapter(2) and not manager.activate_adapter(2)
    assert weights.stale == {0, 1}
    assert by_module.of(a, b, OUT) is weights and weights.targeting == slot_set({1}) and not weights.stale
    manager.adapters[1] = 1.0
    manager.lora_index_to_id[0] = None
    manager.activate_adapter(1)
    assert by_module.of(a, b, OUT).targeting == slot_set({0, 1})


def test_a_linear_layer_is_known_once_an_adapter_was_written_into_it(make_slots: MakeLoraSlots) -> None:
    """A compiled graph names modules by an address alone."""
    (a, b), by_module = stacks(), WeightsByModule(make_slots)
    fill(a[0], b[0], slot=1, rank=3)
    assert by_module.known(b[0]) is None
    by_module.slot_written(SimpleNamespace(lora_a_stacked=a, lora_b_stacked=b, output_slices=OUT), 1)
    weights = by_module.known(b[0])
    assert weights is not None and weights.targeting == slot_set({1})
    assert by_module.of(a, b, OUT) is weights


def test_a_layer_whose_outputs_only_its_caller_knows_waits_for_it(make_slots: MakeLoraSlots) -> None:
    (a, b), by_module = stacks(), WeightsByModule(make_slots)
    by_module.slot_written(SimpleNamespace(lora_a_stacked=a[0], lora_b_stacked=b[0]), 0)
    assert by_module.known(b[0]) is None


def managed(make_slots: MakeLoraSlots) -> tuple[Any, WeightsByModule, list[torch.Tensor]]:
    """A manager of one layer whose slots are read as they are written."""

    class OwnManager(Manager):
        pass

    (a, b), by_module = stacks(), WeightsByModule(make_slots)
    fill(a[0], b[0], slot=0, rank=RANK)
    layer = SimpleNamespace(
        lora_a_stacked=tuple(a), lora_b_stacked=tuple(b), output_slices=OUT,
        punica_wrapper=SimpleNamespace(weights=by_module),
    )  # fmt: skip
    report_activations(OwnManager)
    return OwnManager(layer, {1: 1.0, 2: 2.0, 3: torch.nan}), by_module, b


def test_a_slot_that_nobody_said_was_written_is_found(make_slots: MakeLoraSlots) -> None:
    manager, by_module, b = managed(make_slots)
    assert manager.activate_adapter(1)
    by_module.known(b[0])
    b[0][0, 0, 1, 2] = 9.0  # as another writer of vLLM's would
    with pytest.raises(RuntimeError, match=r"slot 0 was written by something else .* expected the vLLM in"):
        manager.activate_adapter(2)


def test_what_was_said_and_what_is_not_finite_is_right(make_slots: MakeLoraSlots) -> None:
    manager, by_module, b = managed(make_slots)
    for lora_id in (1, 3, 2, 1, 2, 3, 1, 2, 3):
        slot = manager.lora_index_to_id.index(None) if None in manager.lora_index_to_id else 0
        manager.lora_index_to_id[slot] = None
        if manager.activate_adapter(lora_id):
            by_module.known(b[0])
            by_module.check_slots()
