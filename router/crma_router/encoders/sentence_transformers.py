"""Any sentence-transformers model on the CPU, by torch or by the ONNX Runtime that the library drives."""

from pathlib import Path
from threading import Lock

import numpy as np

from crma_adapters.errors import RouterError
from crma_adapters.models.packaged import embedder_path
from crma_router.encoders.base import MINILM_NAME, USE_NAME, Embeddings, is_local

ONNX_PREFIX = "onnx:"
"""Before a model's name: run it by the library's ONNX backend, which takes what its `model.onnx` holds."""

_BATCH_SIZE = 64

# Up to this many texts take one thread: beside a busy engine the threads of an operation wait for each other
# (seen on 2 busy cores: 0.1 s for one question against 1.8 s).
_FEW_TEXTS = 32

# transformers swaps methods of its classes while it loads a model and puts back what it found: two loads at a
# time can leave the stand-ins for good, and every later model with weights that are not tied.
_ONE_LOAD = Lock()


class SentenceTransformerEmbedder:
    """A sentence-transformers model: the packaged MiniLM by its name, a local folder, or a hub id.

    It runs on the CPU also where there is a GPU: the language model needs that memory.
    """

    def __init__(self, path_or_name: str | Path = MINILM_NAME) -> None:
        """Load the weights. Raises `RouterError` if there is no such model."""
        # Imported here: it brings torch and transformers, seconds that no one pays who only reads a decision.
        from sentence_transformers import SentenceTransformer
        from threadpoolctl import ThreadpoolController

        self.name = str(path_or_name)
        self.languages: frozenset[str] = frozenset({"en"}) if self.name == MINILM_NAME else frozenset()
        bare = self.name.removeprefix(ONNX_PREFIX)
        path = embedder_path() if bare == MINILM_NAME else bare
        try:
            with _ONE_LOAD:
                self._model = SentenceTransformer(
                    str(path),
                    device="cpu",
                    local_files_only=is_local(path),
                    backend="onnx" if bare != self.name else "torch",
                )
        except (OSError, ValueError, ImportError) as error:
            raise RouterError(
                f"embedder {self.name!r} cannot be loaded ({error}); expected {USE_NAME}, {MINILM_NAME}, "
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
