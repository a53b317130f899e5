"""The base model at work: frozen, fingerprinted, refused without a chat template."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from crma_adapters.errors import ConfigError, DataError
from crma_adapters.models.base_model import resolve_base_model
from crma_training.config import TrainConfig
from crma_training.data.dataset import load_dataset
from crma_training.data.rows import Overlong
from crma_training.domain import train_domain
from crma_training.workbench import load_workbench, resolved


def test_no_parameter_of_the_base_learns(base_model: Path) -> None:
    bench = load_workbench(resolve_base_model(str(base_model)), TrainConfig())
    assert not any(parameter.requires_grad for parameter in bench.model.parameters())
    assert bench.model.dtype == torch.float32


def test_the_digest_sees_one_changed_bit(base_model: Path) -> None:
    bench = load_workbench(resolve_base_model(str(base_model)), TrainConfig())
    before = bench.weights_digest()
    assert bench.weights_digest() == before
    weight = bench.model.model.layers[1].mlp.up_proj.weight.data
    weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))
    assert bench.weights_digest() != before


def test_a_task_counts_its_cut_answers(base_model: Path, data_folder: Path) -> None:
    domain = load_dataset(data_folder, ["code"]).domains[0]
    bench = load_workbench(resolve_base_model(str(base_model)), TrainConfig())
    task = bench.task(domain)
    assert (len(task.train), len(task.holdout), task.cut) == (20, 4, 0)
    lengths = sorted(len(example.token_ids) for example in task.train)
    shorter = load_workbench(resolve_base_model(str(base_model)), TrainConfig(max_length=lengths[-1] - 1))
    assert shorter.task(domain).cut == lengths.count(lengths[-1])


def test_a_tokenizer_without_chat_template_gets_the_default_one_and_it_is_said(
    base_model: Path, tmp_path: Path, data_folder: Path
) -> None:
    shutil.copytree(base_model, tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    bench = load_workbench(resolve_base_model(str(tmp_path / "plain")), TrainConfig())
    assert bench.chat.notes == (
        "no chat template: 'User: ... Assistant: ...' is used, answers end with <|im_end|>",
    )
    example = bench.task(load_dataset(data_folder, ["code"]).domains[0]).train[0]
    learnt = example.token_ids[example.answer_start :]
    assert bench.tokenizer.decode(learnt) == " a loop belongs to code.<|im_end|>"


@pytest.mark.parametrize("overlong", ["truncate", "drop"])
def test_overlong_rows_are_cut_or_dropped_and_counted(
    base_model: Path, data_folder: Path, overlong: Overlong
) -> None:
    domain, base = load_dataset(data_folder, ["code"]).domains[0], resolve_base_model(str(base_model))
    lengths = sorted(len(e.token_ids) for e in load_workbench(base, TrainConfig()).task(domain).train)
    limit = lengths[15]
    longer = sum(length > limit for length in lengths)
    bench = load_workbench(base, TrainConfig(max_length=limit, overlong=overlong))
    task = bench.task(domain)
    assert (len(task.train), task.cut, task.dropped) == (
        (20, longer, 0) if overlong == "truncate" else (20 - longer, 0, longer)
    )
    with pytest.raises(DataError, match=rf"tokens, --max-length is {limit}; .*--overlong truncate or drop"):
        load_workbench(base, TrainConfig(max_length=limit, overlong="error")).task(domain)


def test_gemma2_attends_with_its_logit_cap(base_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gemma2"
    shutil.copytree(base_model, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    config = Gemma2Config(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    Gemma2ForCausalLM(config).save_pretrained(folder)
    capped = load_workbench(resolve_base_model(str(folder)), TrainConfig())
    assert capped.model.config._attn_implementation == "eager"
    plain = load_workbench(resolve_base_model(str(base_model)), TrainConfig())
    assert plain.model.config._attn_implementation != "eager"


def test_auto_is_bfloat16_where_a_gpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolved(TrainConfig(dtype="bfloat16")).dtype == "bfloat16"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert resolved(TrainConfig()).dtype == "float32"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    assert resolved(TrainConfig()).dtype == "bfloat16"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"load_in_4bit": True},
            "--load-in-4bit needs bitsandbytes, which is not installed; pip",
        ),
        ({"optim": "adamw_bnb_8bit"}, "--optim adamw_bnb_8bit needs bitsandbytes"),
        ({"report_to": ("wandb",)}, "--report-to wandb needs wandb"),
        (
            {"attn_implementation": "flash_attention_2"},
            "needs flash_attn, .* pip install flash-attn",
        ),
    ],
)
def test_what_needs_a_package_that_is_not_there_is_refused(
    base_model: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    base = resolve_base_model(str(base_model))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=message):
        load_workbench(base, TrainConfig(**changes))


def test_attention_is_what_was_asked_for(base_model: Path) -> None:
    base = resolve_base_model(str(base_model))
    for asked, found in (("auto", "sdpa"), ("eager", "eager")):
        bench = load_workbench(base, TrainConfig(attn_implementation=asked))
        assert bench.model.config._attn_implementation == found


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("kind", ["lora", "mixer"])
def test_adapters_learn_over_a_base_model_in_four_bits(
    base_model: Path, data_folder: Path, tmp_path: Path, kind: Any
) -> None:
    config = TrainConfig(load_in_4bit=True, adapter=kind, steps=6, batch_size=4, learning_rate=1e-2)
    bench = load_workbench(resolve_base_model(str(base_model)), config)
    kinds = {type(module).__name__ for module in bench.model.modules()}
    assert "Linear4bit" in kinds
    task = bench.task(load_dataset(data_folder, ["code"]).domains[0])
    card = train_domain(bench, task, tmp_path)
    assert card.holdout_loss.after < card.holdout_loss.base
    assert {type(module).__name__ for module in bench.model.modules()} == kinds
