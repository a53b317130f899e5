"""Simulated turns: what stands in them, and that each piece bears the role of its block."""

from collections import Counter

import pytest

from crma_router.roles.role_classifier import STRUCTURE, labelled_pieces, structure
from crma_router.roles.segments import pieces_of
from crma_router.roles.simulate import Block, simulate

QUESTIONS = ("Can a tenant leave early?", "Python: why is zlib slow?", "I have a rash. Is it bad?")


def test_the_seed_alone_decides_what_is_drawn() -> None:
    assert list(simulate(QUESTIONS, 30, 1)) == list(simulate(QUESTIONS, 30, 1))
    assert list(simulate(QUESTIONS, 30, 1)) != list(simulate(QUESTIONS, 30, 2))


def test_every_role_comes_up_and_what_is_asked_is_a_question_of_ours() -> None:
    turns = [labelled_pieces(blocks, frozenset(QUESTIONS)) for blocks in simulate(QUESTIONS, 600, 0)]
    roles = Counter(role for turn in turns for _, role in turn)
    assert min(roles.values()) > 50 and set(roles) == {"asked", "context", "frame", "carry"}
    sentences = " ".join(QUESTIONS)
    asked = [
        piece.text for turn in turns for piece, role in turn if role == "asked" and piece.kind != "label"
    ]
    assert asked and all(text.strip("\"'“”«»„ ") in sentences for text in asked)


@pytest.mark.parametrize(
    ("blocks", "roles"),
    [
        ([Block("Subject: help", "frame"), Block("Can he?", "asked")], ["frame", "frame", "asked"]),
        (
            [Block("Q: Can he?", "context"), Block("Q: Can I?", "asked")],
            ["frame", "context", "frame", "asked"],
        ),
        ([Block(QUESTIONS[1], "asked")], ["asked", "asked"]),  # the label is part of the question
    ],
)
def test_a_label_is_a_frame_unless_the_question_holds_it(blocks: list[Block], roles: list[str]) -> None:
    assert [role for _, role in labelled_pieces(blocks, frozenset(QUESTIONS))] == roles


def test_structure_tells_the_last_of_what_is_asked_under_one_label() -> None:
    pieces = pieces_of("Q: Can he?\nA: No.\nQ: Can I?\nA:")
    rows = structure(pieces)
    assert rows.shape == (7, STRUCTURE)
    first, last = (rows[at] for at in (1, 5))
    assert (first != last).sum() >= 3  # place, and the label before, after, and the open answer behind
    assert structure([]).shape == (0, STRUCTURE)
