"""What is wrong with an answer that came while releases changed.

Owns: the faults and their order. Knows nothing of how answers are got.
"""

from collections.abc import Iterator
from typing import Literal

from crma_eval.serving.swaps.streams import Answer
from crma_eval.serving.swaps.timeline import Timeline

Fault = Literal["failed", "cut", "mixed", "mismarked", "not live"]
MEANING: dict[Fault, str] = {
    "failed": "no answer: an error, or a connection that broke before the first token",
    "cut": "a stream that broke off, or with fewer words than tokens were asked for",
    "mixed": "words of more than one version in one answer, or of none",
    "mismarked": "the reply's version is not the one whose word it says",
    "not live": "answered by a version that was not live when the request came, nor asked for",
}


def faults(answer: Answer, timeline: Timeline) -> Iterator[Fault]:
    """Every fault of an answer; a failed or cut one is judged by what came of it."""
    if answer.first_token_s is None:
        yield "failed"
        return
    if not answer.ended or sum(answer.words.values()) < answer.asked_tokens:
        yield "cut"
    if len(answer.words) > 1 or not all(timeline.of_word(word) for word in answer.words):
        yield "mixed"
        return
    said = timeline.of_word(next(iter(answer.words), ""))
    if said is None:
        return
    if said.version != answer.version:
        yield "mismarked"
    if answer.pinned is None:
        right = answer.oldest <= said.number <= answer.newest
    else:
        right = said.version == answer.pinned
    if not right:
        yield "not live"
