"""Ways to read how far outside a text is, all fitted on the same rows.

Owns: the readings that the router's was chosen from. Knows nothing of sets.
"""

from collections.abc import Callable

import numpy as np

from crma_router.embedder import Embeddings
from crma_router.examples import EmbeddedExamples
from crma_router.fit_head import fit_head
from crma_router.linear import FloatArray, Labels, outside_log_odds, softmax
from crma_router.mahalanobis import fit_mahalanobis

Reader = Callable[[Embeddings], FloatArray]
"""(N, D) -> (N,): higher is farther."""

_NEIGHBOUR = 5


def fit_readers(embeddings: Embeddings, labels: Labels, usual: Embeddings) -> dict[str, Reader]:
    """By name. `usual` are texts inside that nothing was fitted on: means of readings are of their
    deviations."""
    classes = int(labels.max())
    inside = embeddings[labels < classes]
    examples = EmbeddedExamples(
        tuple(map(str, range(classes))),
        labels,
        embeddings,
        np.arange(len(labels)),
        np.zeros(len(labels), bool),
    )
    head, mahalanobis = fit_head(examples, 0), fit_mahalanobis(inside, labels[labels < classes])

    def energy(given: Embeddings) -> FloatArray:
        logits = head.domain_logits(head.logits(given))
        return np.asarray(-np.logaddexp.reduce(logits, axis=1), dtype=np.float32)

    def neighbour(given: Embeddings) -> FloatArray:
        nearest: FloatArray = -np.partition(given @ inside.T, -_NEIGHBOUR, axis=1)[:, -_NEIGHBOUR]
        return nearest

    def odds(given: Embeddings) -> FloatArray:
        return outside_log_odds(head.logits(given))

    return {
        "max-softmax": lambda given: -softmax(head.domain_logits(head.logits(given))).max(axis=1),
        "energy": energy,
        "Mahalanobis, shared covariance": mahalanobis.distance,
        "5th nearest neighbour": neighbour,
        'log-odds of "none of them"': odds,
        "mean of Mahalanobis and log-odds": _mean(usual, mahalanobis.distance, odds),
        "mean of 5th neighbour and log-odds": _mean(usual, neighbour, odds),
    }


def _mean(usual: Embeddings, *readers: Reader) -> Reader:
    scales = [(reader(usual).mean(), reader(usual).std()) for reader in readers]

    def read(given: Embeddings) -> FloatArray:
        parts = [
            (reader(given) - mean) / deviation
            for reader, (mean, deviation) in zip(readers, scales, strict=True)
        ]
        return np.asarray(np.mean(parts, axis=0), dtype=np.float32)

    return read
