"""Kept embeddings are made once and are those of the embedder."""

from pathlib import Path

import numpy as np

from crma_eval.routing.embeddings import PROBE, KeptEmbedder
from crma_router.encoders.base import Embeddings


class Counting:
    """A text's length and first letter, as a unit vector."""

    name = "counting"
    languages: frozenset[str] = frozenset()

    def __init__(self, turn: float = 0.0) -> None:
        self.asked: list[str] = []
        self._turn = turn

    def encode(self, texts: list[str]) -> Embeddings:
        self.asked += texts
        angles = np.array([len(text) + self._turn for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def keep(embedder: Counting, path: Path) -> KeptEmbedder:
    return KeptEmbedder("counting", lambda: embedder, path)


def test_a_text_is_embedded_once_and_vectors_keep_their_order(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    texts = ["ccc", "a", "bb", "a"]
    vectors = keep(first, tmp_path / "kept.sqlite").encode(texts)
    np.testing.assert_array_equal(vectors, Counting().encode(texts))
    assert sorted(first.asked[1:]) == ["a", "bb", "ccc"]  # the first is the probe
    again = keep(second, tmp_path / "kept.sqlite").encode(texts[::-1])
    np.testing.assert_array_equal(again, vectors[::-1])
    assert second.asked == [PROBE]


def test_what_another_embedder_made_is_forgotten(tmp_path: Path) -> None:
    keep(Counting(), tmp_path / "kept.sqlite").encode(["a", "b"])
    for _ in range(2):  # begun anew, and kept from then on
        turned = keep(Counting(turn=1.0), tmp_path / "kept.sqlite").encode(["a"])
        np.testing.assert_array_equal(turned, Counting(turn=1.0).encode(["a"]))
    last = Counting(turn=1.0)
    keep(last, tmp_path / "kept.sqlite").encode(["a", "b"])
    assert last.asked == [PROBE, "b"]
