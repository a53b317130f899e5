"""A decoder's CRMA: its start from the base model, its parameter groups, its log."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from crma_adapters.crma.attach import attach
from crma_adapters.crma.config import MODES, CrmaConfig, Mode
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.decoder import decoder_layers
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
def test_starts_at_the_base_norm(family: str, mode: Mode) -> None:
    model = tiny(family).eval()
    ratios = norm_ratios(model, Crma.from_model(model, mode=mode, rank=4), torch.arange(1, 31)[None])
    assert ratios.shape == (3, 30)
    # `nonexpansive` contracts a quarter of these 16 directions by up to 7 %, in three blocks.
    assert (ratios - 1).abs().max() < (0.1 if mode == "nonexpansive" else 1e-6)


@pytest.mark.parametrize("mode", ("residual", "identity", "free"))
def test_starts_as_the_base_model_on_real_weights(mode: Mode) -> None:
    path = resolve_base_model(DEFAULT_BASE_MODEL).path
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    tokens = torch.arange(100, 110)[None]
    with torch.no_grad():
        base = model(tokens).logits
        with attach(model, Crma.from_model(model, mode=mode, rank=8)):
            assert torch.equal(model(tokens).logits, base)


def test_starts_from_its_seed_and_leaves_the_base_alone() -> None:
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    crma = Crma.from_model(model, rank=4, seed=1)
    with attach(model, crma):
        assert set(model.state_dict()) > set(before)  # registered: what optimizers and checkpoints see
        model(torch.arange(8)[None]).logits.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert list(model.state_dict()) == list(before)
    again, other = Crma.from_model(model, rank=4, seed=1), Crma.from_model(model, rank=4, seed=2)
    reads = [c.block(index).read for c in (crma, again, other) for index in range(3)]
    for index in range(3):
        read = reads[index]
        assert read is not None
        torch.testing.assert_close(read @ read.mT, torch.eye(4), atol=1e-6, rtol=0)
        assert torch.equal(read, reads[3 + index])  # type: ignore[arg-type]
        assert not torch.equal(read, reads[6 + index])  # type: ignore[arg-type]
        assert not torch.equal(read, reads[(index + 1) % 3])  # type: ignore[arg-type]


def test_reads_the_models_sizes() -> None:
    crma = Crma.from_model(tiny(layers=2), mode="free", rank=2)
    assert crma.config == CrmaConfig(16, 2, rank=2, mode="free")


@pytest.mark.parametrize(
    ("mode", "projections", "logits"),
    [("residual", 6, 3), ("nonexpansive", 3, 3), ("identity", 6, 0), ("free", 6, 3)],
)
def test_parameter_groups_hold_each_trainable_parameter_once(
    mode: Mode, projections: int, logits: int
) -> None:
    crma = Crma.from_model(tiny(), mode=mode, rank=4)
    groups = crma.parameter_groups()
    assert {kind: len(group) for kind, group in groups.items()} == {
        "projections": projections,
        "logits": logits,
        "alpha": 0,
    }
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(grouped) == sorted(id(p) for p in crma.parameters() if p.requires_grad)


def test_all_blocks_solved_together_are_the_blocks_own() -> None:
    crma = Crma.from_model(tiny(), rank=4)
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
    crma = Crma.from_model(tiny(), mode=mode, rank=4)
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
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_solves_again_when_a_logit_changed_in_whatever_way() -> None:
    """Writing to `.data` goes past autograd's count of changes, so that cannot be what tells."""
    crma = Crma.from_model(tiny(), rank=4)
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
    constrained = Crma.from_model(tiny(), rank=4).spectral()
    assert constrained.max_norm_error < 1e-6
    assert constrained.max_row_error < 1e-6
    assert constrained.max_column_error < 1e-6
    assert constrained.alphas == pytest.approx([1.0] * 3)
    free = Crma.from_model(tiny(), mode="free", rank=4)
    with torch.no_grad():
        free.block(2).logits.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, 3.0])))
    log = free.spectral()
    assert log.max_norm_error == pytest.approx(2.0)
    assert log.max_row_error == pytest.approx(2.0)
    assert log.max_column_error == pytest.approx(2.0)


def test_refuses_what_it_cannot_start_from() -> None:
    with pytest.raises(BaseModelError, match="Linear has 0 decoders"):
        Crma.from_model(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="rank 17 for a hidden size of 16"):
        Crma.from_model(tiny(), rank=17)
