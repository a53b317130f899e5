"""The packaged encoders that peers are put on."""

import numpy as np

from crma_router.encoders.base import MINILM_NAME, USE_NAME, Embedder, Embeddings, open_embedder


class MemorisingEncoder:
    """Texts encoded before are not encoded again: peers share an encoder's vectors."""

    def __init__(self, encoder: Embedder) -> None:
        self.name, self.languages = encoder.name, encoder.languages
        self._encoder = encoder
        self._known: dict[str, Embeddings] = {}

    def encode(self, texts: list[str]) -> Embeddings:
        """(N, D) float32, unit norm."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), 256):
            batch = new[start : start + 256]
            self._known.update(zip(batch, self._encoder.encode(batch), strict=True))
        return np.stack([self._known[text] for text in texts])


def encoders() -> dict[str, MemorisingEncoder]:
    """MiniLM (English) and the multilingual USE."""
    return {
        "MiniLM": MemorisingEncoder(open_embedder(MINILM_NAME)),
        "USE": MemorisingEncoder(open_embedder(USE_NAME)),
    }
