import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from crma_adapters.errors import BaseModelError
from crma_adapters.models.base_model import fingerprint, resolve_base_model


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
    )
    folder = tmp_path_factory.mktemp("base") / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_local_folder_resolves_with_a_stable_fingerprint(tiny_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy)
    assert resolve_base_model(str(tiny_llama)).fingerprint == fingerprint(copy)


def test_fingerprint_survives_bfloat16_but_not_other_weights(tiny_llama: Path, tmp_path: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(tiny_llama)
    model.model.norm.weight.data.mul_(1.2345)
    model.save_pretrained(tmp_path / "f32")
    model.to(torch.bfloat16).save_pretrained(tmp_path / "bf16")
    assert fingerprint(tmp_path / "bf16") == fingerprint(tmp_path / "f32")
    model.model.norm.weight.data[0] += 0.5
    model.save_pretrained(tmp_path / "tuned")
    assert fingerprint(tmp_path / "tuned") != fingerprint(tmp_path / "bf16")


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BaseModelError, match="final norm"):
        resolve_base_model(str(tmp_path))


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"config\.json"):
        resolve_base_model(str(tmp_path))


def test_unknown_name_lists_the_packaged_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseModelError, match=r"'no-such-model'.*smollm2-135m-instruct"):
        resolve_base_model("no-such-model")


def test_smollm2_knows_a_capital() -> None:
    base = resolve_base_model("smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32)
    turn = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
    token_ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    answer = model.generate(**token_ids, max_new_tokens=10, do_sample=False)[0]
    assert "Paris" in tokenizer.decode(answer[token_ids["input_ids"].shape[1] :])


def test_gemma_tokenizer_prepends_the_bos_its_package_forgets() -> None:
    base = resolve_base_model("gemma-3-270m")
    tokenizer = AutoTokenizer.from_pretrained(base.path)
    assert tokenizer("Water")["input_ids"][0] == tokenizer.bos_token_id == 2
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat.startswith("<bos><start_of_turn>user\nhi<end_of_turn>")
