"""Text to unit vectors.

Owns: the embedder's seam (`Embedder`) and its real side, a sentence-transformers model on the CPU.
Knows nothing of domains or decisions.
"""

from pathlib import Path
from threading import Lock
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from crma_adapters.errors import RouterError
from crma_adapters.models.packaged import embedder_path

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"

Embeddings = npt.NDArray[np.float32]  # (N, D), rows of unit norm

_BATCH_SIZE = 64

# Up to this many texts take one thread: beside a busy engine the threads of an operation wait for each other
# (seen on 2 busy cores: 0.1 s for one question against 1.8 s).
_FEW_TEXTS = 8

# transformers swaps methods of its classes while it loads a model and puts back what it found: two loads at a
# time can leave the stand-ins for good, and every later model with weights that are not tied.
_ONE_LOAD = Lock()


class Embedder(Protocol):
    """Anything that turns texts into unit vectors; `name` says which one a router was fitted with."""

    @property
    def name(self) -> str: ...

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D) float32 with rows of unit norm. Called from any thread."""
        ...


@runtime_checkable
class ReadsWords(Protocol):
    """An embedder whose vectors end in what a text's words alone say, which it can also give by itself."""

    def encode_words(self, texts: list[str]) -> Embeddings:
        """(N, W) float32: the directions of the last W dimensions of `encode`, at a fraction of its cost.

        Called from any thread, the event loop's too: some tenths of a millisecond a text, and no waiting.
        """
        ...


def encode_words(embedder: Embedder, texts: list[str]) -> Embeddings:
    """(N, W) float32: what `embedder` gives of the words alone; W is 0 if it does not read them."""
    if isinstance(embedder, ReadsWords):
        return embedder.encode_words(texts)
    return np.zeros((len(texts), 0), np.float32)


def words_part(embeddings: Embeddings, size: int) -> Embeddings:
    """(N, D) -> (N, size): the last dimensions, of unit norm; zeros stay zeros."""
    words = embeddings[:, embeddings.shape[1] - size :]
    return np.asarray(words / np.maximum(np.linalg.norm(words, axis=1, keepdims=True), 1e-12), np.float32)


class SentenceTransformerEmbedder:
    """A sentence-transformers model: the packaged default by its name, a local folder, or a hub id.

    It runs on the CPU also where there is a GPU: the language model needs that memory.
    """

    def __init__(self, path_or_name: str | Path = DEFAULT_EMBEDDER) -> None:
        """Load the weights. Raises `RouterError` if there is no such model."""
        # Imported here: it brings torch and transformers, seconds that no one pays who only reads a decision.
        from sentence_transformers import SentenceTransformer
        from threadpoolctl import ThreadpoolController

        self.name = str(path_or_name)
        path = embedder_path() if self.name == DEFAULT_EMBEDDER else path_or_name
        try:
            with _ONE_LOAD:
                self._model = SentenceTransformer(
                    str(path), device="cpu", local_files_only=Path(path).is_dir()
                )
        except (OSError, ValueError) as error:
            raise RouterError(
                f"embedder {self.name!r} cannot be loaded ({error}); expected {DEFAULT_EMBEDDER}, "
                "a sentence-transformers folder, or a hub id with the hub reachable"
            ) from error
        self._lock = Lock()
        # OpenMP keeps this number per calling thread, so limiting it here changes nothing for the process.
        self._openmp = ThreadpoolController().select(user_api="openmp")

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D) float32, unit norm. Thread-safe, one call at a time."""
        # Fast tokenizers raise "Already borrowed" when two threads pad differently:
        # https://github.com/huggingface/tokenizers/issues/537
        with self._lock, self._openmp.limit(limits=1 if len(texts) <= _FEW_TEXTS else None):
            vectors = self._model.encode(
                texts, batch_size=_BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)
