import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils._paths import filter_repo_objects
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from crma_adapters.errors import BaseModelError, IncompatibleError
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.models.fingerprint import fingerprint, same_base
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release


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


@pytest.mark.parametrize("matrix", ["layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"])
def test_a_merged_fine_tune_is_another_model(tiny_llama: Path, tmp_path: Path, matrix: str) -> None:
    model = LlamaForCausalLM.from_pretrained(tiny_llama)
    weight = model.model.get_submodule(matrix).weight
    weight.data += 0.05 * torch.outer(torch.randn(weight.shape[0]), torch.randn(weight.shape[1]))  # B A
    model.save_pretrained(tmp_path / "merged")
    assert fingerprint(tmp_path / "merged") != fingerprint(tiny_llama)


def test_a_sharded_copy_and_consolidated_weights_beside_it_change_nothing(
    tiny_llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sharded"
    LlamaForCausalLM.from_pretrained(tiny_llama).save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    save_file({"layers.0.attention.wq.weight": torch.ones(2, 2)}, folder / "consolidated.safetensors")
    assert fingerprint(folder) == fingerprint(tiny_llama)


def test_the_hub_is_asked_for_one_copy_of_the_weights(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = ["config.json", "consolidated.safetensors", "model-00001-of-00003.safetensors"]
    listing += [
        "tokenizer.model.v3",
        "tokenizer.model",
        "original/consolidated.00.pth",
        "chat_template.jinja",
    ]
    fetched: list[str] = []

    def download(_name: str, *, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        kept = filter_repo_objects(listing, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns)
        fetched.extend(kept)
        return str(tiny_llama)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    resolve_base_model("mistralai/Mistral-7B-v0.3")
    assert fetched == [
        "config.json",
        "model-00001-of-00003.safetensors",
        "tokenizer.model",
        "chat_template.jinja",
    ]


def test_releases_with_the_former_fingerprint_are_for_the_packaged_model_and_no_fine_tune_of_it() -> None:
    base = resolve_base_model("smollm2-135m-instruct")
    store = Store(Path(__file__).parents[2] / "adapters")
    former = store.release(9)
    assert former.base_fingerprint == "8bf7a68d57ba5ac0045df70cb2b32d58401520b1eeecc733d02eac464e256db8"
    assert store.live().base_fingerprint == base.fingerprint != former.base_fingerprint
    assert same_base(former.base_fingerprint, base.fingerprint)
    for release in (former, store.live()):
        verify_release(store, release, base_fingerprint=base.fingerprint)
        with pytest.raises(IncompatibleError, match="given one with fingerprint 777"):
            verify_release(store, release, base_fingerprint="7" * 64)


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
