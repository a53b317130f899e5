"""The kernel under `torch.compile`: traced whole, and one graph right for steps it was not traced in."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from vllm.lora.layers import LoRAMapping

from crma_server.engine.vllm.cpu.compile import number_of
from crma_server.engine.vllm.cpu.products import NO_SLOT
from crma_server.engine.vllm.cpu.punica import GroupedPunicaWrapper

SLOTS, RANK, IN, OUT = 3, 4, 8, (6, 4)
STEPS = ([0, 1, NO_SLOT, 2], [NO_SLOT] * 4, [2, 2, 2, 2], [1, 0, 1, 0])


class Layer(nn.Module):
    """A linear layer that calls the kernel as vLLM's LoRA layers do."""

    def __init__(self, wrapper: GroupedPunicaWrapper) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(IN, sum(OUT))
        self.punica_wrapper = wrapper
        self.a = tuple(torch.randn(SLOTS, 1, RANK, IN) for _ in OUT)
        self.b = tuple(torch.randn(SLOTS, 1, out, RANK) for out in OUT)
        self.looked_up = torch.randn(4, RANK)
        wrapper.weights.of(self.a, self.b, OUT)  # as when an adapter is activated

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(torch.tanh(x))
        self.punica_wrapper.add_lora_linear(y, x, self.a, self.b, 1.0, OUT)
        embedded = torch.cos(x[:, : OUT[0]])
        self.punica_wrapper.add_lora_embedding(embedded, self.looked_up, self.b[0], add_input=True)
        return torch.cat([torch.relu(y), embedded], dim=1)


def set_slots(wrapper: GroupedPunicaWrapper, slots: list[int]) -> None:
    ids = tuple(0 if slot == NO_SLOT else slot + 100 for slot in slots)
    mapping = LoRAMapping(ids, ids, is_prefill=True)
    wrapper.update_metadata(mapping, [slot + 100 for slot in range(SLOTS)], SLOTS + 1, vocab_size=50)


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_one_graph_serves_every_step(backend: str) -> None:
    layer = Layer(GroupedPunicaWrapper(64, 64, torch.device("cpu")))
    torch._dynamo.reset()
    compiled: Callable[[torch.Tensor], torch.Tensor] = torch.compile(layer, fullgraph=True, backend=backend)
    x = torch.randn(4, IN)
    results: list[torch.Tensor] = []
    with torch.inference_mode():
        # Traced in a step without adapters, as vLLM traces in its profile run.
        for slots in ([NO_SLOT] * 4, *STEPS):
            set_slots(layer.punica_wrapper, slots)
            with torch._dynamo.config.patch(error_on_recompile=bool(results)):
                results.append(compiled(x))
            assert torch.allclose(results[-1], layer(x), atol=1e-6)
    assert not torch.allclose(results[0], results[1])


@pytest.mark.parametrize("name", ["add_lora_linear", "add_lora_embedding"])
def test_the_operators_say_what_they_change(name: str) -> None:
    layer = Layer(GroupedPunicaWrapper(64, 64, torch.device("cpu")))
    set_slots(layer.punica_wrapper, STEPS[0])
    linear = name == "add_lora_linear"
    y, x = (
        (torch.zeros(4, sum(OUT)), torch.randn(4, IN))
        if linear
        else (torch.zeros(4, OUT[0]), layer.looked_up)
    )
    given = (y, x, layer.b[0], layer.punica_wrapper.number)
    operator = getattr(torch.ops.crma, name).default
    torch.library.opcheck(operator, given, test_utils=("test_schema", "test_faketensor"))
    operator(*given)
    assert y.any()


def test_a_module_without_adapters_adds_nothing() -> None:
    wrapper = GroupedPunicaWrapper(64, 64, torch.device("cpu"))
    set_slots(wrapper, STEPS[0])
    y = torch.zeros(4, 6)
    torch.ops.crma.add_lora_linear(y, torch.randn(4, IN), torch.zeros(SLOTS, 1, 6, RANK), wrapper.number)
    assert not y.any()


def test_wrappers_have_numbers_of_their_own() -> None:
    wrappers = [GroupedPunicaWrapper(8, 8, torch.device("cpu")) for _ in range(2)]
    assert len({wrappers[0].number, wrappers[1].number, number_of(wrappers[0])}) == 3
