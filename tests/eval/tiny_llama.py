"""A random Llama small enough to run anywhere, with a tokenizer of words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM

from crma_adapters.models.base_model import BaseModel

VOCABULARY = 300
WORDS = 250
"""Tokens below this are words; the rest are not."""


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        made.model.norm.weight.uniform_(0.5, 3.0)  # a trained model's is far from one
    return made


def save_tiny_llama(model: LlamaForCausalLM, folder: Path) -> BaseModel:
    model.save_pretrained(folder)
    words = {f"\u0120{'abcdefghij'[n % 10] * 4}{chr(97 + n // 10)}": n for n in range(WORDS)}
    pieces = words | {f"<{n}>": n for n in range(WORDS, VOCABULARY)}
    Tokenizer(models.WordLevel(pieces, unk_token="<299>")).save(str(folder / "tokenizer.json"))
    return BaseModel("tiny", folder, "f" * 64)
