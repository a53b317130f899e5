"""The questions a router was fitted on, kept beside it so that it can be fitted again.

Owns: `examples.jsonl` in a router's folder: its form, its bounds, reading a stranger's file. Knows nothing of
fitting. The file holds what the training data's users asked; a router without it works as well, but no domain
can be added to it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from crma_adapters.errors import RouterError, StoreError
from crma_adapters.io.document import STRICT, parse_document
from crma_adapters.io.regular_files import open_regular
from crma_adapters.store.parts import ROUTER_EXAMPLES_FILE
from crma_router.classifier.data import RouterData
from crma_router.text.words import clip, has_words

MOST_KEPT = 5000
"""Examples kept of each domain, and of none: with `BUDGET_CHARACTERS` of each, some MB at most."""

_MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class _Row:
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    domain: str | None
    text: str


def save_examples(data: RouterData, directory: Path) -> None:
    """Write `examples.jsonl`; the same questions in any order, the same bytes. Of too many, some."""
    groups: dict[str | None, list[str]] = {name: data.examples[name] for name in sorted(data.examples)}
    groups[None] = data.out_of_domain
    lines = [
        json.dumps({"domain": name, "text": text}, ensure_ascii=False)
        for name, texts in groups.items()
        for text in _chosen(texts)
    ]
    (directory / ROUTER_EXAMPLES_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def load_examples(directory: Path) -> RouterData:
    """Read what `save_examples` wrote.

    Raises:
        RouterError: this router was fitted without keeping them, or the file is damaged.
    """
    path = directory / ROUTER_EXAMPLES_FILE
    if not path.exists():
        raise RouterError(
            f"router {directory.name} was published without its examples, which fitting it again needs; "
            "run crma-train on the data once more (without --no-keep-examples)"
        )
    data = RouterData({}, [])
    try:
        with open_regular(path) as file:
            lines = file.read(_MOST_BYTES).splitlines()
        for at, line in enumerate(lines, 1):
            row = parse_document(_Row, line, f"{path}:{at}")
            data_of = data.out_of_domain if row.domain is None else data.examples.setdefault(row.domain, [])
            data_of.append(row.text)
    except StoreError as error:
        raise RouterError(f"the router's examples cannot be used: {error}") from error
    return data


def _chosen(texts: list[str]) -> list[str]:
    """Distinct texts with words, as the router sees them, sorted; of too many, those of the least digests."""
    distinct = sorted({clipped for text in texts if has_words(clipped := clip(text))})
    if len(distinct) > MOST_KEPT:
        distinct = sorted(sorted(distinct, key=_digest)[:MOST_KEPT])
    return distinct


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()
