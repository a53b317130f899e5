"""Rows as the model will see them, with what is learnt in colour, or in brackets where there is none."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from crma_adapters.models.base_model import resolve_base_model
from crma_training.config import TrainConfig
from crma_training.data.dataset import domain_names, load_domain
from crma_training.data.templates import ChatFormat, Rendered, load_chat_format, render

COLOUR, PLAIN = ("\x1b[30;42m", "\x1b[0m"), ("[[", "]]")


def shown_rows(
    data: Path,
    domains: Sequence[str] | None,
    config: TrainConfig,
    count: int,
    *,
    colour: bool,
    leave_out: Collection[str] = (),
) -> Iterator[str]:
    """`count` rows, from one domain after another, each with a line that says where it stands. Rows at
    `leave_out` (`file:line`) are not shown: what was found in them may be a secret.

    Raises:
        DataError: a template cannot express a row.
        BaseModelError: there is no such model.
    """
    chat = load_chat_format(resolve_base_model(config.model).path)
    yield from (f"{config.model}: {note}" for note in chat.notes)
    names = list(domains or domain_names(data))
    rows = [[row for row in load_domain(data, name).train if row.where not in leave_out] for name in names]
    for number in range(count):
        own = rows[number % len(rows)]
        place = number // len(rows)
        if place < len(own):
            yield from shown(own[place].where, render(own[place], chat, config.learn), chat, colour=colour)


def shown(where: str, texts: Sequence[Rendered], chat: ChatFormat, *, colour: bool) -> Iterator[str]:
    """A row's texts. A token that is learnt behind the text is written at its end."""
    begin, end = COLOUR if colour else PLAIN
    for text in texts:
        found, done = "", 0
        for start, stop in text.spans:
            last = text.end is not None and (start, stop) == text.spans[-1]
            token = chat.tokenizer.decode([text.end]) if last else ""
            found += text.text[done:start] + begin + text.text[start:stop] + token + end
            done = stop
        yield f"--- {where}\n{found}{text.text[done:]}"
