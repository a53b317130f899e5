"""Rows to token ids: the chat template, where the answer starts, what happens to rows that are too long,
batches.

Owns: the prompt/answer boundary and the deterministic order of batches. Knows nothing of models or losses.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from crma_adapters.errors import DataError
from crma_training.data.rows import Row

POOL_BATCHES = 32  # rows are shuffled, then sorted by length inside pools of this many batches


@dataclass(frozen=True)
class Example:
    """One row as token ids.

    Attributes:
        token_ids: the whole rendered conversation.
        learn: for each token, whether it is learnt (predicted from those before it); as long as `token_ids`.
        cut: whether the row's tail was dropped because it did not fit.
    """

    token_ids: tuple[int, ...]
    learn: tuple[bool, ...]
    cut: bool = False

    @classmethod
    def with_answer(cls, token_ids: Sequence[int], start: int, *, cut: bool = False) -> "Example":
        """A row of which everything from token `start` on is learnt."""
        return cls(tuple(token_ids), (False,) * start + (True,) * (len(token_ids) - start), cut)

    @property
    def answer_start(self) -> int:
        """Position of the first token that is learnt; the length if there is none."""
        return self.learn.index(True) if True in self.learn else len(self.learn)

    @property
    def learnt_tokens(self) -> int:
        """How many tokens are learnt."""
        return sum(self.learn)


@dataclass(frozen=True)
class Batch:
    """Right-padded rows. No attention mask is needed: causal, so no token sees the padding behind it.

    Attributes:
        token_ids: (B, T) int64.
        targets: (B, T) int64, the next token to predict at each position, -100 for none.
        shared: number of leading tokens that are the same in all rows and predict no answer token.
        tokens: without padding.
        answer_tokens: number of targets.
    """

    token_ids: Tensor
    targets: Tensor
    shared: int
    tokens: int
    answer_tokens: int


def encode(row: Row, tokenizer: Any, max_length: int) -> Example:
    """Applies the tokenizer's chat template; the answer includes its end-of-turn token.

    Prompt and answer are tokenized apart, as in serving, where the prompt alone is what the engine sees. An
    answer that does not fit is cut at the end; a prompt that leaves no room for an answer is refused.

    Raises:
        DataError: the prompt alone has `max_length` tokens or more, or the template cannot express the row.
    """
    try:
        prompt_text = _template(tokenizer, row.prompt, add_generation_prompt=True)
        full_text = _template(tokenizer, row.messages, add_generation_prompt=False)
    except TemplateError as error:
        raise DataError(f"{row.where}: the model's chat template refuses this row ({error})") from error
    if not full_text.startswith(prompt_text):
        raise DataError(f"{row.where}: the model's chat template rewrites the question once it has an answer")
    answer_text = full_text[len(prompt_text) :].rstrip()
    prompt = tokenizer.encode(prompt_text, add_special_tokens=False)
    answer = tokenizer.encode(answer_text, add_special_tokens=False)
    if answer_text.endswith(row.messages[-1].content.rstrip()):  # a template without an end-of-turn token
        answer.append(tokenizer.eos_token_id)
    if len(prompt) >= max_length:
        raise DataError(
            f"{row.where}: the question alone has {len(prompt)} tokens, --max-length is {max_length}; "
            "shorten it or raise --max-length"
        )
    kept = (prompt + answer)[:max_length]
    return Example.with_answer(kept, len(prompt), cut=len(kept) < len(prompt) + len(answer))


def _template(tokenizer: Any, messages: Sequence[Any], *, add_generation_prompt: bool) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return str(
        tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    )


def collate(examples: Sequence[Example], pad_id: int) -> Batch:
    """Pads to the longest row of the batch."""
    length = max(len(example.token_ids) for example in examples)
    token_ids = torch.full((len(examples), length), pad_id, dtype=torch.int64)
    targets = torch.full((len(examples), length), -100, dtype=torch.int64)
    for index, example in enumerate(examples):
        ids, learn = torch.tensor(example.token_ids), torch.tensor(example.learn)
        token_ids[index, : len(ids)] = ids
        targets[index, : len(ids) - 1] = torch.where(learn[1:], ids[1:], -100)
    tokens = sum(len(example.token_ids) for example in examples)
    return Batch(token_ids, targets, _shared_prefix(examples), tokens, int((targets != -100).sum()))


def _shared_prefix(examples: Sequence[Example]) -> int:
    limit = max(0, min(example.answer_start for example in examples) - 1)
    first = examples[0].token_ids
    for position in range(limit):
        if any(example.token_ids[position] != first[position] for example in examples):
            return position
    return limit


def training_order(
    examples: Sequence[Example], batch_size: int, steps: int, seed: str
) -> Iterator[list[int]]:
    """`steps` lists of row indices: every row once per epoch, rows of like length together, a new order each
    epoch.
    """
    generator = random.Random(seed)
    given = 0
    while given < steps:
        for batch in _epoch(examples, batch_size, generator)[: steps - given]:
            given += 1
            yield batch


def _epoch(examples: Sequence[Example], batch_size: int, generator: random.Random) -> list[list[int]]:
    order = list(range(len(examples)))
    generator.shuffle(order)
    pool = batch_size * POOL_BATCHES
    batches = []
    for start in range(0, len(order), pool):
        by_length = sorted(order[start : start + pool], key=lambda index: len(examples[index].token_ids))
        batches += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    generator.shuffle(batches)
    return batches
