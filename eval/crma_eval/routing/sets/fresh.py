"""Real questions that no router was fitted on or tuned to: their places in packages, and what each is of.

`fresh.jsonl` was gathered and labelled before the router that it judges was built, and no question in it is a
near-duplicate of one of the demo data. A person's reading gave each its label: a domain of the demo release,
or none; `near` marks those of none that border on a domain (animals' medicine, careers, devices, politics,
mathematics). Questions in other languages were taken from packages where they have some, the others written
as people ask.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from crma_adapters.errors import DataError
from crma_eval.routing.sets.packaged import packaged_questions

ENGLISH = "en"


@dataclass(frozen=True)
class FreshQuestion:
    """domain: None if of none. place: where it comes from, for a report that does not quote it."""

    text: str
    domain: str | None
    language: str
    near: bool
    place: str


def fresh_questions() -> list[FreshQuestion]:
    """All of them, by language and domain. Raises DataError where a package has another text."""
    lines = files(__package__).joinpath("fresh.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts = packaged_questions(row["source"] for row in rows if "source" in row)
    return [_question(row, number, texts) for number, row in enumerate(rows, start=1)]


def _question(row: dict[str, str], number: int, texts: Mapping[str, Mapping[str, str]]) -> FreshQuestion:
    if "source" in row:
        place = f"{row['source']}:{row['entry']}"
        text = texts[row["source"]].get(row["entry"], "")
        if hashlib.sha256(text.encode()).hexdigest()[:12] != row["digest"]:
            raise DataError(
                f"fresh.jsonl:{number}: {place} reads {text!r}, which is not what was labelled; "
                "delete the cached package and fetch it again"
            )
    else:
        text, place = row["text"], f"written:{number}"
    return FreshQuestion(text, row["domain"], row["language"], bool(row.get("near")), place)
