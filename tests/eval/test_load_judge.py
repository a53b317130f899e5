"""The one judge of answers: each fault by itself, and what is none."""

import pytest

from crma_eval.serving.load.clients import MEANING, Answer, faults
from crma_eval.serving.load.publisher import Published, Said

WORDS = {1: "ant", 2: "bee", 3: "cat"}
VERSIONS = {f"v{number}": Said("echo", number, word) for number, word in WORDS.items()}
VERSIONS["p2"] = Said("parrot", 2, "dog")


def answer(number: int = 2, *, oldest: int = 2, newest: int = 2, tokens: int = 5, **more: object) -> Answer:
    facts: dict[str, object] = {
        "domain": "echo", "asked_tokens": tokens, "pinned": None, "oldest": oldest, "newest": newest,
        "version": f"v{number}", "words": {WORDS[number]: 5}, "ended": True, "first_token_s": 0.1,
    }  # fmt: skip
    return Answer(**(facts | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(), []),
        (answer(oldest=1), []),
        (answer(newest=3), []),
        (answer(pinned="v2", oldest=1, newest=3), []),
        (answer(first_token_s=None, words={}, error="503"), ["failed"]),
        (answer(ended=False), ["cut"]),
        (answer(tokens=6), ["cut"]),
        (answer(ended=False, error="ReadError", oldest=3, newest=3), ["cut", "not live"]),
        (answer(words={"bee": 3, "cat": 2}), ["mixed"]),
        (answer(words={"eel": 5}), ["mixed"]),
        (answer(words={"dog": 5}, version="p2"), ["other domain"]),
        (answer(words={"dog": 5}), ["mismarked", "other domain"]),
        (answer(error="ReadError"), ["cut"]),
        (answer(3, oldest=0, newest=0), []),
        (answer(version="v1"), ["mismarked"]),
        (answer(version=None), ["mismarked"]),
        (answer(oldest=3, newest=3), ["not live"]),
        (answer(oldest=1, newest=1), ["not live"]),
        (answer(pinned="v1", oldest=1, newest=3), ["not live"]),
    ],
)
def test_faults(given: Answer, expected: list[str]) -> None:
    assert list(faults(given, VERSIONS)) == expected
    assert set(expected) <= set(MEANING)


def test_the_first_answer_is_timed_from_the_publication() -> None:
    assert Published(1, 0.0, 0.1, 0.5).first_answer_s == pytest.approx(0.4)
    assert Published(2, 0.0, 0.1).first_answer_s is None
