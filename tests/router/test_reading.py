"""What a turn asks, from its pieces and roles, with a role classifier that knows a word of each role."""

import numpy as np
import pytest

from crma_router.encoders.base import Embeddings
from crma_router.roles.reading import read_turns
from crma_router.roles.role_classifier import HIDDEN, STRUCTURE, RoleClassifier
from crma_router.roles.simulate import ROLES

WORDS = ("tenant", "passage", "answer", "why")  # asked, context, frame, carry


def encode(texts: list[str]) -> Embeddings:
    """(N, 4): which of the words a text holds; of none, as a frame."""
    rows = [[float(word in text.lower()) for word in WORDS] for text in texts]
    return np.array([row if any(row) else [0.0, 0.0, 1.0, 0.0] for row in rows], np.float32)


@pytest.fixture(scope="module")
def roles() -> RoleClassifier:
    """The role whose word the piece holds."""
    hidden = np.zeros((HIDDEN, 8 + STRUCTURE), np.float32)
    hidden[: len(ROLES), : len(ROLES)] = np.eye(len(ROLES))
    output = np.zeros((len(ROLES), HIDDEN), np.float32)
    output[:, : len(ROLES)] = 3 * np.eye(len(ROLES))
    return RoleClassifier(hidden, np.zeros(HIDDEN, np.float32), output, np.zeros(len(ROLES), np.float32))


def read(turn: str, roles: RoleClassifier) -> tuple[str | None, str | None]:
    (one,) = read_turns([turn], encode, roles)
    asked, context = (part.text if part is not None else None for part in (one.asked, one.context))
    return asked, context


@pytest.mark.parametrize(
    ("turn", "asked", "context"),
    [
        ("Can a tenant leave?", "Can a tenant leave?", None),
        ("Answer briefly.\n\nCan a tenant leave?", "Can a tenant leave?", None),
        (
            "Answer briefly.\n\nThe passage says no.\n\nCan a tenant leave?",
            "Can a tenant leave?",
            "The passage says no.",
        ),
        # of what is asked again and again under one label the last asks
        ("Q: a tenant one?\nA: answer.\n\nQ: a tenant two?\nA:", "a tenant two?", "a tenant one?"),
        # but paragraphs under one heading are one question
        ("# Ask\nA tenant left.\n\nCan a tenant return?", "A tenant left.\nCan a tenant return?", None),
        ("# Ask\nA tenant left.\nNote: answer.\nA tenant?", "A tenant left. A tenant?", None),
        ("<q>a tenant one?</q>\n<a>answer.</a>\n<q>a tenant two?</q>", "a tenant two?", "a tenant one?"),
        # what is told in the paragraph that asks belongs to it
        (
            "My passage is blocked. Can a tenant leave?\n\nAnswer.",
            "My passage is blocked. Can a tenant leave?",
            None,
        ),
        ("Answer briefly.\n\nAnswer in JSON.", None, None),
        ("Answer briefly.\n\nThe passage says no.", None, "The passage says no."),
        ("", None, None),
    ],
)
def test_what_is_asked(turn: str, asked: str | None, context: str | None, roles: RoleClassifier) -> None:
    assert read(turn, roles) == (asked, context)


def test_a_passages_vector_is_of_unit_norm_and_leans_to_its_longer_piece(roles: RoleClassifier) -> None:
    (one,) = read_turns(["Can a tenant leave the house? Why?"], encode, roles)
    assert one.whole is not None
    assert float(np.linalg.norm(one.whole.vector)) == pytest.approx(1)
    assert one.whole.vector[0] > 3 * one.whole.vector[3] > 0


def test_pieces_of_all_turns_are_embedded_in_one_go(roles: RoleClassifier) -> None:
    calls: list[int] = []

    def counted(texts: list[str]) -> Embeddings:
        calls.append(len(texts))
        return encode(texts)

    read_turns(["Can a tenant leave? Answer.", "Why?", "", "Can a tenant leave?"], counted, roles)
    assert calls == [3]
