"""A LoRA is served only if its configuration and its tensors agree and the engine can take it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from crma_adapters.errors import CrmaError, IncompatibleError, IntegrityError
from crma_adapters.lora.lora_files import check_lora
from crma_adapters.store.verify import verify_plain

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_lora_as_peft_saves_it(workshop: "Workshop") -> None:
    folder = workshop.adapter(rank=4)
    change_config(folder, auto_mapping=None, task_type="CAUSAL_LM", lora_dropout=0.0)
    config = check_lora(folder, max_rank=4)
    assert (config.r, config.lora_alpha, config.target_modules) == (4, 8, ("q_proj",))


def test_other_ranks_are_those_of_the_rank_pattern(workshop: "Workshop") -> None:
    folder = workshop.adapter(rank=4)
    tensors = workshop.lora_pair(rank=4) | {
        "base_model.model.embed.lora_embedding_A": np.ones((2, 9), np.float32),
        "base_model.model.embed.lora_embedding_B": np.ones((8, 2), np.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(IntegrityError, match=r"embed has rank 2, adapter_config.json says \[4\]"):
        check_lora(folder)
    change_config(folder, rank_pattern={"embed": 2})
    assert check_lora(folder).ranks == {2, 4}


def test_a_rank_over_the_engines_says_which_flag(workshop: "Workshop") -> None:
    with pytest.raises(
        IncompatibleError, match="has rank 8, the engine takes at most 4; serve with --max-lora-rank 8"
    ):
        check_lora(workshop.adapter(rank=8), max_rank=4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft_type": "IA3"}, "peft_type"),
        ({"r": 0}, "r: "),
        ({"r": "4"}, "r: "),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"target_modules": None}, "target_modules"),
        ({"rank_pattern": {"q": -1}}, "rank_pattern"),
    ],
)
def test_a_configuration_that_is_no_loras(workshop: "Workshop", changes: dict[str, Any], told: str) -> None:
    folder = workshop.adapter()
    change_config(folder, **changes)
    with pytest.raises(IntegrityError, match=f"adapter_config.json: {told}"):
        check_lora(folder)


def _float(*shape: int) -> Any:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        pytest.param({}, "holds no tensors", id="none"),
        pytest.param({"m.lora_A.weight": _float(4, 8)}, "m has lora_A alone", id="A alone"),
        pytest.param({"m.lora_B.weight": _float(8, 4)}, "m has lora_B alone", id="B alone"),
        pytest.param(
            {"m.lora_A.weight": _float(4, 8), "m.lora_B.weight": _float(8, 5)},
            "expected .rank, in.",
            id="ranks",
        ),
        pytest.param(
            {"m.lora_A.weight": _float(4), "m.lora_B.weight": _float(8, 4)}, "expected .rank, in.", id="1-d"
        ),
        pytest.param(
            {"m.lora_A.weight": _float(4, 0), "m.lora_B.weight": _float(8, 4)},
            "expected .rank, in.",
            id="empty",
        ),
        pytest.param(
            {"m.lora_A.weight": np.ones((4, 8), np.int32), "m.lora_B.weight": _float(8, 4)},
            "expected floating",
            id="int",
        ),
        pytest.param({"m.lora_magnitude_vector": _float(8)}, "is no LoRA tensor", id="DoRA"),
        pytest.param({"model.embed_tokens.weight": _float(8, 8)}, "is no LoRA tensor", id="base weights"),
    ],
)
def test_tensors_that_are_no_lora(workshop: "Workshop", tensors: dict[str, Any], told: str) -> None:
    folder = workshop.adapter()
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(IntegrityError, match=told):
        check_lora(folder)


def test_what_peft_itself_writes(tmp_path: Path) -> None:
    import peft
    import torch

    model = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(8, 8), "k_proj": torch.nn.Linear(8, 8)})
    config = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "k_proj"], rank_pattern={"k_proj": 2}
    )
    peft.get_peft_model(model, config).save_pretrained(tmp_path)
    verify_plain(tmp_path, max_rank=4)
    assert check_lora(tmp_path).ranks == {2, 4}


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(workshop: "Workshop", name: str) -> None:
    folder = workshop.adapter()
    (folder / name).unlink()
    with pytest.raises(CrmaError, match=f"{name}: is missing"):
        check_lora(folder)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("base_model.model.layers.0.q_proj.lora_A.default.weight", "the name it bears in memory"),
        ("base_model.model._orig_mod.layers.0.q_proj.lora_A.weight", "torch.compile's"),
        ("_orig_mod.base_model.model.layers.0.q_proj.lora_A.weight", "torch.compile's"),
        ("base_model.model.layers.0._fsdp_wrapped_module.q_proj.lora_A.weight", "FSDP's"),
        ("module.base_model.model.layers.0.q_proj.lora_A.weight", "DistributedDataParallel's"),
    ],
)
def test_names_of_a_wrapped_model_are_refused_for_what_they_are(
    workshop: "Workshop", name: str, why: str
) -> None:
    folder = workshop.adapter(rank=4)
    other = name.replace("lora_A", "lora_B")
    tensors = {name: np.ones((4, 8), np.float32), other: np.ones((8, 4), np.float32)}
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(IncompatibleError, match=why):
        verify_plain(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"bias": "all"}, "bias 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights 'olora'"),
        ({"use_dora": True}, "use_dora"),
    ],
)
def test_verify_finds_what_composing_would_refuse(
    workshop: "Workshop", changes: dict[str, Any], named: str
) -> None:
    folder = workshop.adapter(rank=4)
    change_config(folder, **changes)
    with pytest.raises(IncompatibleError, match=named):
        verify_plain(folder)
