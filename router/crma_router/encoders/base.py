"""What a text encoder is to the router, and the encoder that a name stands for."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from crma_adapters.errors import RouterError

Embeddings = npt.NDArray[np.float32]  # (N, D), rows of unit norm

USE_NAME = "multilingual-use-v3"
MINILM_NAME = "all-MiniLM-L6-v2"
DEFAULT_EMBEDDER = USE_NAME
BESIDE = " + "
"""Between the names of encoders whose vectors stand side by side."""


class Embedder(Protocol):
    """Anything that turns texts into unit vectors; `name` says which one a router was fitted with."""

    @property
    def name(self) -> str: ...

    @property
    def languages(self) -> frozenset[str]:
        """ISO 639-1 codes of the languages it was trained on; empty: not known, so none is refused."""
        ...

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D) float32 with rows of unit norm. Called from any thread."""
        ...


class SideBySide:
    """Two or more encoders whose vectors stand beside each other, each with the same weight."""

    def __init__(self, parts: list[Embedder]) -> None:
        self.name = BESIDE.join(part.name for part in parts)
        self._parts = parts
        known = [part.languages for part in parts if part.languages]
        # The broadest one carries a language that another was not trained on.
        self.languages: frozenset[str] = frozenset().union(*known)

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D1 + D2 ...) float32, unit norm."""
        vectors = np.concatenate([part.encode(texts) for part in self._parts], axis=1)
        return np.asarray(vectors / np.float32(len(self._parts) ** 0.5), dtype=np.float32)


def open_embedder(name: str) -> Embedder:
    """`multilingual-use-v3`, `all-MiniLM-L6-v2`, a sentence-transformers folder or hub id, or some with "
    + ".

    Raises:
        RouterError: there is no such model, or what it runs on is not installed.
    """
    if is_of_earlier_release(name):
        raise RouterError(
            f"embedder {name!r} is of an earlier release and no longer there; run `crma-route upgrade`, "
            f"which "
            "fits the router again on its examples, or fit it with `crma-train router`"
        )
    names = [part.strip() for part in name.split(BESIDE.strip()) if part.strip()]
    if not names:
        raise RouterError(f"embedder {name!r}; expected a name such as {DEFAULT_EMBEDDER}")
    parts = [_open_one(part) for part in names]
    return parts[0] if len(parts) == 1 else SideBySide(parts)


def is_of_earlier_release(name: str) -> bool:
    """Whether this names the hand-built int8 reading of MiniLM that routers had before."""
    return name.startswith(f"{MINILM_NAME}/int8/")


def _open_one(name: str) -> Embedder:
    if name == USE_NAME:
        from crma_router.encoders.use import MultilingualUse

        return MultilingualUse()
    from crma_router.encoders.sentence_transformers import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder(name)


def is_local(name: str | Path) -> bool:
    """Whether a model's name is a folder on this machine."""
    return Path(name).is_dir()
