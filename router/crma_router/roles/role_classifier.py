"""What a piece of a turn is there for: asked, context, frame (how to answer), carry (only goes on with
what was said).

A one-layer perceptron on the vector of the piece, the vector of its label (a tag's name, a heading) and
where it stands. Fitted on simulated turns (`simulate`), once for each encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crma_router.classifier.head import FloatArray, softmax
from crma_router.encoders.base import Embedder, Embeddings
from crma_router.roles.bank import ASKED_LABELS, CONTEXT_LABELS, EMPTY_LABELS, FRAME_LABELS
from crma_router.roles.segments import KINDS, Piece, pieces_of
from crma_router.roles.simulate import ROLES, Block, Role, simulate

HIDDEN = 48
TURNS = 2500
"""Simulated turns that a fit sees: some 15,000 pieces."""

_QUESTION_MARKS = ("?", "？", "؟")
_NAMES = frozenset(
    name.lower().replace("_", " ") for name in (*ASKED_LABELS, *CONTEXT_LABELS, *FRAME_LABELS, *EMPTY_LABELS)
)


@dataclass(frozen=True, eq=False)
class RoleClassifier:
    """hidden (H, F), hidden_bias (H,), output (R, H), output_bias (R,), all float32; F = 2 D +
    `STRUCTURE`."""

    hidden: FloatArray
    hidden_bias: FloatArray
    output: FloatArray
    output_bias: FloatArray

    def probabilities(self, features: FloatArray) -> FloatArray:
        """(N, F) -> (N, R) in the order of `ROLES`."""
        inner = np.maximum(features @ self.hidden.T + self.hidden_bias, 0)
        return softmax(np.asarray(inner @ self.output.T + self.output_bias, dtype=np.float32))


def structure(pieces: Sequence[Piece]) -> FloatArray:
    """(N, STRUCTURE): kind, place, length and punctuation of each piece of one turn, no words."""
    rows = []
    asking = [piece.text.rstrip(" \"'”’)*").endswith(_QUESTION_MARKS) for piece in pieces]
    for at, piece in enumerate(pieces):
        words = len(piece.text.split()) + sum(ord(one) > 0x2E80 for one in piece.text) / 2
        rows.append(
            [
                *(float(piece.kind == kind) for kind in KINDS),
                float(bool(piece.label)),
                at / max(len(pieces) - 1, 1),
                float(at == 0),
                float(at == len(pieces) - 1),
                float(len(pieces) == 1),
                np.log1p(len(pieces)) / 3,
                np.log1p(words) / 3,
                float(asking[at]),
                float(any(asking)) - float(asking[at]),
                float(piece.text[:1] in "-*•" or piece.text[:2].rstrip(".)").isdigit()),
            ]
        )
    return np.array(rows, np.float32).reshape(len(pieces), STRUCTURE)


STRUCTURE = len(KINDS) + 10


def features(pieces: Sequence[Piece], vectors: dict[str, Embeddings]) -> FloatArray:
    """(N, 2 D + STRUCTURE) of one turn's pieces; `vectors`: those of `texts_of(pieces)`, each (D,)."""
    own = np.stack([vectors[piece.text] for piece in pieces])
    labels = np.stack([vectors[piece.label] if piece.label else np.zeros_like(own[0]) for piece in pieces])
    return np.asarray(np.concatenate([4 * own, 4 * labels, structure(pieces)], axis=1), dtype=np.float32)


def texts_of(pieces: Sequence[Piece]) -> list[str]:
    """The distinct texts whose vectors `features` needs."""
    return list(dict.fromkeys([*(one.text for one in pieces), *(one.label for one in pieces if one.label)]))


def labelled_pieces(blocks: Sequence[Block], joint: str) -> list[tuple[Piece, Role]]:
    """The pieces of a simulated turn with the role of the block that each stands in; a label's name is a
    frame."""
    turn = joint.join(block.text for block in blocks)
    ends = np.cumsum([len(block.text) + len(joint) for block in blocks])
    found, cursor = [], 0
    for piece in pieces_of(turn):
        at = turn.find(piece.text, cursor)
        if at < 0:
            continue
        cursor = at + 1
        role = blocks[min(int(np.searchsorted(ends, at, side="right")), len(blocks) - 1)].role
        named = piece.kind == "label" and piece.text.strip(" :：").lower() in _NAMES
        found.append((piece, "frame" if named else role))
    return found


def fit_roles(
    embedder: Embedder, questions: Sequence[str], seed: int = 0, turns: int = TURNS
) -> RoleClassifier:
    """Fit on simulated turns around `questions`, of any domain and of none."""
    from sklearn.neural_network import MLPClassifier  # a second's import, which routing does not need

    simulated = [
        labelled_pieces(blocks, "\n\n" if at % 3 else "\n")
        for at, blocks in enumerate(simulate(questions, turns, seed))
    ]
    rows = [[piece for piece, _ in turn] for turn in simulated]
    roles = np.array([ROLES.index(role) for turn in simulated for _, role in turn])
    texts = list(dict.fromkeys(text for turn in rows for text in texts_of(turn)))
    vectors = dict(zip(texts, embedder.encode(texts), strict=True))
    given = np.concatenate([features(turn, vectors) for turn in rows if turn])
    network = MLPClassifier(
        (HIDDEN,), alpha=1e-2, max_iter=25, learning_rate_init=2e-3, batch_size=256, random_state=seed,
        early_stopping=False,
    )  # fmt: skip
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as many rounds as are said, converged or not
        network.fit(given, roles)
    (first, second), (first_bias, second_bias) = network.coefs_, network.intercepts_
    parts = (first.T, first_bias, second.T, second_bias)
    return RoleClassifier(*(np.ascontiguousarray(part, dtype=np.float32) for part in parts))


def everything_asked(size: int) -> RoleClassifier:
    """One for vectors (D,) of `size` that takes every piece as asked: routing by the whole of each turn."""
    bias = np.array([9.0, 0.0, 0.0, 0.0], np.float32)
    inputs = 2 * size + STRUCTURE
    zeros = np.zeros((HIDDEN, inputs), np.float32), np.zeros(HIDDEN, np.float32)
    return RoleClassifier(*zeros, np.zeros((len(ROLES), HIDDEN), np.float32), bias)
