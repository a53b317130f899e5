"""What is wrong with an answer, or with what a server lists: one judge for all runs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from crma_eval.report import Goal
from crma_eval.serving.load.clients import Answer
from crma_eval.serving.load.publisher import Said

Fault = Literal["failed", "cut", "mixed", "mismarked", "other domain", "not live", "half"]
MEANING: dict[Fault, str] = {
    "failed": "no answer: an error, or a connection that broke before the first token",
    "cut": "a stream that broke off, or with fewer words than tokens were asked for",
    "mixed": "words of more than one version in one answer, or of none",
    "mismarked": "the reply's version is not the one whose word it says",
    "other domain": "an adapter that answers with another one's word",
    "not live": "of a version that was not live when it was asked, nor asked for",
    "half": "the adapters listed are of more than one release, or of none",
}


@dataclass
class Served:
    """What a server listed and said at one time. `oldest`, `newest`: numbers of the releases it may be of.

    `listed`: live version by domain. `answers`: one of each domain.
    """

    oldest: int
    newest: int = 0
    listed: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)


def faults(answer: Answer, versions: Mapping[str, Said]) -> Iterator[Fault]:
    """Every fault of an answer; a cut one by what came of it. Without `newest` any release is right."""
    if answer.first_token_s is None:
        yield "failed"
        return
    if answer.error or not answer.ended or sum(answer.words.values()) < answer.asked_tokens:
        yield "cut"
    known = {each.word for each in versions.values()}
    if len(answer.words) > 1 or not answer.words.keys() <= known:
        yield "mixed"
        return
    if not answer.words:
        return
    said, word = versions.get(answer.version or ""), next(iter(answer.words))
    if said is None or said.word != word:
        yield "mismarked"
        said = _of(word, answer.domain, versions)
    if said is None:
        return
    if said.domain != answer.domain:
        yield "other domain"
    if answer.pinned is not None:
        right = said == versions.get(answer.pinned)
    else:
        right = not answer.newest or answer.oldest <= said.release <= answer.newest
    if not right:
        yield "not live"


def faults_of_served(served: Served, versions: Mapping[str, Said]) -> Iterator[Fault]:
    """Every fault of what was listed and answered after a start."""
    releases = {versions[each].release if each in versions else None for each in served.listed.values()}
    number = next(iter(releases), None)
    if len(releases) != 1 or number is None or len(served.listed) < len(served.answers):
        yield "half"
    elif not served.oldest <= number <= served.newest:
        yield "not live"
    for answer in served.answers:
        yield from faults(replace(answer, oldest=served.oldest, newest=served.newest), versions)


def _of(word: str, domain: str, versions: Mapping[str, Said]) -> Said | None:
    """The newest version that says `word`, one of `domain` if there is any."""
    found = [said for said in versions.values() if said.word == word]
    return max(found, key=lambda said: (said.domain == domain, said.release), default=None)


@dataclass(frozen=True)
class Row:
    """A line of a run's table; one that has a goal says whether it is `met`."""

    what: str
    found: str
    goal: str = ""
    met: bool | None = None


def rows_of(rows: list[Row]) -> tuple[tuple[str, ...], ...]:
    """As the report's table has them: what, goal, found."""
    return tuple((row.what, row.goal, row.found) for row in rows)


def goals_of(rows: list[Row]) -> tuple[Goal, ...]:
    """The goals among them."""
    return tuple(Goal(row.what, row.goal, row.found, row.met) for row in rows if row.met is not None)


def none(what: str, count: int) -> Row:
    """Something of which there is to be none."""
    return Row(what, f"{count:,}", "0", count == 0)


def verdict(rows: list[Row]) -> str:
    return "met" if all(row.met is not False for row in rows) else "missed"
