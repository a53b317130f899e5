"""Embeddings that were computed before.

Owns: which are kept (those used last, up to a number of bytes) and under which key. Knows nothing of models.
"""

import hashlib
from collections import OrderedDict
from threading import Lock

import numpy as np

from crma_router.encoders.sentence_transformers import Embedder, Embeddings, encode_words

CACHE_BYTES = 16 * 2**20

# A key and the bookkeeping of one entry, beside the vector: measured, rounded up.
_ENTRY_BYTES = 320


class EmbeddingCache:
    """Least recently used vectors, thread-safe. Texts themselves are not kept, only their digests."""

    def __init__(self, size_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = size_bytes
        self._used_bytes = 0
        self._vectors: OrderedDict[bytes, Embeddings] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def size_bytes(self) -> int:
        """What the entries take, at most the limit."""
        return self._used_bytes

    def get(self, text: str) -> Embeddings | None:
        """The (D,) vector of `text`, read-only, or None."""
        key = _key(text)
        with self._lock:
            vector = self._vectors.get(key)
            if vector is not None:
                self._vectors.move_to_end(key)
            return vector

    def put(self, text: str, vector: Embeddings) -> None:
        """Keep a copy of the (D,) `vector`; the ones used longest ago give way."""
        key, kept = _key(text), np.array(vector, dtype=np.float32)
        kept.flags.writeable = False
        with self._lock:
            self._forget(key)
            self._vectors[key] = kept
            self._used_bytes += kept.nbytes + _ENTRY_BYTES
            while self._used_bytes > self._limit_bytes:
                self._forget(next(iter(self._vectors)))

    def _forget(self, key: bytes) -> None:
        vector = self._vectors.pop(key, None)
        if vector is not None:
            self._used_bytes -= vector.nbytes + _ENTRY_BYTES


class CachedEmbedder:
    """An embedder that computes a text once while the cache remembers it; same name, same vectors."""

    def __init__(self, embedder: Embedder, cache: EmbeddingCache | None = None) -> None:
        self.name = embedder.name
        self._embedder = embedder
        self._cache = cache if cache is not None else EmbeddingCache()

    def encode_words(self, texts: list[str]) -> Embeddings:
        """(N, W) float32, computed each time: that is as fast as remembering."""
        return encode_words(self._embedder, texts)

    def known(self, text: str) -> Embeddings | None:
        """(1, D) float32 if `text` was embedded before and is remembered. Takes microseconds."""
        vector = self._cache.get(text)
        return None if vector is None else vector[None]

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D) float32, unit norm; only what is not remembered is computed, each distinct text once."""
        known = {text: self._cache.get(text) for text in texts}
        new = [text for text, vector in known.items() if vector is None]
        if new or not texts:
            vectors = self._embedder.encode(new)
            for text, vector in zip(new, vectors, strict=True):
                self._cache.put(text, vector)
            if new == texts:
                return vectors
            known |= dict(zip(new, vectors, strict=True))
        return np.stack([vector for text in texts if (vector := known[text]) is not None])


def _key(text: str) -> bytes:
    # "surrogatepass": JSON may carry lone surrogates, and a cache refuses no text.
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
