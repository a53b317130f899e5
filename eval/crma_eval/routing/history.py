"""A conversation as one vector, each turn weighing half of the next.

Owns: the weights. Knows nothing of embedders or routers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from crma_eval.routing.sets import EvalSet
from crma_router.embedder import Embeddings

FADING = 0.5


def weighted(conversations: EvalSet, encode: Callable[[Sequence[str]], Embeddings]) -> Embeddings:
    """(N, D) unit rows: the last turn weighs 1, the one before 1/2, and so on."""
    turns = [question.turns for question in conversations.questions]
    vectors = iter(encode([turn for own in turns for turn in own]))
    found = []
    for own in turns:
        weights = FADING ** np.arange(len(own) - 1, -1, -1)
        summed = sum(weight * next(vectors) for weight in weights)
        found.append(summed / np.linalg.norm(summed))
    return np.asarray(found, dtype=np.float32)
