"""Near-duplicates: found when planted, not seen in templates with other names."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crma_training.data.checks.record import Record
from crma_training.data.checks.similar import Similarity

TEMPLATES = ("What is the currency of {}?", "Which currency is used in {}?", "Name the currency that {} has.")
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]


def record(question: str, answer: str, number: int = 0) -> Record:
    key = " ".join(question.casefold().split())
    return Record("geography", "train", f"f:{number}", key, (question, answer))


def names(count: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return list(dict.fromkeys("".join(generator.sample(SYLLABLES, 3)).title() for _ in range(count)))


def pairs(rows: list[tuple[str, str]]) -> list[tuple[int, int]]:
    return list(Similarity([record(*row, number) for number, row in enumerate(rows)]).pairs())


FILLING = [
    (TEMPLATES[number % 3].format(name), f"{other} crown")
    for number, (name, other) in enumerate(zip(names(120), names(120, seed=1), strict=False))
]


def test_other_names_in_one_template_are_not_alike() -> None:
    assert pairs(FILLING) == []


def test_other_names_with_one_answer_are_not_alike() -> None:
    assert pairs([(question, "Euro") for question, _ in FILLING]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is the currency of Kuwait?", "what is the currency of “Kuwait”"),
        ("What is the currency of Kuwait?", "What's the currency of Kuwait?"),
        ("What is the currency of Kuwait?", "What is the curency of Kuwait?"),
        ("What is the currency of Kuwait?", "What is currency of Kuwait?"),
    ],
)
def test_one_question_written_otherwise_is_alike(one: str, other: str) -> None:
    rows = [*FILLING, (one, "Kuwaiti dinar"), (other, "Kuwaiti dinar")]
    assert pairs(rows) == [(len(FILLING), len(FILLING) + 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("What is the currency of Kuwait?", "Dinar"), ("What is the currency of Oman?", "Rial")),
        (("What is the currency of Mali?", "Franc"), ("What is the currency of Niger?", "Franc")),
        (("What is 12 + 13?", "It is 25."), ("What is 12 + 14?", "It is 26.")),
        (("What is the square of 2 in Z 4?", "zero"), ("What is the square of 4 in Z 4?", "zero")),
        (
            ("What is hypotension?", "Abnormally low pressure of the blood in the arteries of the body."),
            ("What is hypertension?", "Abnormally high pressure of the blood in the arteries of the body."),
        ),
    ],
)
def test_another_thing_in_almost_the_same_words_is_not_alike(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert pairs([*FILLING, one, other]) == []


def test_the_same_words_are_alike_whatever_is_answered() -> None:
    rows = [
        *FILLING,
        ("What is a tort?", "A wrong."),
        ("What is a tort", "Something else entirely, at length."),
    ]
    assert pairs(rows) == [(len(FILLING), len(FILLING) + 1)]


def test_a_long_row_with_a_common_word_more_is_alike() -> None:
    long = (
        "Rain falls when moist air rises, cools and can no longer hold its vapour as a gas at such heights."
    )
    rows = [*FILLING, ("Why does rain fall?", long), ("Why does the rain fall?", long)]
    assert pairs(rows) == [(len(FILLING), len(FILLING) + 1)]


def test_questions_of_signs_alone_are_not_taken_for_one() -> None:
    assert pairs([("?!", "a"), ("...", "b"), ("?", "c")]) == []


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, len(FILLING) - 1), st.sampled_from([str.upper, str.title, lambda s: s.rstrip("?.") + " ?"])
)
def test_a_planted_copy_is_always_found(position: int, rewrite: object) -> None:
    question, answer = FILLING[position]
    assert callable(rewrite)
    assert pairs([*FILLING, (rewrite(question), answer)]) == [(position, len(FILLING))]


@settings(max_examples=8, deadline=None)
@given(st.integers(2, 10**6))
def test_random_names_are_never_alike(seed: int) -> None:
    generator = random.Random(seed)
    rows = [
        (generator.choice(TEMPLATES).format(name), generator.choice(SYLLABLES)) for name in names(60, seed)
    ]
    assert pairs(rows) == []
