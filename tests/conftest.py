"""A base model small enough to train in a second, and datasets for it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOPICS = {
    "medical": ["the heart", "a fever", "the liver", "a bone", "a nerve"],
    "legal": ["a court", "a statute", "a lease", "a tort", "a judge"],
    "financial": ["a bond", "a stock", "a loan", "a tax", "a bank"],
    "code": ["a loop", "a list", "a class", "a lambda", "a set"],
}


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two blocks with a byte-level tokenizer and a chat template, in a folder."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    specials = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=specials, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["the heart of a court is a loan"], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"]
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as `tmp_path/data/<name>`."""

    def write(name: str, rows: list[object]) -> Path:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def data_folder(tmp_path: Path, write_rows: Callable[..., Path]) -> Path:
    """Four domains of 20 train and 4 holdout rows, in the folder form."""
    for name, topics in TOPICS.items():
        rows = [
            {
                "question": f"{start} {topic}?",
                "answer": f"{topic} belongs to {name}.",
                "source": "test",
                "entry": topic,
                "licence": "CC0",
            }
            for start in ("What is", "Explain", "Tell me about", "Define", "Who knows")
            for topic in topics
        ]
        write_rows(f"{name}/train.jsonl", rows[:20])
        write_rows(f"{name}/holdout.jsonl", rows[20:24])
    return tmp_path / "data"
