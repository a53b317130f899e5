"""The base model at work: frozen, fingerprinted, refused without a chat template."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from crma_adapters.errors import DataError
from crma_adapters.models.base_model import resolve_base_model
from crma_training.config import TrainConfig
from crma_training.data.dataset import load_dataset
from crma_training.data.rows import Overlong
from crma_training.workbench import load_workbench


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
