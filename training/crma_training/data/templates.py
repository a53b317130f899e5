"""Conversations as the text that the model sees, and which of its parts are learnt."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from crma_adapters.errors import DataError
from crma_adapters.models.chat_template import give_template, stop_ids, untrained
from crma_training.data.rows import SYSTEM, USER, Learn, Message, Row

# Templates of reasoning models put it before an answer that came without reasoning. Serving's prompt has not
# got it, so an answer that follows the prompt at once is what is learnt.
_EMPTY_THINKING = re.compile(r"\s*<(think|thinking|reasoning)>\s*</\1>\s*")


@dataclass(frozen=True)
class ChatFormat:
    """How a model's conversations are written.

    Attributes:
        tokenizer: Hugging Face's, with a chat template.
        stops: token ids that end an answer in the engine; empty if that is not known.
        unknown: those of them that the model has never seen, so that it can hardly learn to emit them.
        notes: what to say of it once.
    """

    tokenizer: Any
    stops: frozenset[int] = frozenset()
    unknown: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()

    def knows(self, end: int) -> bool:
        """Whether an answer may end with this token."""
        return end not in self.unknown and (not self.stops or end in self.stops)


@dataclass(frozen=True)
class Rendered:
    """A conversation's text.

    Attributes:
        spans: (start, end) of the learnt parts, in characters, in order.
        end: a token id that follows the text and is learnt with it, None for none.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    end: int | None = None


def load_chat_format(path: Path) -> ChatFormat:
    """The chat format of a model folder; a model without a template gets the default one, which is said."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    notes = []
    if give_template(tokenizer):
        end = tokenizer.eos_token
        notes.append(f"no chat template: 'User: ... Assistant: ...' is used, answers end with {end}")
    stops = stop_ids(path, tokenizer)
    unknown = untrained(path, tokenizer, stops) - {tokenizer.eos_token_id}
    if unknown:
        names = ", ".join(tokenizer.convert_ids_to_tokens(sorted(unknown)))
        notes.append(f"{names}: not trained in this model; answers end with {tokenizer.eos_token}")
    return ChatFormat(tokenizer, stops, unknown, tuple(notes))


def render(row: Row, chat: ChatFormat, learn: Learn) -> tuple[Rendered, ...]:
    """The texts of a row: one, or several where a template writes earlier turns otherwise later on.

    A turn is learnt as serving asks for it: after the prompt that the template makes of the turns before it.
    Where the whole conversation does not begin with just that (Mistral puts the system prompt into the last
    question, reasoning models drop earlier reasoning), the turn gets a text of its own.

    Raises:
        DataError: the template cannot express the row.
    """
    if row.is_text:
        return (
            Rendered(
                row.messages[0].content, ((0, len(row.messages[0].content)),), chat.tokenizer.eos_token_id
            ),
        )
    turns = [_Turn.of(row, chat, position) for position in row.learnt(learn)]
    found = []
    while turns:
        last = turns[-1]
        within = [t for t in turns if t is last or (t.end is None and last.text.startswith(t.text))]
        found.append(Rendered(last.text, tuple((t.start, len(t.text)) for t in within), last.end))
        turns = [t for t in turns if not any(t is taken for taken in within)]
    return tuple(reversed(found))


@dataclass(frozen=True)
class _Turn:
    """One answer with all that stands before it; `text[start:]` is the answer, `end` as in `Rendered`."""

    text: str
    start: int
    end: int | None

    @classmethod
    def of(cls, row: Row, chat: ChatFormat, position: int) -> "_Turn":
        messages, tokenizer = row.messages, chat.tokenizer
        prompt = _template(row, chat, messages[:position], prompt=True)
        full = _template(row, chat, messages[: position + 1], prompt=False)
        if not full.startswith(prompt):
            problem = "the model's chat template rewrites the question once it has an answer"
            raise DataError(f"{row.where}: {problem}")
        answer = full[len(prompt) :].rstrip()
        if not messages[position].reasoning:
            answer = _EMPTY_THINKING.sub("", answer, count=1) if _EMPTY_THINKING.match(answer) else answer
        said = messages[position].content.strip()
        if said and answer.endswith(said):  # a template without an end of turn
            return cls(prompt + answer, len(prompt), tokenizer.eos_token_id)
        last = tokenizer.encode(answer, add_special_tokens=False)[-1]
        if not chat.knows(last) and said and said in answer:
            kept = answer[: answer.rindex(said) + len(said)]
            return cls(prompt + kept, len(prompt), tokenizer.eos_token_id)
        return cls(prompt + answer, len(prompt), None)


def _template(row: Row, chat: ChatFormat, messages: Sequence[Message], *, prompt: bool) -> str:
    try:
        return _apply(row, chat, messages, prompt=prompt)
    except TemplateError as error:
        if messages[0].role == SYSTEM:  # templates say it in many words
            return _template(row, chat, _folded(messages), prompt=prompt)
        raise DataError(f"{row.where}: the model's chat template refuses this row ({error})") from error


def _apply(row: Row, chat: ChatFormat, messages: Sequence[Message], *, prompt: bool) -> str:
    tools = json.loads(row.tools) if row.tools else None
    turns = [message.to_template() for message in messages]
    return str(
        chat.tokenizer.apply_chat_template(turns, tools=tools, tokenize=False, add_generation_prompt=prompt)
    )


def _folded(messages: Sequence[Message]) -> tuple[Message, ...]:
    """For templates that know no system role (Gemma-2): its text at the head of the first question."""
    system, first, *rest = messages
    return (replace(first, role=USER, content=f"{system.content}\n\n{first.content}"), *rest)
