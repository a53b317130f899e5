"""From the name in a fitted router to its embedder.

Owns: which kind of embedder a name means. Knows nothing of how one works.
"""

from crma_router.encoders.onnx import Int8Embedder
from crma_router.encoders.sentence_transformers import Embedder, SentenceTransformerEmbedder


def open_embedder(name: str) -> Embedder:
    """`all-MiniLM-L6-v2/int8/32/16+words` (precision, tokens), else a sentence-transformers model.

    Raises:
        RouterError: there is no such model, or what it runs on is not installed.
    """
    return Int8Embedder.named(name) or SentenceTransformerEmbedder(name)
