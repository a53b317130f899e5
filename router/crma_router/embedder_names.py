"""From the name in a fitted router to its embedder.

Owns: which kind of embedder a name means. Knows nothing of how one works.
"""

from crma_router.embedder import Embedder, SentenceTransformerEmbedder
from crma_router.embedder_int8 import Int8Embedder


def open_embedder(name: str) -> Embedder:
    """`all-MiniLM-L6-v2/int8/32/16+words` (precision, tokens), else a sentence-transformers model.

    Raises:
        RouterError: there is no such model, or what it runs on is not installed.
    """
    return Int8Embedder.named(name) or SentenceTransformerEmbedder(name)
