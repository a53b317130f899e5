"""The questions: short-answer rows of the domains, spread evenly, none of them trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import ConfigError, DataError
from crma_training.data.dataset import load_domain
from crma_training.data.rows import Row
from crma_training.data.sources import read_rows


@dataclass(frozen=True)
class ShortQuestion:
    """A question of a domain with its reference answer, a word or a few."""

    domain: str
    text: str
    gold: str


def draw(data: Path, domains: Sequence[str], count: int) -> tuple[ShortQuestion, ...]:
    """`count` questions in all, as equally many per domain as can be, evenly spaced in each file.

    Raises:
        ConfigError: fewer questions than domains.
        DataError: a domain has too few short-answer rows, asks one twice, or was trained on one.
    """
    if count < len(domains):
        raise ConfigError(f"--questions is {count}; give at least one per domain ({len(domains)} domains)")
    drawn: list[ShortQuestion] = []
    for index, domain in enumerate(domains):
        share = count // len(domains) + (index < count % len(domains))
        drawn += (
            ShortQuestion(domain, row.question, row.messages[-1].content)
            for row in _spaced(data, domain, share)
        )
    return tuple(drawn)


def _spaced(data: Path, domain: str, count: int) -> list[Row]:
    path = data / domain / "short_answer.jsonl"
    rows = read_rows(path)
    _refuse_known(rows, {row.key: row.where for row in load_domain(data, domain).train})
    if len(rows) < count:
        raise DataError(f"{path} has {len(rows)} rows, {count} are asked for; lower --questions")
    return [rows[index * len(rows) // count] for index in range(count)]


def _refuse_known(rows: Sequence[Row], known: dict[str, str]) -> None:
    seen = dict(known)
    for row in rows:
        if row.key in seen:
            what = "is also trained on" if row.key in known else "is asked twice"
            raise DataError(f"{row.where}: this short-answer question {what} ({seen[row.key]}); remove one")
        seen[row.key] = row.where
