"""A backbone comes back exactly as it was saved, or not at all."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crma_adapters.crma.backbone import (
    load_backbone,
    load_mixer,
    read_backbone_card,
    save_backbone,
    save_mixer,
)
from crma_adapters.crma.config import MODES, CrmaConfig, Mode
from crma_adapters.crma.crma import Crma
from crma_adapters.crma.crma_card import MIXER_FILES, CrmaCard, check_crma, tensor_shapes
from crma_adapters.errors import ConfigError, IncompatibleError, IntegrityError, StoreError

CONFIG = CrmaConfig(hidden_size=8, num_layers=3, rank=2)
FORMS: tuple[Literal[1, 2], ...] = (1, 2)
DEMO_BACKBONES = Path(__file__).parents[2] / "adapters" / "backbone"
FINGERPRINT = "ab" * 32


def random_crma(mode: Mode = "residual", seed: int = 0, form: Literal[1, 2] = 2) -> Crma:
    crma = Crma(replace(CONFIG, mode=mode, form=form), [torch.eye(8, 2)] * 3)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in crma.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return crma


def save(crma: Crma, folder: Path) -> Path:
    save_backbone(crma, folder, base_model="tiny", base_fingerprint=FINGERPRINT)
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(random_crma(), tmp_path / "backbone")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_round_trip_is_exact(tmp_path: Path, mode: Mode, form: Literal[1, 2]) -> None:
    crma = random_crma(mode, form=form)
    loaded = load_backbone(save(crma, tmp_path / "backbone"))
    assert loaded.config == crma.config
    expected = crma.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in crma.parameters()]


def test_the_card_says_what_it_belongs_to(saved: Path) -> None:
    card = read_backbone_card(saved)
    assert (card.base_model, card.base_fingerprint, card.config) == ("tiny", FINGERPRINT, CONFIG)
    assert isinstance(card, CrmaCard)


@pytest.mark.parametrize("form", FORMS)
def test_same_parameters_same_bytes(tmp_path: Path, form: Literal[1, 2]) -> None:
    saved = save(random_crma(form=form), tmp_path / "backbone")
    again = save(load_backbone(saved), tmp_path / "again")
    assert files(again) == files(saved)
    assert sorted(files(saved)) == ["crma.json", "crma.safetensors"]


def test_saving_again_replaces_the_older_one(saved: Path) -> None:
    save(random_crma(seed=1), saved)
    assert torch.equal(load_backbone(saved).block(0).write, random_crma(seed=1).block(0).write)
    assert [path.name for path in saved.parent.iterdir()] == ["backbone"]


def test_saving_refuses_a_folder_with_other_content(saved: Path) -> None:
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds notes\.txt, which is not ours"):
        save(random_crma(seed=1), saved)
    assert (saved / "notes.txt").read_text() == "mine"


def test_saving_refuses_numbers_that_are_not_finite(tmp_path: Path) -> None:
    crma = random_crma()
    with torch.no_grad():
        crma.block(1).write.fill_(float("nan"))
    with pytest.raises(ConfigError, match=r"blocks\.1\.write is not finite"):
        save(crma, tmp_path / "backbone")
    assert not (tmp_path / "backbone").exists()


@pytest.mark.parametrize("name", ["crma.json", "crma.safetensors"])
def test_every_truncation_is_found(saved: Path, name: str) -> None:
    whole = (saved / name).read_bytes()
    for length in (0, 1, 7, len(whole) // 2, len(whole) - 2):
        (saved / name).write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match=name):
            load_backbone(saved)


@pytest.mark.parametrize("name", ["crma.json", "crma.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(StoreError, match=name):
        load_backbone(saved)


def test_a_flipped_bit_is_found(saved: Path) -> None:
    path = saved / "crma.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"crma\.safetensors: sha256 is"):
        load_backbone(saved)


def rewrite(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Replace the tensors and the digest, as someone who edits both would."""
    path = folder / "crma.safetensors"
    save_file(tensors, path)
    card = json.loads((folder / "crma.json").read_text())
    card["tensors_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "crma.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blocks.0.read", torch.zeros(2, 9)),
        ("blocks.0.logits", torch.zeros(3, 3)),
        ("blocks.2.log_alpha", torch.zeros(())),
        ("blocks.1.write", torch.zeros(8, 2, dtype=torch.float64)),
        ("blocks.3.write", torch.zeros(8, 2)),
    ],
)
def test_tensors_of_another_form_are_refused_by_name(saved: Path, name: str, value: Tensor) -> None:
    rewrite(saved, load_file(saved / "crma.safetensors") | {name: value})
    with pytest.raises(IntegrityError, match=f"crma.safetensors: tensor {name} is"):
        load_backbone(saved)


def test_a_missing_tensor_is_named(saved: Path) -> None:
    tensors = load_file(saved / "crma.safetensors")
    del tensors["blocks.1.read"]
    rewrite(saved, tensors)
    with pytest.raises(IntegrityError, match=r"tensor blocks\.1\.read is missing"):
        load_backbone(saved)


def test_numbers_that_are_not_finite_are_refused(saved: Path) -> None:
    tensors = load_file(saved / "crma.safetensors")
    tensors["blocks.1.read"][0, 0] = float("inf")
    rewrite(saved, tensors)
    with pytest.raises(IntegrityError, match=r"crma\.safetensors: tensor blocks\.1\.read has NaN or Inf"):
        load_backbone(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "unknown"}, r"crma\.json: config\.mode"),
        ({"rank": 9}, r"crma\.json: CRMA has rank 9 for a hidden size of 8"),
        ({"rank": "2"}, r"crma\.json: config\.rank"),
        ({"surprise": 1}, r"crma\.json: config\.surprise"),
    ],
)
def test_a_config_that_cannot_work_is_refused(saved: Path, change: dict[str, object], message: str) -> None:
    card = json.loads((saved / "crma.json").read_text())
    card["config"] |= change
    (saved / "crma.json").write_text(json.dumps(card))
    with pytest.raises(IntegrityError, match=message):
        load_backbone(saved)


def test_another_format_is_refused(saved: Path) -> None:
    card = json.loads((saved / "crma.json").read_text()) | {"format": 3}
    (saved / "crma.json").write_text(json.dumps(card))
    with pytest.raises(IncompatibleError, match=r"crma\.json: format 3, expected 2"):
        load_backbone(saved)


def test_the_demo_releases_first_backbone_is_read_and_written_as_it_is(tmp_path: Path) -> None:
    """Form 1, in the spelling of the first releases."""
    (folder,) = [path for path in DEMO_BACKBONES.iterdir() if path.name == "d038ca909785"]
    assert read_backbone_card(folder).config == CrmaConfig(576, 30, rank=4, form=1)
    card = read_backbone_card(folder)
    save_backbone(
        load_backbone(folder),
        tmp_path / "again",
        base_model=card.base_model,
        base_fingerprint=card.base_fingerprint,
    )
    assert files(tmp_path / "again") == files(folder)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_the_shapes_that_are_checked_are_those_of_the_module(mode: Mode, form: Literal[1, 2]) -> None:
    crma = random_crma(mode, form=form)
    assert tensor_shapes(crma.config) == {n: tuple(value.shape) for n, value in crma.state_dict().items()}


def test_a_mixer_stands_beside_the_other_files_of_its_adapter(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter.json").write_text("{}")
    for seed in (0, 1):  # saving again replaces the older one
        save_mixer(random_crma(seed=seed), folder, base_model="tiny", base_fingerprint=FINGERPRINT)
        expected = random_crma(seed=seed).state_dict()
        assert all(torch.equal(value, expected[n]) for n, value in load_mixer(folder).state_dict().items())
    assert sorted(files(folder)) == ["adapter.json", "mixer.json", "mixer.safetensors"]
    alone = save(random_crma(seed=1), tmp_path / "backbone")
    assert [files(folder)[name] for name in ("mixer.json", "mixer.safetensors")] == [
        files(alone)[name] for name in ("crma.json", "crma.safetensors")
    ], "the same documents under other names"
    assert check_crma(folder, MIXER_FILES).config == CONFIG
    (folder / "mixer.safetensors").write_bytes(files(save(random_crma(), alone))["crma.safetensors"])
    with pytest.raises(IntegrityError, match=r"mixer\.safetensors: sha256 is .*, mixer\.json says"):
        load_mixer(folder)
