"""Which of its examples a text is most like.

Owns: the examples' embeddings, which are computed once for each version of a router and kept in the cache.
Knows nothing of decisions.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from crma_adapters.models.cache import cache_dir, make_once
from crma_router.classifier.kept_examples import load_examples
from crma_router.encoders.sentence_transformers import Embedder, Embeddings

_FILE = "examples.safetensors"


@dataclass(frozen=True)
class Neighbour:
    """An example, the domain it belongs to (None: none) and its cosine similarity."""

    text: str
    domain: str | None
    similarity: float


def nearest_examples(folder: Path, embedder: Embedder, text: str, count: int) -> list[Neighbour]:
    """The `count` examples of the router in `folder` that are most like `text`, the nearest first.

    Raises `RouterError` if the router's examples were not kept.
    """
    data = load_examples(folder)
    rows: list[tuple[str, str | None]] = [(t, name) for name, texts in data.examples.items() for t in texts]
    rows += [(example, None) for example in data.out_of_domain]
    similarities = (
        _embeddings(folder.name, embedder, [example for example, _ in rows]) @ embedder.encode([text])[0]
    )
    order = np.argsort(-similarities, kind="stable")[:count]
    return [Neighbour(rows[at][0], rows[at][1], float(similarities[at])) for at in order]


def _embeddings(version: str, embedder: Embedder, texts: list[str]) -> Embeddings:
    def fill(folder: Path) -> None:
        save_file({"embeddings": embedder.encode(texts).astype(np.float16)}, folder / _FILE)

    kept = make_once(cache_dir("router", version), fill)
    return load_file(kept / _FILE)["embeddings"].astype(np.float32)
