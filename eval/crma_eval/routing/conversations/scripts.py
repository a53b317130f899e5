"""The scripted conversations."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from crma_adapters.errors import DataError

Kind = Literal["change", "topic", "follow-up"]
SCRIPTS = Path(__file__).parent / "scripts.jsonl"
TURNS = 10


@dataclass(frozen=True)
class Turn:
    """`domain`: where it belongs, None for none.

    kind: `change` is the first turn of a topic, `follow-up` leans on the turns before it.
    """

    user: str
    domain: str | None
    kind: Kind


@dataclass(frozen=True)
class Script:
    """A conversation of `TURNS` user turns."""

    name: str
    turns: tuple[Turn, ...]


def read_scripts(path: Path = SCRIPTS) -> list[Script]:
    """Every script of the file. Raises `DataError` for one that is none."""
    scripts = []
    for at, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            turns = tuple(Turn(**turn) for turn in row["turns"])
            script = Script(row["name"], turns)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{path}:{at}: {error}; expected name and turns of user, domain and kind"
            ) from error
        if (
            len(turns) != TURNS
            or turns[0].kind != "change"
            or any(t.kind not in get_args(Kind) for t in turns)
        ):
            raise DataError(f"{path}:{at}: expected {TURNS} turns of kind {', '.join(get_args(Kind))}")
        scripts.append(script)
    return scripts
