"""How people ask: an entry's question in one of its kind's phrasings."""

import tomllib
from functools import cache
from importlib.resources import files

from crma_training.demo_data.rows import Entry, digest


@cache
def phrasings() -> dict[str, list[str]]:
    """Phrasings by kind of entry, at least eight each."""
    table: dict[str, list[str]] = tomllib.loads(
        files(__package__).joinpath("phrasings.toml").read_text("utf-8")
    )
    return table


def question(entry: Entry, turn: int) -> str:
    """The entry asked in its `turn`-th phrasing; each entry starts somewhere else, and turns don't repeat."""
    wordings = phrasings()[entry.kind]
    topic, _, field = entry.topic.partition("|")
    start = digest("phrasing", entry.kind, entry.entry, entry.topic)
    return wordings[(start + turn) % len(wordings)].format(x=topic, field=field)
