"""The mean of the word vectors of a text: what it is about, wherever in it that stands.

Owns: the model's own input vectors and how words weigh. Knows nothing of tokenizers, sessions or domains.
"""

from pathlib import Path

import numpy as np
from safetensors import safe_open

from crma_router.encoders.sentence_transformers import Embeddings

_TENSOR = "embeddings.word_embeddings.weight"


class WordVectors:
    """(V, 384) float32 by token id, centred, each weighing as the logarithm of its id.

    BERT's vocabulary is sorted by frequency, so a late id is a rare word, which says more of the topic than
    a frequent one; the rule is Zipf's, as in model2vec.
    """

    def __init__(self, weights: Path) -> None:
        """Read them from the model's safetensors file."""
        with safe_open(weights, framework="numpy") as file:
            vectors = file.get_tensor(_TENSOR).astype(np.float32)
        weight = np.log(np.arange(len(vectors), dtype=np.float32) + 3)
        self._vectors: Embeddings = (vectors - vectors.mean(axis=0)) * weight[:, None]

    @property
    def size(self) -> int:
        """384"""
        return int(self._vectors.shape[1])

    def mean(self, ids: list[int]) -> Embeddings:
        """(384,) float32 of unit norm; zeros if there are no ids."""
        if not ids:
            return np.zeros(self._vectors.shape[1], np.float32)
        mean = self._vectors[ids].mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)
