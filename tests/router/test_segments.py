"""Pieces of a turn, by structure alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_router.roles.segments import MOST_PIECES, Kind, pieces_of


def told(turn: str) -> list[tuple[str, Kind, str]]:
    return [(piece.text, piece.kind, piece.label) for piece in pieces_of(turn)]


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("What is bail?", [("What is bail?", "plain", "")]),
        ("什么是侵权？请用JSON回答。", [("什么是侵权？", "plain", ""), ("请用JSON回答。", "plain", "")]),
        (
            "Python: what does zlib do?",
            [("Python:", "label", ""), ("what does zlib do?", "plain", "Python")],
        ),
        (
            "<context>\nThe lease ends.\n</context>\n<user_query>Can he?</user_query>",
            [("The lease ends.", "tagged", "context"), ("Can he?", "tagged", "user query")],
        ),
        (
            "<docs><doc>One.</doc>\n<doc>Two.</doc></docs> And me?",
            [("One.", "tagged", "doc"), ("Two.", "tagged", "doc"), ("And me?", "plain", "")],
        ),
        ("[INST] What is bail? [/INST]", [("What is bail?", "tagged", "inst")]),
        (
            "### Instruction:\nWhat is bail?\n\n### Response:\n",
            [
                ("Instruction", "label", ""),
                ("What is bail?", "plain", "Instruction"),
                ("Response", "label", ""),
            ],
        ),
        ("```python\nx = 1\n```\nfix this", [("x = 1", "fenced", ""), ("fix this", "plain", "")]),
        ("> he said so\nIs it true?", [("he said so", "quoted", ""), ("Is it true?", "plain", "")]),
        ("<b>no end", [("<b>no end", "plain", "")]),
        (
            "<chat>\nUSER: What is bail?\nBOT: Money.\n</chat>",
            [
                ("USER:", "label", ""),
                ("What is bail?", "tagged", "USER"),
                ("BOT:", "label", ""),
                ("Money.", "tagged", "BOT"),
            ],
        ),
        ("[9:05 pm] Ann: What is bail?", [("Ann:", "label", ""), ("What is bail?", "plain", "Ann")]),
        (
            "[My question]\nWhat is bail?\n[End]",
            [("My question", "label", ""), ("What is bail?", "plain", "My question"), ("End", "label", "")],
        ),
        (
            '{"id": 7, "ask": "What is\\n\\"bail\\" here?", "to": "me"}',
            [('{"id": 7, , "to": "me"}', "data", ""), ('What is\n"bail" here?', "data", "ask")],
        ),
        ("> Hi. What is bail?", [("Hi.", "quoted", ""), ("What is bail?", "quoted", "")]),
        ("2. What is bail?", [("2. What is bail?", "plain", "")]),
        ("?!", []),
    ],
)
def test_structure(turn: str, expected: list[tuple[str, Kind, str]]) -> None:
    assert told(turn) == expected


def test_a_long_turn_has_a_bounded_number_of_pieces() -> None:
    pieces = pieces_of("\n\n".join(f"Paragraph {number} says one thing." for number in range(500)))
    assert len(pieces) <= MOST_PIECES
    assert (pieces[0].text, pieces[-1].text) == (
        "Paragraph 0 says one thing.",
        "Paragraph 499 says one thing.",
    )


@given(st.text(st.sampled_from('<>/[]`#*:\n ab?."“”{}>'), max_size=200))
def test_any_text_can_be_parted(turn: str) -> None:
    assert all(piece.text.strip() for piece in pieces_of(turn))
