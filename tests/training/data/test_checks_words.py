"""Words and shingles: what counts as written alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_training.data.checks.words import is_misspelling, jaccard, shingles, words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is a tort?", "what IS  a tort"),
        ("What's a tort ?", "What is a tort."),
        ("“tort” (law)", "tort law"),
        ("ﬁscal year", "fiscal year"),
        ("use `os.read`", "Use os.read!"),
    ],
)
def test_ways_of_writing_that_do_not_count(one: str, other: str) -> None:
    assert words(one) == words(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is C++?", "What is C?"),
        ("What is C#?", "What is C++?"),
        ("What is .5 + 1?", "What is 5 + 1?"),
        ("What is 5!?", "What is 5?"),
        ("What does ; mean?", "What does : mean?"),
        ("What does . match?", "What does ? match?"),
        ("What does [] make?", "What does {} make?"),
        ("What is .gitignore?", "What is gitignore?"),
        ("What is -5?", "What is 5?"),
        ("dog bites man", "man bites dog"),
    ],
)
def test_signs_and_order_that_count(one: str, other: str) -> None:
    assert words(one) != words(other)


@given(st.text())
def test_any_text_has_words_and_shingles(text: str) -> None:
    found = words(text)
    assert all(found)
    assert jaccard(shingles(found), shingles(found)) == 1


def test_jaccard_is_shared_over_all() -> None:
    assert shingles(("abcde",)) == {"abcd", "bcde"}
    assert jaccard(shingles(("abcde",)), shingles(("bcdef",))) == pytest.approx(1 / 3)
    assert jaccard(shingles(("ab",)), shingles(("cd",))) == 0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("currency", "curency", True),
        ("currency", "currrency", True),
        ("currency", "curremcy", True),
        ("currency", "curerncy", True),
        ("currency", "currencies", False),
        ("hypotension", "hypertension", False),
        ("iran", "iraq", False),
        ("part1", "part2", False),
        ("currency", "banknote", False),
    ],
)
def test_a_misspelling_is_one_slip_in_a_long_word(one: str, other: str, expected: bool) -> None:
    assert is_misspelling(one, other) is expected
    assert is_misspelling(other, one) is expected
