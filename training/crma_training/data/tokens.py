"""Rows to token ids: which tokens are learnt, what happens to rows that are too long, and batches."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crma_adapters.errors import DataError
from crma_training.data.rows import ASSISTANT, USER, Learn, Message, Overlong, Row
from crma_training.data.templates import ChatFormat, Rendered, render

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


def encode(
    row: Row, tokenizer: Any, max_length: int, *, learn: Learn = "last", chat: ChatFormat | None = None
) -> Example:
    """A row as token ids by the tokenizer's chat template; the answer includes its end-of-turn token.

    Learnt is the last answer, or every turn up to it that stands in the same text. A prompt is tokenized as
    serving does it, where it is all that the engine sees. An answer that does not fit is cut at the end; a
    prompt that leaves no room for an answer is refused.

    Raises:
        DataError: the prompt alone has `max_length` tokens or more, or the template cannot express the row.
    """
    rendered = render(row, chat or ChatFormat(tokenizer), learn)[-1]
    example = _tokenized(rendered, row, tokenizer)
    if example.answer_start >= max_length:
        raise DataError(
            f"{row.where}: the question alone has {example.answer_start} tokens, --max-length is "
            f"{max_length}; shorten it or raise --max-length"
        )
    return _shortened(example, max_length)


@dataclass(frozen=True)
class Encoded:
    """A domain's rows as token ids; `dropped` counts the texts left out because they were too long."""

    examples: tuple[Example, ...]
    dropped: int


def encode_rows(
    rows: Sequence[Row], chat: ChatFormat, max_length: int, *, learn: Learn, overlong: Overlong
) -> Encoded:
    """All texts of all rows. What has more than `max_length` tokens loses its tail (`truncate`; it is dropped
    if nothing is left to learn), is dropped (`drop`) or is refused (`error`).

    Raises:
        DataError: a row is too long and `overlong` is `error`, or a template cannot express a row.
    """
    found, dropped = [], 0
    for row in rows:
        for rendered in render(row, chat, learn):
            example = _tokenized(rendered, row, chat.tokenizer)
            length = len(example.token_ids)
            if length <= max_length:
                found.append(example)
            elif overlong == "error":
                raise DataError(
                    f"{row.where}: {length} tokens, --max-length is {max_length}; shorten the row, raise "
                    "--max-length, or give --overlong truncate or drop"
                )
            elif overlong == "truncate" and example.answer_start < max_length:
                found.append(_shortened(example, max_length))
            else:
                dropped += 1
    return Encoded(tuple(found), dropped)


def _shortened(example: Example, max_length: int) -> Example:
    if len(example.token_ids) <= max_length:
        return example
    return Example(example.token_ids[:max_length], example.learn[:max_length], cut=True)


def _tokenized(rendered: Rendered, row: Row, tokenizer: Any) -> Example:
    cuts = [place for span in rendered.spans for place in span]
    token_ids, places = _tokenize(tokenizer, rendered.text, cuts, add_special_tokens=row.is_text)
    learn = [False] * len(token_ids)
    for start, end in zip(places[::2], places[1::2], strict=True):
        learn[start:end] = [True] * (end - start)
    if rendered.end is not None:
        token_ids, learn = [*token_ids, rendered.end], [*learn, True]
    learn[0] = False  # nothing stands before it
    return Example(tuple(token_ids), tuple(learn))


def _tokenize(
    tokenizer: Any, text: str, cuts: Sequence[int], *, add_special_tokens: bool
) -> tuple[list[int], list[int]]:
    """Token ids, and the position of each cut (in characters, rising) among them.

    The text is tokenized as one, as long as what stands before a cut gives the same tokens by itself;
    otherwise in two parts there. (Parts by themselves are not the same: SentencePiece puts a space before
    each.)
    """

    def ids(part: str) -> list[int]:
        return list(tokenizer.encode(part, add_special_tokens=add_special_tokens and not done))

    done: list[int] = []
    begin, places, rest = 0, [], ids(text)
    for cut in cuts:
        head = ids(text[begin:cut])
        if rest[: len(head)] == head:
            places.append(len(done) + len(head))
        else:
            done, begin = done + head, cut
            rest = ids(text[cut:])
            places.append(len(done))
    return done + rest, places


def answered(prompt: Sequence[int], answer: Sequence[int]) -> Example:
    """A row of token ids: a prompt and the answer to learn."""
    return Example.with_answer((*prompt, *answer), len(prompt))


def end_ids(chat: ChatFormat) -> tuple[int, ...]:
    """Token ids that end an answer: what a learnt one ends with, the tokenizer's EOS, and what the engine
    stops at, as far as the model knows them.
    """
    learnt = _asked("?", chat).token_ids[-1]
    return tuple(sorted({learnt, int(chat.tokenizer.eos_token_id), *(chat.stops - chat.unknown)}))


def prompt_ids(question: str, chat: ChatFormat) -> tuple[int, ...]:
    """A question as token ids, up to where the answer begins, as in a row to learn from."""
    example = _asked(question, chat)
    return example.token_ids[: example.answer_start]


def _asked(question: str, chat: ChatFormat) -> Example:
    row = Row((Message(USER, question), Message(ASSISTANT, "!")), "a question")
    return _tokenized(render(row, chat, "last")[-1], row, chat.tokenizer)


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
