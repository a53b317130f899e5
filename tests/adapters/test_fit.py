"""A plain LoRA against the modules of a base model."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from crma_adapters.errors import IncompatibleError
from crma_adapters.lora.fit import read_modules, unknown_modules

LAYER = "model.layers.0.self_attn"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A model with one linear layer of (out, in) (6, 8) and a packed one."""
    folder = tmp_path / "base"
    folder.mkdir()
    weights = {
        f"{LAYER}.q_proj.weight": np.ones((6, 8), np.float32),
        f"{LAYER}.o_proj.qweight": np.ones((3, 2), np.int32),
    }
    save_file(weights, folder / "model.safetensors")
    return folder


def lora(folder: Path, **modules: tuple[int, int]) -> Path:
    """A LoRA of rank 2 on modules of the given (out, in)."""
    folder.mkdir()
    tensors = {}
    for module, (rows, columns) in modules.items():
        stem = f"base_model.model.{LAYER}.{module}"
        tensors[f"{stem}.lora_A.weight"] = np.ones((2, columns), np.float32)
        tensors[f"{stem}.lora_B.weight"] = np.ones((rows, 2), np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def test_one_that_fits(base: Path, tmp_path: Path) -> None:
    assert unknown_modules(lora(tmp_path / "fits", q_proj=(6, 8), o_proj=(9, 9)), read_modules(base)) == []


def test_half_of_the_names_match(base: Path, tmp_path: Path) -> None:
    folder = lora(tmp_path / "half", q_proj=(6, 8), query=(6, 8))
    assert unknown_modules(folder, read_modules(base)) == ["layers.0.self_attn.query"]


def test_none_of_the_names_match(base: Path, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match=r"layers\.0\.self_attn\.query and 0 more"):
        unknown_modules(lora(tmp_path / "none", query=(6, 8)), read_modules(base))


@pytest.mark.parametrize("shape", [(6, 9), (7, 8), (8, 6)])
def test_a_wrong_shape_is_said(base: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    with pytest.raises(IncompatibleError, match=r"expected \(6, 8\), the base model's"):
        unknown_modules(lora(tmp_path / "wrong", q_proj=shape), read_modules(base))
