"""Embeddings kept on disk, so that a comparison of designs embeds every text once."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cached_property
from pathlib import Path

import numpy as np

from crma_adapters.models.cache import cache_dir
from crma_router.encoders.base import Embedder, Embeddings, open_embedder

PROBE = "Which of these texts was embedded before?"
_AT_ONCE = 512  # texts embedded between two writes: what a stop loses
_CLOSE = 1e-3  # of unit vectors: batches pad differently, and the last bits with them


class KeptEmbedder:
    """An `Embedder` that embeds what `path` has not yet. It is loaded when first asked, by `load`, and a file
    that was made by another one, or by an earlier version of it, is begun anew.

    Texts are embedded in the order of their length, so that a batch pads little.
    """

    def __init__(self, name: str, load: Callable[[], Embedder], path: Path) -> None:
        self.name = name
        self._load = load
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as kept, kept:
            kept.execute("CREATE TABLE IF NOT EXISTS kept (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D) float32, unit norm."""
        known = self._known
        missing = sorted(
            {text for text in texts if _key(text) not in known}, key=lambda text: (len(text), text)
        )
        for start in range(0, len(missing), _AT_ONCE):
            self._put(missing[start : start + _AT_ONCE])
        return np.stack([known[_key(text)] for text in texts])

    @property
    def languages(self) -> frozenset[str]:
        """Those of the embedder itself."""
        return self._embedder.languages

    @cached_property
    def _embedder(self) -> Embedder:
        return self._load()

    @cached_property
    def _known(self) -> dict[bytes, Embeddings]:
        """Everything on file, if that has the probe as the embedder has it now; else the probe alone."""
        with closing(self._open()) as kept:
            rows = kept.execute("SELECT key, vector FROM kept").fetchall()
        known: dict[bytes, Embeddings] = {key: np.frombuffer(vector, np.float32) for key, vector in rows}
        now = np.asarray(self._embedder.encode([PROBE])[0], dtype=np.float32)
        before = known.get(_key(PROBE))
        if before is not None and before.shape == now.shape and np.abs(before - now).max() <= _CLOSE:
            return known
        with closing(self._open()) as kept, kept:
            kept.execute("DELETE FROM kept")
        self._write({_key(PROBE): now})
        return {_key(PROBE): now}

    def _put(self, texts: list[str]) -> None:
        vectors = np.asarray(self._embedder.encode(texts), dtype=np.float32)
        new = {_key(text): vector for text, vector in zip(texts, vectors, strict=True)}
        self._known.update(new)
        self._write(new)

    def _write(self, vectors: dict[bytes, Embeddings]) -> None:
        rows = [(key, np.ascontiguousarray(vector).tobytes()) for key, vector in vectors.items()]
        with closing(self._open()) as kept, kept:
            kept.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=60)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


def kept(name: str, folder: Path | None = None) -> KeptEmbedder:
    """The embedder that a router names, its vectors kept in `folder` (default: in the cache)."""
    file = hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]
    return KeptEmbedder(
        name,
        lambda: open_embedder(name),
        (folder or cache_dir("embeddings")) / f"{file}.sqlite",
    )
