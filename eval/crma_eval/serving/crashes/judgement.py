"""What is wrong with a server that came back after a kill.

Owns: the faults and what they mean. Knows nothing of how a server is asked.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from crma_eval.serving.crashes.publisher import Said
from crma_eval.serving.crashes.served import Served
from crma_eval.serving.crashes.streams import Answer

Fault = Literal["half", "not live", "no answer", "mixed", "mismarked", "other domain"]
MEANING: dict[Fault, str] = {
    "half": "its adapters are of more than one release, or of none",
    "not live": "of a release older than the one release.json named at the start, or not published yet",
    "no answer": "an adapter did not answer, or with fewer words than tokens were asked for",
    "mixed": "words of more than one version in one answer, or of none",
    "mismarked": "the reply's version is not the one whose word it says",
    "other domain": "an adapter that answers with another one's word",
}


def faults_of_served(served: Served, versions: Mapping[str, Said]) -> Iterator[Fault]:
    """Every fault of what was listed and answered after a start."""
    releases = {versions[each].release if each in versions else None for each in served.listed.values()}
    if len(releases) != 1 or None in releases or len(served.listed) < len(served.answers):
        yield "half"
    elif not _may_be(releases.pop(), served):
        yield "not live"
    for answer in served.answers:
        yield from faults_of_answer(answer, versions)
        said = versions.get(answer.version or "")
        if said is not None and not _may_be(said.release, served):
            yield "not live"


def faults_of_answer(answer: Answer, versions: Mapping[str, Said]) -> Iterator[Fault]:
    """Every fault of one answer to a domain's alias."""
    if answer.error or not answer.ended or sum(answer.words.values()) < answer.asked_tokens:
        yield "no answer"
        return
    said = versions.get(answer.version or "")
    known = {each.word for each in versions.values()}
    if len(answer.words) != 1 or not answer.words.keys() <= known:
        yield "mixed"
    elif said is None or answer.words.keys() != {said.word}:
        yield "mismarked"
    elif said.domain != answer.domain:
        yield "other domain"


def _may_be(release: int | None, served: Served) -> bool:
    return release is not None and served.oldest <= release <= served.newest
