"""Rows that do not fit into `max_length` tokens, as the model's own chat template and tokenizer count them.

Owns: which of them training refuses and which it cuts. Counting is training's own (`tokens.encode`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from crma_adapters.errors import BaseModelError, DataError
from crma_adapters.models.base_model import resolve_base_model
from crma_training.data.checks.finding import Finding
from crma_training.data.checks.record import Record
from crma_training.data.checks.repeats import SPLIT


@dataclass(frozen=True)
class TokenCounter:
    """A Hugging Face tokenizer with a chat template, and how many tokens a row may have."""

    tokenizer: Any
    max_length: int


def load_token_counter(model: str, max_length: int) -> TokenCounter:
    """The tokenizer of a base model.

    Raises:
        BaseModelError: no such model, or its tokenizer has no chat template.
        StoreError: a packaged model could not be fetched.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_base_model(model).path)
    if tokenizer.chat_template is None:
        raise BaseModelError(f"{model}: its tokenizer has no chat template; add one to its folder")
    return TokenCounter(tokenizer, max_length)


def check_lengths(records: Iterable[Record], counter: TokenCounter) -> Iterator[Finding]:
    """Training and holdout rows that training would refuse (errors) or cut (warnings)."""
    from crma_training.data.tokens import encode  # loads torch

    for record in records:
        if record.row is None or record.part not in SPLIT:
            continue
        try:
            example = encode(record.row, counter.tokenizer, counter.max_length)
        except DataError as error:
            detail = str(error).removeprefix(f"{record.where}: ")
            kind = "over-long" if "--max-length" in detail else "chat-template"
            yield Finding(kind, "error", record.domain, record.where, detail)
        else:
            if example.cut:
                detail = f"the answer is cut at {counter.max_length} tokens"
                yield Finding("cut-answer", "warning", record.domain, record.where, detail)
