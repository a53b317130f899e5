"""A decoder's CRMA: its start from the base model, its parameter groups, its log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from crma_adapters.crma.attach import attach
from crma_adapters.crma.config import MODES, CrmaConfig, Mode
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.decoder import decoder_layers, down_projection
from crma_adapters.crma.singular import left_singular_vectors
from crma_adapters.errors import BaseModelError, ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, resolve_base_model

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text")


def tiny(family: str = "llama", *, layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        vocab_size=32,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
    )
    model: nn.Module = AutoModelForCausalLM.from_config(config)
    return model


@contextmanager
def block_outputs(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects every block's output (after any hook attached before)."""
    outputs: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _module, _args, output: outputs.append(output.detach()))
        for layer in decoder_layers(model)
    ]
    yield outputs
    for hook in hooks:
        hook.remove()


def norm_ratios(model: nn.Module, crma: Crma, token_ids: Tensor) -> Tensor:
    """||h'|| / ||h|| (blocks, tokens) of the hidden states after each block, with CRMA over without."""
    with torch.no_grad():
        with block_outputs(model) as without:
            model(token_ids)
        with attach(model, crma), block_outputs(model) as mixed:
            model(token_ids)
    return torch.stack([b.norm(dim=-1)[0] / a.norm(dim=-1)[0] for a, b in zip(without, mixed, strict=True)])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_starts_within_five_percent_of_the_base_norm(family: str, mode: Mode) -> None:
    model = tiny(family).eval()
    ratios = norm_ratios(model, Crma.from_model(model, mode=mode), torch.arange(1, 31)[None])
    assert ratios.shape == (3, 30)
    assert (ratios - 1).abs().max() < 0.05


def test_starts_within_five_percent_on_real_weights() -> None:
    """Mean over tokens, after every block. The first token, an attention sink whose norm is many times the
    others' along the very directions that are mixed, gains more in mode `residual`: see docs/crma.md."""
    path = resolve_base_model(DEFAULT_BASE_MODEL).path
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    text = "What are the symptoms of iron deficiency anemia? Fatigue, weakness, pale skin and cold hands."
    chat = AutoTokenizer.from_pretrained(path).apply_chat_template(
        [{"role": "user", "content": text}], return_tensors="pt", return_dict=True
    )
    residual = Crma.from_model(model)
    directions = [residual.block(index).write.detach() for index in range(30)]
    bounded = Crma(replace(residual.config, mode="nonexpansive"), directions)
    for crma, most in ((residual, 1.35), (bounded, 1.02)):
        ratios = norm_ratios(model, crma, chat["input_ids"])
        assert ratios.shape[0] == 30
        assert (ratios.mean(dim=1) - 1).abs().max() < 0.05
        assert ratios.max() < most


def test_starts_from_the_down_projections_and_leaves_the_base_alone() -> None:
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    crma = Crma.from_model(model)
    with attach(model, crma):
        model(torch.arange(8)[None]).logits.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert list(model.state_dict()) == list(before)
    for index, layer in enumerate(decoder_layers(model)):
        expected = left_singular_vectors(down_projection(layer), 4)
        assert torch.equal(crma.block(index).write, expected)
        assert torch.equal(crma.block(index).read.mT, expected)  # type: ignore[union-attr]


def test_reads_the_models_sizes() -> None:
    crma = Crma.from_model(tiny(layers=2), mode="free", streams=2, initial_alpha=0.002)
    assert crma.config == CrmaConfig(16, 2, streams=2, mode="free", initial_alpha=0.002)
    assert float(crma.block(0).alpha().detach()) == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("mode", "projections", "logits"),
    [("residual", 6, 3), ("nonexpansive", 3, 3), ("identity", 6, 0), ("free", 6, 3)],
)
def test_parameter_groups_hold_each_trainable_parameter_once(
    mode: Mode, projections: int, logits: int
) -> None:
    crma = Crma.from_model(tiny(), mode=mode)
    groups = crma.parameter_groups()
    assert {kind: len(group) for kind, group in groups.items()} == {
        "projections": projections,
        "logits": logits,
        "alpha": 3,
    }
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(grouped) == sorted(id(p) for p in crma.parameters() if p.requires_grad)


def test_all_blocks_solved_together_are_the_blocks_own() -> None:
    crma = Crma.from_model(tiny())
    with torch.no_grad():
        for index in range(3):
            crma.block(index).logits.normal_(std=3.0)
    solutions = crma.solve()
    assert solutions is not None
    for index in range(3):
        block = crma.block(index)
        torch.testing.assert_close(
            block.mixing_matrix(solutions[index]), block.mixing_matrix(), atol=1e-7, rtol=0
        )


@pytest.mark.parametrize("mode", MODES)
def test_all_blocks_maps_made_together_are_the_blocks_own(mode: Mode) -> None:
    """Values and gradients; the blocks start apart from each other, so that none can take another's place."""
    torch.manual_seed(0)
    crma = Crma.from_model(tiny(), mode=mode)
    with torch.no_grad():
        for parameter in crma.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    seen = torch.randn(5, 16)
    gradients = []
    for maps in (crma.maps(), tuple(crma.block(index).maps() for index in range(3))):
        crma.zero_grad()
        outputs = [seen @ down.mT @ up.mT for down, up in maps]
        torch.stack(outputs).pow(3).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([*outputs, *(p.grad for p in crma.parameters() if p.grad is not None)])
    together, alone = gradients
    assert len(together) == len(alone) == 3 + sum(p.requires_grad for p in crma.parameters())
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_solves_again_when_a_logit_changed_in_whatever_way() -> None:
    """Writing to `.data` goes past autograd's count of changes, so that cannot be what tells."""
    crma = Crma.from_model(tiny())
    first = crma.solve()
    assert first is not None
    assert crma.solve() is first
    crma.block(1).logits.data[0, 0] -= 3.0
    second = crma.solve()
    assert second is not None
    torch.testing.assert_close(second[[0, 2]], first[[0, 2]], atol=1e-8, rtol=0)
    assert (second[1] - first[1]).abs().max() > 1e-2
    fresh = Crma(crma.config, [torch.zeros(16, 4)] * 3)
    fresh.load_state_dict(crma.state_dict())
    solved = fresh.solve()
    assert solved is not None
    assert torch.equal(second, solved)


def test_spectral_log_measures_what_is_used() -> None:
    constrained = Crma.from_model(tiny()).spectral()
    assert constrained.max_norm_error < 1e-6
    assert constrained.max_row_error < 1e-6
    assert constrained.max_column_error < 1e-6
    assert constrained.alphas == pytest.approx([0.01] * 3)
    free = Crma.from_model(tiny(), mode="free")
    with torch.no_grad():
        free.block(2).logits.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, 3.0])))
    log = free.spectral()
    assert log.max_norm_error == pytest.approx(2.0)
    assert log.max_row_error == pytest.approx(2.0)
    assert log.max_column_error == pytest.approx(2.0)


def test_refuses_what_it_cannot_start_from() -> None:
    with pytest.raises(BaseModelError, match="Linear has 0 decoders"):
        Crma.from_model(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="17 streams for a hidden size of 16"):
        Crma.from_model(tiny(), streams=17)
