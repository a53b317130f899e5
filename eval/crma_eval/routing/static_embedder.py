"""A static embedding distilled from a sentence embedder, offline: what a router without a transformer would
have.

Owns: the distillation, after Model2Vec (Tulkens and van Dongen 2024): every word piece is embedded by
itself, the vectors are brought to their principal components and weighted by rarity, and a text is the mean
of its pieces. Only the pieces of the texts given are distilled, which is all that a comparison on them needs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from tokenizers import Tokenizer

from crma_adapters.models.packaged import embedder_path
from crma_router.embedder import Embedder, Embeddings

DIMENSIONS = 256
_RARITY = 1e-3  # a of a / (a + p): smooth inverse frequency (Arora et al. 2017)


class StaticEmbedder:
    """vectors: of each piece, (DIMENSIONS,)."""

    def __init__(self, name: str, vectors: Mapping[str, Embeddings]) -> None:
        self.name = name
        self._vectors = vectors
        self._tokenizer = _tokenizer()

    @classmethod
    def distilled(cls, teacher: Embedder, texts: Sequence[str]) -> "StaticEmbedder":
        """From `teacher`, for the pieces of `texts`; of these their frequencies are taken too."""
        counts = Counter(piece for text in texts for piece in _pieces(_tokenizer(), text))
        pieces = sorted(counts)
        vectors = teacher.encode([piece.removeprefix("##") for piece in pieces]).astype(np.float64)
        vectors -= vectors.mean(axis=0)
        _, _, axes = np.linalg.svd(vectors, full_matrices=False)
        shares = np.array([counts[piece] for piece in pieces]) / counts.total()
        weights = _RARITY / (_RARITY + shares)
        reduced = (vectors @ axes[:DIMENSIONS].T * weights[:, None]).astype(np.float32)
        return cls(f"static, from {teacher.name}", dict(zip(pieces, reduced, strict=True)))

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, DIMENSIONS) float32, unit norm; zero where no piece is known."""
        size = len(next(iter(self._vectors.values())))
        found = np.zeros((len(texts), size), np.float32)
        for row, text in enumerate(texts):
            known = [
                self._vectors[piece] for piece in _pieces(self._tokenizer, text) if piece in self._vectors
            ]
            if known:
                found[row] = np.mean(known, axis=0)
        unit: Embeddings = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return unit


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(embedder_path() / "tokenizer.json"))
    tokenizer.no_padding()
    return tokenizer


def _pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return list(tokenizer.encode(text, add_special_tokens=False).tokens)
