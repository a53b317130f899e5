"""What a turn asks: its pieces told apart, and put together again without what only says how to answer."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crma_router.encoders.base import Embeddings
from crma_router.roles.role_classifier import RoleClassifier, features, texts_of
from crma_router.roles.segments import Piece, pieces_of
from crma_router.roles.simulate import ROLES
from crma_router.text.words import BUDGET_CHARACTERS, clip, has_words

_ASKED, _CONTEXT, _FRAME, _CARRY = range(len(ROLES))
_FEWEST_CHARACTERS = 60

_FORM_ALONE = 0.97
"""How sure it takes to call a turn of one piece nothing but an instruction about form."""


@dataclass(frozen=True, eq=False)
class Passage:
    """Some pieces of a turn: their text as they stood, and the mean (D,) of their vectors, of unit norm."""

    text: str
    vector: Embeddings


@dataclass(frozen=True, eq=False)
class TurnReading:
    """asked: the user's question, None if there is none. context: what is given to read beside it. whole: all
    of the turn, None if it has no words.

    carries: probability, 0 to 1, that the turn only carries on what was said before.
    """

    whole: Passage | None
    asked: Passage | None = None
    context: Passage | None = None
    carries: float = 0.0

    @property
    def read(self) -> Passage | None:
        """What is decided on."""
        return self.asked or self.context or self.whole


def read_turns(
    turns: Sequence[str], encode: Callable[[list[str]], Embeddings], roles: RoleClassifier
) -> list[TurnReading]:
    """A reading of each turn; their pieces are embedded in one go."""
    parted = [_within_budget(pieces_of(turn)) for turn in turns]
    texts = list(dict.fromkeys(text for pieces in parted for text in texts_of(pieces)))
    vectors = dict(zip(texts, encode(texts), strict=True)) if texts else {}
    return [
        _reading(turn, pieces, roles.probabilities(features(pieces, vectors)), vectors)
        if pieces
        else TurnReading(None)
        for turn, pieces in zip(turns, parted, strict=True)
    ]


def _within_budget(pieces: list[Piece]) -> list[Piece]:
    """The beginnings of the pieces where they are longer together than what is read of a turn."""
    if sum(len(piece.text) for piece in pieces) <= BUDGET_CHARACTERS:
        return pieces
    most = max(_FEWEST_CHARACTERS, BUDGET_CHARACTERS // len(pieces))
    return [piece if len(piece.text) <= most else replace(piece, text=piece.text[:most]) for piece in pieces]


def _reading(
    turn: str, pieces: list[Piece], probabilities: Embeddings, vectors: dict[str, Embeddings]
) -> TurnReading:
    whole = Passage(clip(turn), _mean(pieces, vectors))
    if len(pieces) == 1 and pieces[0].kind == "plain":
        alone = probabilities[0]
        asked = None if alone[_FRAME] >= _FORM_ALONE else whole
        return TurnReading(whole, asked, None, float(alone[_CARRY]))
    asking, given = _asked_and_given(pieces, [int(one) for one in probabilities.argmax(axis=1)])
    if len(asking) == len(pieces):
        return TurnReading(whole, whole, None, float(probabilities[:, _CARRY].max()))
    carries = 0.0
    if not asking:
        carries = float(probabilities[:, _CARRY].max())
        asking = [at for at, one in enumerate(probabilities.argmax(axis=1)) if one == _CARRY]
    parts = [_passage([pieces[at] for at in some], vectors) for some in (asking, given)]
    return TurnReading(whole, parts[0], parts[1], carries)


def _asked_and_given(pieces: list[Piece], role: list[int]) -> tuple[list[int], list[int]]:
    """By index: the pieces that ask, and those that are given to read.

    Of what is asked again and again under one label (solved examples, a conversation) the last asks. What a
    user tells in the paragraph that asks belongs to the question.
    """
    runs = _runs(pieces)
    last = {pieces[at].label.lower(): runs[at] for at, one in enumerate(role) if one == _ASKED}
    asking = [
        at
        for at, piece in enumerate(pieces)
        if role[at] == _ASKED and (not piece.label or runs[at] == last[piece.label.lower()])
    ]
    paragraphs = {pieces[at].paragraph for at in asking if pieces[at].kind == "plain"}
    asking += [
        at
        for at, piece in enumerate(pieces)
        if role[at] == _CONTEXT and piece.kind == "plain" and piece.paragraph in paragraphs
    ]
    asking.sort()
    if not any(has_words(pieces[at].text) for at in asking):
        asking = []
    given = [at for at, one in enumerate(role) if one in (_CONTEXT, _ASKED) and at not in asking]
    return asking, given


def _runs(pieces: list[Piece]) -> list[int]:
    """How often each piece's label has been said by then: paragraphs under one heading have the same."""
    runs, said, before = list[int](), Counter[str](), ""
    for piece in pieces:
        label = piece.label.lower()
        if piece.kind == "label":
            said[piece.text.strip(" :：").lower()] += 1
        elif piece.kind == "tagged" and label != before:
            said[label] += 1
        before = label
        runs.append(said[label])
    return runs


def _mean(pieces: Sequence[Piece], vectors: dict[str, Embeddings]) -> Embeddings:
    """(D,), of unit norm; a piece weighs as much as it is long."""
    mean = np.sum([len(piece.text) * vectors[piece.text] for piece in pieces], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def _passage(pieces: Sequence[Piece], vectors: dict[str, Embeddings]) -> Passage | None:
    """As they stood: pieces of a paragraph on a line. None if there are no words."""
    lines: list[str] = []
    last = -1
    for piece in pieces:
        if piece.paragraph == last and lines:
            lines[-1] += f" {piece.text}"
        else:
            lines.append(piece.text)
        last = piece.paragraph
    text = "\n".join(lines)
    return Passage(clip(text), _mean(pieces, vectors)) if has_words(text) else None
