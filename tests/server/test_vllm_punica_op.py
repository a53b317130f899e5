"""The kernel under `torch.compile`: traced whole, and one graph right for steps it was not traced in."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from vllm.lora.layers import LoRAMapping

from crma_server.vllm_punica import GroupedPunicaWrapper
from crma_server.vllm_punica_op import add_lora_linear, number_of
from crma_server.vllm_punica_slots import NO_SLOT

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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(torch.tanh(x))
        self.punica_wrapper.add_lora_linear(y, x, self.a, self.b, 1.0, OUT)
        return torch.relu(y)


def set_slots(wrapper: GroupedPunicaWrapper, slots: list[int]) -> None:
    ids = tuple(0 if slot == NO_SLOT else slot + 100 for slot in slots)
    mapping = LoRAMapping(ids, ids, is_prefill=True)
    wrapper.update_metadata(mapping, [slot + 100 for slot in range(SLOTS)], SLOTS + 1, vocab_size=50)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
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


def test_the_operator_says_what_it_changes() -> None:
    layer = Layer(GroupedPunicaWrapper(64, 64, torch.device("cpu")))
    set_slots(layer.punica_wrapper, STEPS[0])
    y, x = torch.zeros(4, sum(OUT)), torch.randn(4, IN)
    given = (y, x, list(layer.a), list(layer.b), 1.0, list(OUT), layer.punica_wrapper.number)
    torch.library.opcheck(add_lora_linear, given, test_utils=("test_schema", "test_faketensor"))


def test_wrappers_have_numbers_of_their_own() -> None:
    wrappers = [GroupedPunicaWrapper(8, 8, torch.device("cpu")) for _ in range(2)]
    assert len({wrappers[0].number, wrappers[1].number, number_of(wrappers[0])}) == 3
