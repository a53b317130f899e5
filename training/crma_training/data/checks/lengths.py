"""Rows that do not fit into `max_length` tokens, by the model's own chat template and tokenizer."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crma_adapters.errors import DataError
from crma_adapters.models.base_model import resolve_base_model
from crma_training.data.checks.finding import Finding
from crma_training.data.checks.record import Record
from crma_training.data.checks.repeats import SPLIT
from crma_training.data.templates import ChatFormat, load_chat_format


@dataclass(frozen=True)
class TokenCounter:
    """A model's chat format, and how many tokens a row may have."""

    chat: ChatFormat
    max_length: int


def load_token_counter(model: str, max_length: int) -> TokenCounter:
    """The tokenizer of a base model.

    Raises:
        BaseModelError: no such model.
        StoreError: a packaged model could not be fetched.
    """
    return TokenCounter(load_chat_format(resolve_base_model(model).path), max_length)


def check_lengths(records: Iterable[Record], counter: TokenCounter) -> Iterator[Finding]:
    """Training and holdout rows that training would refuse (errors) or cut (warnings)."""
    from crma_training.data.tokens import encode  # loads torch

    for record in records:
        if record.row is None or record.part not in SPLIT:
            continue
        try:
            example = encode(record.row, counter.chat.tokenizer, counter.max_length, chat=counter.chat)
        except DataError as error:
            detail = str(error).removeprefix(f"{record.where}: ")
            kind = "over-long" if "--max-length" in detail else "chat-template"
            yield Finding(kind, "error", record.domain, record.where, detail)
        else:
            if example.cut:
                detail = f"the answer is cut at {counter.max_length} tokens"
                yield Finding("cut-answer", "warning", record.domain, record.where, detail)
