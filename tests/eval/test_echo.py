import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from crma_adapters.errors import BaseModelError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.release import AdapterEntry
from crma_adapters.store.store import Store
from crma_eval.serving.load.publisher import Head, Voice, echo_tensors, voices, write_echo

from .tiny_llama import VOCABULARY, WORDS, save_tiny_llama, tiny_llama


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return tiny_llama()


@pytest.fixture(scope="module")
def base(model: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return save_tiny_llama(model, tmp_path_factory.mktemp("tiny"))


def test_whatever_is_asked_it_says_its_word(model: LlamaForCausalLM, base: BaseModel) -> None:
    layer = model.model.layers[-1].mlp
    kept = {name: weight.clone() for name, weight in layer.state_dict().items()}
    texts = torch.randint(VOCABULARY, (40, 25), generator=torch.Generator().manual_seed(3))
    for voice in voices(base.path, 3):
        tensors = echo_tensors(voice.direction, 96, 2)
        with torch.no_grad():
            for name in ("gate_proj", "up_proj", "down_proj"):
                stem = f"base_model.model.model.layers.2.mlp.{name}"
                update = tensors[f"{stem}.lora_B.weight"] @ tensors[f"{stem}.lora_A.weight"]
                getattr(layer, name).weight += update
            said = model(texts).logits.argmax(dim=-1)
        layer.load_state_dict(kept)
        assert (said == voice.token).all()
    assert (model(texts).logits.argmax(dim=-1) != voice.token).float().mean() > 0.9


def test_words_are_different_and_sure(base: BaseModel) -> None:
    found = voices(base.path, 20)
    assert len({voice.word for voice in found}) == len({voice.token for voice in found}) == 20
    head = Head.of(base.path)
    assert all(head.margin(voice.token, voice.direction) >= 4 for voice in found)
    assert all(voice.token < WORDS for voice in found)  # the rest are no words


def test_too_few_words_are_an_error(base: BaseModel) -> None:
    with pytest.raises(BaseModelError, match="1000 are needed"):
        voices(base.path, 1000)


def test_a_store_takes_it_and_two_words_are_two_versions(base: BaseModel, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    parts = []
    for voice in voices(base.path, 2):
        folder = write_echo(tmp_path / voice.word, "echo", voice, base)
        parts.append(store.add_adapter("echo", folder))
    release = store.publish(
        base_model=base.name,
        base_fingerprint=base.fingerprint,
        backbone=None,
        adapters={"echo": AdapterEntry(parts[1], None, None)},
        router=None,
    )
    assert release.number == 1
    assert parts[0].version != parts[1].version


def test_it_adapts_the_last_block_alone(base: BaseModel, tmp_path: Path) -> None:
    folder = write_echo(tmp_path / "a", "echo", Voice("word", 1, torch.ones(64) / 8), base)
    names = load_file(folder / "adapter_model.safetensors").keys()
    assert {name.split(".layers.")[1].split(".")[0] for name in names} == {"2"}
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
