"""A bundle holds the LoRA as it was and the folded CRMA with scaling 1, by PEFT's and vLLM's own rules."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from crma_adapters.crma.attach import attach
from crma_adapters.crma.backbone import save_backbone, save_mixer
from crma_adapters.crma.config import MODES, CrmaConfig, Mode
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.decoder import decoder_layers
from crma_adapters.crma.fold import fold
from crma_adapters.errors import ConfigError, IncompatibleError, IntegrityError, StoreError
from crma_adapters.lora.bundle import compose_bundle
from crma_adapters.lora.lora_files import check_lora

MIXER_A = "base_model.model.model.layers.{}.residual_mixer.lora_A.weight"
MIXER_B = "base_model.model.model.layers.{}.residual_mixer.lora_B.weight"

# Not overlapping: PEFT saves its configuration with sorted keys, so their order is lost on the way.
PATTERNS: dict[str, Any] = {
    "rank_pattern": {"layers.0.self_attn.q_proj": 3, "v_proj": 5},
    "alpha_pattern": {".*": 7},
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"lora_alpha": 32},
    {"use_rslora": True},
    {"r": 2, "use_rslora": True, "lora_alpha": 3},
    PATTERNS,
    PATTERNS | {"use_rslora": True},
    {"rank_pattern": {".*": 5}},
]


def tiny(*, layers: int = 2, hidden: int = 16) -> nn.Module:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=hidden,
        intermediate_size=24,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    model: nn.Module = LlamaForCausalLM(config).eval()
    return model


def peft_folder(
    folder: Path, *, model: nn.Module | None = None, dtype: torch.dtype = torch.float32, **options: Any
) -> Path:
    """A random LoRA as PEFT itself saves it."""
    settings: dict[str, Any] = {"r": 8, "lora_alpha": 16, "target_modules": ["v_proj", "q_proj"]}
    config = LoraConfig(**(settings | options), task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(model or tiny(), config).to(dtype).save_pretrained(folder)
    return folder


def backbone_folder(
    folder: Path, *, rank: int = 4, seed: int = 0, mode: Mode = "residual"
) -> tuple[Crma, Path]:
    crma = Crma.from_model(tiny(), rank=rank, mode=mode)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in crma.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    save_backbone(crma, folder, base_model="tiny", base_fingerprint="ab" * 32)
    return crma, folder


def read(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return config, load_file(folder / "adapter_model.safetensors")


def scaling(config: dict[str, Any], module: str) -> float:
    """PEFT's rule (peft/utils/other.py get_pattern_key, peft/tuners/lora/layer.py update_layer)."""

    def first(pattern: dict[str, float], default: float) -> float:
        return next((v for key, v in pattern.items() if re.match(rf"(.*\.)?({key})$", module)), default)

    rank, alpha = (
        first(config["rank_pattern"], config["r"]),
        first(config["alpha_pattern"], config["lora_alpha"]),
    )
    return alpha / rank**0.5 if config["use_rslora"] else alpha / rank


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_both_parts_keep_their_meaning(tmp_path: Path, options: dict[str, Any], rank: int) -> None:
    crma, backbone = backbone_folder(tmp_path / "backbone", rank=rank)
    lora = peft_folder(tmp_path / "lora", **options)
    compose_bundle(lora=lora, backbone=backbone, out=tmp_path / "bundle")
    (before, alone), (config, tensors) = read(lora), read(tmp_path / "bundle")
    assert len(tensors) == len(alone) + 4
    for name, tensor in alone.items():
        assert torch.equal(tensors[name], tensor)
        module = name.removeprefix("base_model.model.").rpartition(".lora_")[0]
        assert scaling(config, module) == scaling(before, module)
    for index in range(2):
        folded = fold(crma.block(index))
        assert torch.equal(tensors[MIXER_A.format(index)], folded.a)
        assert torch.equal(tensors[MIXER_B.format(index)], folded.b)
        assert scaling(config, f"model.layers.{index}.residual_mixer") == 1.0
    assert config["target_modules"] == ["q_proj", "v_proj", "residual_mixer"]
    check_lora(tmp_path / "bundle")


@pytest.mark.parametrize("mode", MODES)
def test_the_mixer_tensors_are_the_attached_crma(tmp_path: Path, mode: Mode) -> None:
    """The bundle's formula, h + h A^T B^T after every block, against the model with its CRMA attached."""
    crma, backbone = backbone_folder(tmp_path / "backbone", mode=mode)
    compose_bundle(lora=None, backbone=backbone, out=tmp_path / "bundle")
    _, tensors = read(tmp_path / "bundle")
    model, token_ids = tiny(), torch.arange(12)[None]
    with torch.no_grad():
        with attach(model, crma):
            expected = model(token_ids).logits
        for index, layer in enumerate(decoder_layers(model)):
            a, b = tensors[MIXER_A.format(index)], tensors[MIXER_B.format(index)]
            layer.register_forward_hook(lambda _module, _args, h, a=a, b=b: h + h @ a.T @ b.T)
        torch.testing.assert_close(model(token_ids).logits, expected, atol=1e-5, rtol=1e-5)


def mixer_folder(
    folder: Path, *, rank: int = 3, seed: int = 1, mode: Mode = "residual", model: nn.Module | None = None
) -> tuple[Crma, Path]:
    crma = Crma.from_model(model or tiny(), rank=rank, mode=mode)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in crma.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    save_mixer(crma, folder, base_model="tiny", base_fingerprint="ab" * 32)
    return crma, folder


def form_1_backbone(folder: Path) -> tuple[Crma, Path]:
    """A CRMA as the first releases have it, with its gate."""
    crma = Crma(
        CrmaConfig(16, 2, rank=4, form=1, initial_alpha=0.5), [torch.linalg.qr(torch.randn(16, 4)).Q] * 2
    )
    save_backbone(crma, folder, base_model="tiny", base_fingerprint="ab" * 32)
    return crma, folder


@pytest.mark.parametrize("make_backbone", [backbone_folder, form_1_backbone])
@pytest.mark.parametrize("options", [None, {}, {"use_rslora": True}])
def test_a_mixer_beside_its_backbone_is_both_attached(
    tmp_path: Path,
    make_backbone: Callable[[Path], tuple[Crma, Path]],
    options: dict[str, Any] | None,
) -> None:
    """LoRA, mixer and backbone of either form: the bundle's formula against the model with both attached."""
    torch.manual_seed(0)
    (backbone, its_folder), (mixer, folder) = (
        make_backbone(tmp_path / "b"),
        mixer_folder(tmp_path / "adapter"),
    )
    lora = None if options is None else peft_folder(folder, **options)
    compose_bundle(lora=lora, mixer=folder, backbone=its_folder, out=tmp_path / "bundle")
    config, tensors = read(tmp_path / "bundle")
    assert scaling(config, "model.layers.0.residual_mixer") == pytest.approx(1.0, rel=1e-12)
    assert tensors[MIXER_A.format(0)].shape == (7, 16) and tensors[MIXER_B.format(1)].shape == (16, 7)
    check_lora(tmp_path / "bundle", max_rank=8)
    model, token_ids = tiny(), torch.arange(12)[None]
    with torch.no_grad():
        with attach(model, backbone, mixer):
            expected = model(token_ids).logits
        assert not torch.allclose(model(token_ids).logits, expected, atol=1e-3)
        for index, layer in enumerate(decoder_layers(model)):
            a, b = tensors[MIXER_A.format(index)], tensors[MIXER_B.format(index)]
            layer.register_forward_hook(lambda _module, _args, h, a=a, b=b: h + h @ a.T @ b.T)
        torch.testing.assert_close(model(token_ids).logits, expected, atol=1e-5, rtol=1e-5)


def test_mixer_alone(tmp_path: Path) -> None:
    crma, folder = mixer_folder(tmp_path / "adapter")
    compose_bundle(mixer=folder, out=tmp_path / "bundle")
    config, tensors = read(tmp_path / "bundle")
    assert (config["r"], config["target_modules"]) == (3, ["residual_mixer"])
    assert config["base_model_name_or_path"] == "tiny"
    assert scaling(config, "model.layers.1.residual_mixer") == 1.0
    folded = fold(crma.block(1))
    assert torch.equal(tensors[MIXER_A.format(1)], folded.a) and torch.equal(
        tensors[MIXER_B.format(1)], folded.b
    )


@pytest.mark.parametrize("sizes", [{"layers": 3}, {"hidden": 32}])
def test_refuses_a_mixer_of_another_width_or_depth(tmp_path: Path, sizes: dict[str, int]) -> None:
    _, backbone = backbone_folder(tmp_path / "backbone")
    _, folder = mixer_folder(tmp_path / "adapter", model=tiny(**sizes))
    with pytest.raises(
        IncompatibleError, match=r"adapter: a mixer of .* is a backbone of 2 blocks of size 16"
    ):
        compose_bundle(mixer=folder, backbone=backbone, out=tmp_path / "bundle")
    with pytest.raises(IncompatibleError, match="use a LoRA and a CRMA of the same base model"):
        compose_bundle(
            lora=peft_folder(tmp_path / "lora", model=tiny(layers=4, hidden=16)),
            mixer=folder,
            out=tmp_path / "bundle",
        )
    assert not (tmp_path / "bundle").exists()


def test_backbone_alone(tmp_path: Path) -> None:
    _, backbone = backbone_folder(tmp_path / "backbone", rank=3)
    compose_bundle(lora=None, backbone=backbone, out=tmp_path / "bundle")
    config, tensors = read(tmp_path / "bundle")
    assert (config["r"], config["target_modules"]) == (3, ["residual_mixer"])
    assert config["base_model_name_or_path"] == "tiny"
    assert scaling(config, "model.layers.1.residual_mixer") == 1.0
    assert sorted(tensors) == sorted(name.format(i) for name in (MIXER_A, MIXER_B) for i in range(2))
    check_lora(tmp_path / "bundle")


def test_lora_alone(tmp_path: Path) -> None:
    lora = peft_folder(tmp_path / "lora", dtype=torch.bfloat16, **PATTERNS)
    compose_bundle(lora=lora, backbone=None, out=tmp_path / "bundle")
    (before, alone), (config, tensors) = read(lora), read(tmp_path / "bundle")
    assert tensors.keys() == alone.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in alone.items())
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert config["rank_pattern"] == before["rank_pattern"]
    assert config["target_modules"] == ["q_proj", "v_proj"]


def test_dtypes_are_kept(tmp_path: Path) -> None:
    _, backbone = backbone_folder(tmp_path / "backbone")
    lora = peft_folder(tmp_path / "lora", dtype=torch.float16)
    compose_bundle(lora=lora, backbone=backbone, out=tmp_path / "bundle")
    for name, tensor in read(tmp_path / "bundle")[1].items():
        assert tensor.dtype == (torch.float32 if "residual_mixer" in name else torch.float16)


def test_same_input_same_bytes(tmp_path: Path) -> None:
    """Also when PEFT's set of target modules comes out in another order."""
    _, backbone = backbone_folder(tmp_path / "backbone")
    lora = peft_folder(tmp_path / "lora")
    contents = []
    for order in (["q_proj", "v_proj"], ["v_proj", "q_proj"]):
        path = lora / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": order}))
        out = tmp_path / "-".join(order)
        compose_bundle(lora=lora, backbone=backbone, out=out)
        contents.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == ["adapter_config.json", "adapter_model.safetensors"]


def test_keeps_the_layer_names_of_a_multimodal_lora(tmp_path: Path) -> None:
    _, backbone = backbone_folder(tmp_path / "backbone")
    lora = peft_folder(tmp_path / "lora")
    path = lora / "adapter_model.safetensors"
    renamed = {
        name.replace(".model.layers", ".model.language_model.layers"): t
        for name, t in load_file(path).items()
    }
    save_file(renamed, path)
    compose_bundle(lora=lora, backbone=backbone, out=tmp_path / "bundle")
    mixer = {name for name in read(tmp_path / "bundle")[1] if "residual_mixer" in name}
    assert "base_model.model.model.language_model.layers.1.residual_mixer.lora_A.weight" in mixer
    assert len(mixer) == 4
    vision = {name.replace("language_model", "vision_tower"): t.clone() for name, t in renamed.items()}
    save_file(renamed | vision, path)
    with pytest.raises(IncompatibleError, match="expected one decoder"):
        compose_bundle(lora=lora, backbone=backbone, out=tmp_path / "other")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"layers": 3}, "adapts block 2, the CRMA has 2"), ({"hidden": 32}, "reads 32 features")],
)
def test_refuses_a_lora_of_another_model(tmp_path: Path, sizes: dict[str, int], message: str) -> None:
    _, backbone = backbone_folder(tmp_path / "backbone")
    lora = peft_folder(tmp_path / "lora", model=tiny(**sizes))
    with pytest.raises(IncompatibleError, match=message):
        compose_bundle(lora=lora, backbone=backbone, out=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_refuses_to_compose_nothing_or_twice(tmp_path: Path) -> None:
    _, backbone = backbone_folder(tmp_path / "backbone")
    with pytest.raises(ConfigError, match="none was given"):
        compose_bundle(lora=None, backbone=None, out=tmp_path / "bundle")
    compose_bundle(lora=None, backbone=backbone, out=tmp_path / "bundle")
    with pytest.raises(IncompatibleError, match="is a bundle already"):
        compose_bundle(lora=tmp_path / "bundle", backbone=backbone, out=tmp_path / "twice")


def test_a_damaged_part_leaves_the_old_bundle(tmp_path: Path) -> None:
    _, backbone = backbone_folder(tmp_path / "backbone")
    lora = peft_folder(tmp_path / "lora")
    compose_bundle(lora=lora, backbone=backbone, out=tmp_path / "bundle")
    before = {file.name: file.read_bytes() for file in (tmp_path / "bundle").iterdir()}
    weights = lora / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(IntegrityError, match=r"adapter_model\.safetensors"):
        compose_bundle(lora=lora, backbone=backbone, out=tmp_path / "bundle")
    assert {file.name: file.read_bytes() for file in (tmp_path / "bundle").iterdir()} == before
    with pytest.raises(StoreError, match="not ours to replace"):
        compose_bundle(lora=None, backbone=backbone, out=tmp_path)


@pytest.mark.engine
@pytest.mark.parametrize("options", OPTIONS)
def test_vllm_reads_the_same_ranks_and_scalings(tmp_path: Path, options: dict[str, Any]) -> None:
    """vLLM's own reader: the mixer's scaling is exactly 1, every other module's is PEFT's."""
    from vllm.lora.peft_helper import PEFTHelper

    _, backbone = backbone_folder(tmp_path / "backbone", rank=3)
    compose_bundle(lora=peft_folder(tmp_path / "lora", **options), backbone=backbone, out=tmp_path / "bundle")
    config, tensors = read(tmp_path / "bundle")
    helper = PEFTHelper.from_local_dir(str(tmp_path / "bundle"), None)
    assert helper.get_rank_and_scaling("model.layers.0.residual_mixer") == (3, 1.0)
    for name, tensor in tensors.items():
        if name.endswith("lora_A.weight"):
            module = name.removeprefix("base_model.model.").rpartition(".lora_")[0]
            assert helper.get_rank_and_scaling(module) == (tensor.shape[0], scaling(config, module))
