"""What a turn asks: its pieces told apart, and put together again without what only says how to answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from crma_router.encoders.base import Embedder, Embeddings
from crma_router.roles.role_classifier import RoleClassifier, features, texts_of
from crma_router.roles.segments import Piece, pieces_of
from crma_router.roles.simulate import ROLES
from crma_router.text.clip import BUDGET_CHARACTERS, clip, has_words

_ASKED, _CONTEXT, _FRAME, _CARRY = range(len(ROLES))
_FEWEST_CHARACTERS = 60
_LONG = 400
"""Characters from which a text is what its pieces are together: embedding it once more would take as long
again."""

_FORM_ALONE = 0.9
"""How sure it takes to call a turn of one piece nothing but an instruction about form."""


@dataclass(frozen=True)
class TurnReading:
    """asked: the user's question, empty if there is none. context: what is given to read beside it.

    carries: probability, 0 to 1, that the turn only carries on what was said before. parts: its pieces;
    asked_parts and context_parts: those of the two texts, as they were embedded.
    """

    asked: str
    context: str
    carries: float
    parts: tuple[str, ...]
    asked_parts: tuple[str, ...] = ()
    context_parts: tuple[str, ...] = ()


def read_turns(
    turns: Sequence[str], embedder: Embedder, roles: RoleClassifier
) -> tuple[list[TurnReading], dict[str, Embeddings]]:
    """A reading of each turn, and the vectors (D,) of the texts that were embedded for it."""
    parted = [_within_budget(pieces_of(turn)) for turn in turns]
    texts = list(dict.fromkeys(text for pieces in parted for text in texts_of(pieces)))
    vectors = dict(zip(texts, embedder.encode(texts), strict=True)) if texts else {}
    readings = []
    for turn, pieces in zip(turns, parted, strict=True):
        if not pieces:
            readings.append(TurnReading("", "", 0.0, ()))
            continue
        probabilities = roles.probabilities(features(pieces, vectors))
        readings.append(_reading(turn, pieces, probabilities))
    return readings, vectors


def _within_budget(pieces: list[Piece]) -> list[Piece]:
    """The beginnings of the pieces where they are longer together than what is read of a turn."""
    most = max(_FEWEST_CHARACTERS, BUDGET_CHARACTERS // max(len(pieces), 1))
    if sum(len(piece.text) for piece in pieces) <= BUDGET_CHARACTERS:
        return pieces
    return [piece if len(piece.text) <= most else replace(piece, text=piece.text[:most]) for piece in pieces]


def vector_of(text: str, parts: Sequence[str], vectors: dict[str, Embeddings]) -> Embeddings | None:
    """(D,) of a long text from those of its parts, weighed by their length, or None: it is to be embedded."""
    if len(text) < _LONG or not parts:
        return None
    mean = np.sum([len(part) * vectors[part] for part in parts], axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def _reading(turn: str, pieces: list[Piece], probabilities: Embeddings) -> TurnReading:
    parts = tuple(piece.text for piece in pieces)
    if len(pieces) == 1 and pieces[0].kind == "plain":
        alone = probabilities[0]
        nothing = alone[_FRAME] >= _FORM_ALONE
        return TurnReading("" if nothing else clip(turn), "", float(alone[_CARRY]), parts)
    role = [int(one) for one in probabilities.argmax(axis=1)]
    both = list(zip(pieces, role, strict=True))
    # What a user tells in the paragraph that asks belongs to the question.
    asking = {piece.paragraph for piece, one in both if one == _ASKED and piece.kind == "plain"}
    asked = [
        p
        for p, one in both
        if one == _ASKED or (one == _CONTEXT and p.kind == "plain" and p.paragraph in asking)
    ]
    if len(asked) == len(pieces):
        return TurnReading(clip(turn), "", float(probabilities[:, _CARRY].max()), parts, parts)
    given = [piece for piece, one in both if one == _CONTEXT and piece not in asked]
    carries = 0.0
    if not any(has_words(piece.text) for piece in asked):
        carries = float(probabilities[:, _CARRY].max())
        asked = [piece for piece, one in both if one == _CARRY]
    texts = [tuple(piece.text for piece in some) for some in (asked, given)]
    return TurnReading(_joined(asked), _joined(given), carries, parts, *texts)


def _joined(pieces: Sequence[Piece]) -> str:
    """As they stood: pieces of a paragraph on a line."""
    lines: list[str] = []
    last = -1
    for piece in pieces:
        if piece.paragraph == last and lines:
            lines[-1] += f" {piece.text}"
        else:
            lines.append(piece.text)
        last = piece.paragraph
    text = "\n".join(lines)
    return clip(text) if has_words(text) else ""
