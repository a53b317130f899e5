"""Fitting the domain classifier.

Owns: prototypes and weights, and the numbers that decide how they are fitted. Knows nothing of folds, of
calibration or of texts.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from crma_router.classifier.data import EmbeddedExamples
from crma_router.classifier.head import FloatArray, Labels, LinearHead, Prototypes
from crma_router.encoders.sentence_transformers import Embeddings

PROTOTYPES = 150
"""Of each class at most, and of every two examples one: 230 KB a domain for 768 dimensions."""

SHARPNESS = 6.0
NEAREST = 40.0  # chosen on the training side of the demo data, as is the rest: docs/router.md
_INVERSE_REGULARISATION = 0.02
_STARTS = 4  # of k-means, of which the best is kept: a fit hangs less on its seed
_ROUNDS = 20  # of each
_LEAST_DEVIATION = 1e-6


def fit_head(examples: EmbeddedExamples, seed: int) -> LinearHead:
    """Prototypes of every class by k-means, then multinomial logistic regression on the standardised
    likenesses, in which every class weighs the same; temperature 1."""
    classes = len(examples.domains) + examples.has_outside
    if classes == 1:  # a single domain and nothing to tell it from: the distance alone decides
        size = examples.embeddings.shape[1]
        return LinearHead(np.zeros((1, size), np.float32), np.zeros(1, np.float32), 1.0, False)
    # Routing does not need them. Imported before the limit, which holds for libraries loaded by then.
    import sklearn.cluster
    import sklearn.linear_model  # noqa: F401

    # Threads add in any order, and the same questions must give the same bytes; two are slower than one, too.
    with threadpool_limits(1):
        centres = _centres(examples.embeddings, examples.labels, seed)
        counts = tuple(map(len, centres))
        prototypes = Prototypes(np.concatenate(centres), SHARPNESS, counts, NEAREST)
        likeness = prototypes.likeness(prototypes.cosines(examples.embeddings))
        weight, bias = _weights(likeness, examples.labels)
    return LinearHead(weight, bias, 1.0, examples.has_outside, prototypes)


def _centres(embeddings: Embeddings, labels: Labels, seed: int) -> list[FloatArray]:
    """Those of each class, as they are kept: a loaded router decides as the fitted one."""
    from sklearn.cluster import KMeans

    found: list[FloatArray] = []
    for label in range(int(labels.max()) + 1):
        own = embeddings[labels == label]
        count = min(PROTOTYPES, (len(np.unique(own, axis=0)) + 1) // 2)
        k_means = KMeans(count, n_init=_STARTS, max_iter=_ROUNDS, random_state=seed)
        means = k_means.fit(own).cluster_centers_
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        found.append(means.astype(np.float16).astype(np.float32))
    return found


def _weights(features: FloatArray, labels: Labels) -> tuple[FloatArray, FloatArray]:
    """(C, P) and (C,), for the likenesses as they are."""
    from sklearn.linear_model import LogisticRegression

    usual, deviation = features.mean(axis=0), features.std(axis=0) + _LEAST_DEVIATION
    fitted = LogisticRegression(C=_INVERSE_REGULARISATION, class_weight="balanced", max_iter=2000)
    fitted.fit((features - usual) / deviation, labels)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(weight) == 1:  # of two classes scikit-learn keeps one row, the second's against the first
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
    weight = weight / deviation
    # In C order, as they are loaded: products of numbers that lie in another order differ in the last bits.
    return weight.astype(np.float32, order="C"), (bias - weight @ usual).astype(np.float32)
