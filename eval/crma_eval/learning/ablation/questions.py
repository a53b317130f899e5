"""What is asked, of which arms, and when an answer is right."""

import re
import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import ConfigError, DataError
from crma_training.data.dataset import load_domain
from crma_training.data.rows import Row
from crma_training.data.sources import read_rows


@dataclass(frozen=True)
class Arm:
    """`pattern` gives the model name for a domain; `meaning` says in words what then answers."""

    name: str
    pattern: str
    meaning: str

    def model(self, domain: str) -> str:
        """The model name to ask for."""
        return self.pattern.format(domain=domain)


PLAIN = "{domain}-lora"
"""Under which name in the store a domain's LoRA lies that was trained without CRMA."""

ON = Arm("on", "{domain}", "the domain's LoRA on the release's CRMA: what is served")
OFF = Arm("off", "{domain}:crma-off", "the same LoRA, CRMA switched off for this request")
LORA_ONLY = Arm("lora-only", PLAIN, "a LoRA of the same size, data, steps and seed, trained without CRMA")
BASE = Arm("base", "base", "the bare base model")
CRMA_ONLY = Arm("crma-only", "backbone", "the release's CRMA without any LoRA")

ARMS = (ON, OFF, LORA_ONLY, BASE, CRMA_ONLY)


def answerable(domains: Sequence[str], models: Container[str]) -> tuple[Arm, ...]:
    """The arms whose models are there for every domain."""
    return tuple(arm for arm in ARMS if all(arm.model(domain) in models for domain in domains))


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


_PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2212": "-"}
)
_ENDS = ".,;:!?'\"`*()[]{}«»¿¡- "
_OPENING = re.compile(rf"[{re.escape(_ENDS)}]*?(?=-?\.?\d|[^{re.escape(_ENDS)}]|$)")
_ARTICLE = re.compile(r"(?:the|an|a) (?=\S)")


def normalise(text: str) -> str:
    """Unicode NFKC, plain quotes and dashes, case folded, spaces collapsed; no punctuation at the ends (a
    number keeps its sign), no article at the start. Text of nothing else is only folded.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).translate(_PLAIN).casefold().split())
    bare = _stripped(plain)
    if article := _ARTICLE.match(bare):
        bare = _stripped(bare[article.end() :])
    return bare or plain


def is_right(answer: str, gold: str) -> bool:
    """Whether the whole answer is the reference answer."""
    return normalise(answer) == normalise(gold)


def mentions(answer: str, gold: str) -> bool:
    """Whether the reference answer stands in the answer as words of its own: says what exact match hides."""
    found = re.search(rf"(?<!\w){re.escape(normalise(gold))}(?!\w)", normalise(answer))
    return found is not None


def _stripped(text: str) -> str:
    return _OPENING.sub("", text, count=1).rstrip(_ENDS)
