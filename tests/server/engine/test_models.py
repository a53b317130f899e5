import torch
from torch import nn
from vllm.model_executor.models.utils import PPMissingLayer

from crma_server.engine.vllm.models import ResidualMixer, add_residual_mixers

WIDTH = 6


class Layer(nn.Module):
    """A decoder layer as vLLM's families have them: the last add is left to the next norm."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Linear(WIDTH, WIDTH)

    def forward(
        self, positions: torch.Tensor, hidden_states: torch.Tensor, residual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        del positions
        residual = hidden_states if residual is None else residual + hidden_states
        return self.mlp(residual), residual


def mixed_layers() -> nn.ModuleList:
    torch.manual_seed(0)
    layers = nn.ModuleList([PPMissingLayer(), Layer(), Layer()])
    add_residual_mixers(layers, WIDTH, prefix="")
    return layers


def test_mixer_alone_is_the_zero_map_and_needs_no_weights() -> None:
    mixer = ResidualMixer(WIDTH, "model.layers.0.residual_mixer")
    assert not list(mixer.parameters()) and not mixer.state_dict()
    assert torch.equal(mixer(torch.ones(3, WIDTH)), torch.zeros(3, WIDTH))


def test_only_layers_on_this_pipeline_rank_get_one_and_weight_names_stay() -> None:
    layers = mixed_layers()
    assert isinstance(layers[0], PPMissingLayer)
    assert {name for name, _ in layers.named_parameters()} == {
        f"{index}.mlp.{kind}" for index in (1, 2) for kind in ("weight", "bias")
    }
    assert [name for name, module in layers.named_modules() if isinstance(module, ResidualMixer)] == [
        "1.residual_mixer",
        "2.residual_mixer",
    ]
    mixers = [module for module in layers.modules() if isinstance(module, ResidualMixer)]
    assert [mixer.prefix for mixer in mixers] == [f"model.layers.{index}.residual_mixer" for index in (1, 2)]


def run(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    hidden_states: torch.Tensor = x
    residual: torch.Tensor | None = None
    for layer in list(layers)[1:]:
        hidden_states, residual = layer(torch.arange(len(x)), hidden_states, residual)
    assert residual is not None
    return hidden_states + residual


def test_what_replaces_the_mixer_acts_on_every_blocks_output() -> None:
    layers, x = mixed_layers(), torch.randn(3, WIDTH)
    expected = x
    for layer in list(layers)[1:]:
        layer.residual_mixer = nn.Linear(WIDTH, WIDTH, bias=False)
        expected = expected + layer.get_submodule("mlp")(expected)
        expected = expected + layer.get_submodule("residual_mixer")(expected)
    assert torch.allclose(run(layers, x), expected, atol=1e-6)


def test_mixed_layers_are_traced_whole_by_dynamo() -> None:
    layers, x = mixed_layers(), torch.randn(3, WIDTH)
    torch._dynamo.reset()
    compiled = torch.compile(run, fullgraph=True, backend="eager")
    assert torch.equal(compiled(layers, x), run(layers, x))
