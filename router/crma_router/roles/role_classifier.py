"""What a piece of a turn is there for: asked, context, frame (how to answer), carry (only goes on with
what was said).

A one-layer perceptron on the vector of the piece, the vector of its label (a tag's name, a heading) and
where it stands. Fitted on simulated turns (`simulate`), once for each encoder.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crma_router.classifier.augment import Augmentation, augment
from crma_router.classifier.domain_classifier import FloatArray, softmax
from crma_router.encoders.base import Embedder, Embeddings
from crma_router.roles import bank
from crma_router.roles.segments import KINDS, Piece, pieces_of
from crma_router.roles.simulate import ROLES, Block, Role, simulate
from crma_router.text.words import count_words

HIDDEN = 48
TURNS = 5000
"""Simulated turns that a fit sees: some 40,000 pieces."""

ROUNDS = 15
_VARIED = Augmentation(0.4)
_ENGLISH = 5  # times as many of what the router is fitted on as of the bank's, which are mostly not English

_QUESTION_MARKS = ("?", "？", "؟")


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
    """(N, STRUCTURE): kind, place, length, punctuation and repeated labels of one turn's pieces, no words."""
    count = len(pieces)
    asking = [piece.text.rstrip(" \"'”’)*").endswith(_QUESTION_MARKS) for piece in pieces]
    words = [count_words(piece.text) for piece in pieces]
    is_label = [piece.kind == "label" for piece in pieces]
    empty = [one and all(is_label[at + 1 : at + 2]) for at, one in enumerate(is_label)]
    labels = [piece.label.lower() for piece in pieces]
    sizes = Counter(piece.paragraph for piece in pieces)
    rows = []
    for at, piece in enumerate(pieces):
        own = labels[at]
        rows.append(
            [
                *(float(piece.kind == kind) for kind in KINDS),
                float(bool(own)),
                at / max(count - 1, 1),
                float(at == 0),
                float(at == count - 1),
                float(count == 1),
                np.log1p(count) / 3,
                np.log1p(words[at]) / 3,
                words[at] / max(words),
                float(asking[at]),
                float(any(asking[:at])),
                float(any(asking[at + 1 :])),
                float(piece.text[:1] in "-*•" or piece.text[:2].rstrip(".)").isdigit()),
                float(bool(own) and own in labels[:at]),
                float(bool(own) and own in labels[at + 1 :]),
                float(empty[at]),
                float(all(empty[at + 1 : at + 2]) and at + 1 < count),
                sum(is_label) / count,
                min(sizes[piece.paragraph], 8) / 8,
            ]
        )
    return np.array(rows, np.float32).reshape(count, STRUCTURE)


STRUCTURE = len(KINDS) + 18


def features(pieces: Sequence[Piece], vectors: dict[str, Embeddings]) -> FloatArray:
    """(N, 2 D + STRUCTURE) of one turn's pieces; `vectors`: those of `texts_of(pieces)`, each (D,)."""
    own = np.stack([vectors[piece.text] for piece in pieces])
    labels = np.stack([vectors[piece.label] if piece.label else np.zeros_like(own[0]) for piece in pieces])
    return np.asarray(np.concatenate([4 * own, 4 * labels, structure(pieces)], axis=1), dtype=np.float32)


def texts_of(pieces: Sequence[Piece]) -> list[str]:
    """The distinct texts whose vectors `features` needs."""
    return list(dict.fromkeys([*(one.text for one in pieces), *(one.label for one in pieces if one.label)]))


def labelled_pieces(blocks: Sequence[Block], questions: frozenset[str]) -> list[tuple[Piece, Role]]:
    """The pieces of a simulated turn with the role of the block that each stands in.

    A label is a frame, unless it is a part of a question itself ("Python: what does zlib do?").
    """
    ends = np.cumsum([len(block.text) + 1 for block in blocks])
    turn = "\n".join(block.text for block in blocks)
    found, cursor = [], 0
    for piece in pieces_of(turn):
        at = turn.find(piece.text, cursor)
        if at < 0:
            continue
        cursor = at + 1
        block = blocks[min(int(np.searchsorted(ends, at, side="right")), len(blocks) - 1)]
        named = piece.kind == "label" and block.text not in questions
        found.append((piece, "frame" if named else block.role))
    return found


def fit_roles(
    embedder: Embedder, questions: Sequence[str], seed: int = 0, turns: int | None = None
) -> RoleClassifier:
    """Fit on simulated turns (`TURNS` by default) around `questions`, of any domain and of none."""
    from sklearn.neural_network import MLPClassifier  # a second's import, which routing does not need

    variants = augment(questions, _VARIED, seed)  # keywords and chat, too: what asks need not be a sentence
    elsewhere = bank.QUESTIONS * max(1, len(questions) // (_ENGLISH * len(bank.QUESTIONS)))
    questions = [*questions, *(variant for _, variant in variants), *elsewhere]
    known = frozenset(questions)
    simulated = [labelled_pieces(blocks, known) for blocks in simulate(questions, turns or TURNS, seed)]
    rows = [[piece for piece, _ in turn] for turn in simulated]
    roles = np.array([ROLES.index(role) for turn in simulated for _, role in turn])
    texts = list(dict.fromkeys(text for turn in rows for text in texts_of(turn)))
    vectors = dict(zip(texts, embedder.encode(texts), strict=True))
    given = np.concatenate([features(turn, vectors) for turn in rows if turn])
    network = MLPClassifier(
        (HIDDEN,), alpha=1e-2, max_iter=ROUNDS, learning_rate_init=2e-3, batch_size=256, random_state=seed
    )
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
