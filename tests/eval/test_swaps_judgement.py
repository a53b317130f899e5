import pytest

from crma_eval.serving.swaps.judgement import MEANING, faults
from crma_eval.serving.swaps.streams import Answer
from crma_eval.serving.swaps.timeline import Published, Timeline

WORDS = {1: "ant", 2: "bee", 3: "cat"}


@pytest.fixture
def timeline() -> Timeline:
    made = Timeline()
    for number, word in WORDS.items():
        made.begin(Published(number, f"v{number}", word, number, number + 0.1, number + 0.5))
    return made


def answer(number: int = 2, *, oldest: int = 2, newest: int = 2, tokens: int = 5, **more: object) -> Answer:
    facts: dict[str, object] = {
        "asked_tokens": tokens, "pinned": None, "oldest": oldest, "newest": newest,
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
        (answer(words={"dog": 5}), ["mixed"]),
        (answer(version="v1"), ["mismarked"]),
        (answer(version=None), ["mismarked"]),
        (answer(oldest=3, newest=3), ["not live"]),
        (answer(oldest=1, newest=1), ["not live"]),
        (answer(pinned="v1", oldest=1, newest=3), ["not live"]),
    ],
)
def test_faults(given: Answer, expected: list[str], timeline: Timeline) -> None:
    assert list(faults(given, timeline)) == expected
    assert set(expected) <= set(MEANING)


def test_the_newest_that_was_seen_and_the_newest_that_may_be(timeline: Timeline) -> None:
    timeline.begin(Published(4, "", "dog", 4.0))
    assert (timeline.confirmed().number, timeline.begun().number) == (3, 4)
    assert timeline.of_version("v2") is timeline.releases[1]
    assert timeline.releases[0].first_answer_s == pytest.approx(0.4)
    assert timeline.begun().first_answer_s is None
