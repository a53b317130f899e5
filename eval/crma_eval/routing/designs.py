"""The designs a router can have, behind one interface, the simplest first.

Owns: fitting each on embeddings. Knows nothing of texts, sets or figures. Each answers with logits over the
domains and one reading of how far outside a text is; none needs more than numpy once it is fitted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from crma_router.embedder import Embeddings
from crma_router.examples import EmbeddedExamples
from crma_router.fit_head import fit_head
from crma_router.linear import FloatArray, Labels, LinearHead, outside_log_odds

NEIGHBOURS = 15
HIDDEN = 64
_SHARPNESS = 20.0  # of a cosine, as a logit
_LEAST = 1e-6  # a probability of nothing


@dataclass(frozen=True, eq=False)
class Readings:
    """domains (N, K): logits. outside (N,): higher is farther."""

    domains: FloatArray
    outside: FloatArray


Judge = Callable[[Embeddings], Readings]
Fit = Callable[[Embeddings, Labels, int], Judge]
"""Embeddings (N, D), labels (N,) whose last class is "none of them", and a seed -> a judge."""


def centroid(embeddings: Embeddings, labels: Labels, _seed: int) -> Judge:
    """Nearest class mean by cosine (Rocchio)."""
    means = np.stack([embeddings[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return lambda given: _readings(_SHARPNESS * given @ means.T)


def logistic(embeddings: Embeddings, labels: Labels, _seed: int) -> Judge:
    """One multinomial logistic regression, "none of them" being one of its classes."""
    joint = _logistic(embeddings, labels)
    return lambda given: _readings(joint(given))


def svm(embeddings: Embeddings, labels: Labels, seed: int) -> Judge:
    """Linear SVM, its margins calibrated by a sigmoid on three folds (Platt 1999)."""
    margin = LinearSVC(C=1.0, class_weight="balanced", random_state=seed)
    fitted = CalibratedClassifierCV(margin, cv=3).fit(embeddings, labels)
    return lambda given: _readings(_logs(fitted.predict_proba(given)))


def mlp(embeddings: Embeddings, labels: Labels, seed: int) -> Judge:
    """One hidden layer of 64 units, stopped early on a tenth of the rows."""
    fitted = MLPClassifier(
        (HIDDEN,), alpha=1e-3, learning_rate_init=3e-3, early_stopping=True, max_iter=60, random_state=seed
    ).fit(embeddings, labels)
    return lambda given: _readings(_logs(fitted.predict_proba(given)))


def prototypes(embeddings: Embeddings, labels: Labels, seed: int) -> Judge:
    """Logistic regression on likenesses to 150 prototypes of each class."""
    head = _head(embeddings, labels, seed)
    assert head.prototypes is not None
    alone = replace(head, prototypes=replace(head.prototypes, nearest=0.0))
    return lambda given: _readings(alone.logits(given))


def both(embeddings: Embeddings, labels: Labels, seed: int) -> Judge:
    """That and the three nearest prototypes of each class (crma_router.fit_head)."""
    head = _head(embeddings, labels, seed)
    return lambda given: _readings(head.logits(given))


def nearest(embeddings: Embeddings, labels: Labels, _seed: int) -> Judge:
    """Votes of the 15 nearest examples, weighted by similarity and by the rarity of their class."""
    rarity = 1.0 / np.bincount(labels)

    def judge(given: Embeddings) -> Readings:
        similar = given @ embeddings.T
        best = np.argpartition(-similar, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        weights = np.maximum(np.take_along_axis(similar, best, axis=1), 0) ** 4 * rarity[labels[best]]
        votes = np.stack(
            [(weights * (labels[best] == c)).sum(axis=1) for c in range(labels.max() + 1)], axis=1
        )
        return _readings(_logs(votes / np.maximum(votes.sum(axis=1, keepdims=True), _LEAST)))

    return judge


def retrieval(embeddings: Embeddings, labels: Labels, _seed: int) -> Judge:
    """The most similar example of each class."""

    def judge(given: Embeddings) -> Readings:
        best = [(given @ embeddings[labels == c].T).max(axis=1) for c in range(labels.max() + 1)]
        return _readings(_SHARPNESS * np.stack(best, axis=1))

    return judge


DESIGNS: dict[str, Fit] = {
    "centroid": centroid,
    "logistic regression": logistic,
    "linear SVM, calibrated": svm,
    "MLP": mlp,
    "logistic regression on prototypes": prototypes,
    "the same and the nearest prototypes": both,
    "15 nearest neighbours": nearest,
    "retrieval of the nearest example": retrieval,
}
"""By name, from the simplest to what keeps every example."""


def _head(embeddings: Embeddings, labels: Labels, seed: int) -> LinearHead:
    names = tuple(map(str, range(labels.max())))
    rows = np.arange(len(labels))
    return fit_head(EmbeddedExamples(names, labels, embeddings, rows, np.zeros(len(labels), bool)), seed)


def _logistic(embeddings: Embeddings, labels: Labels) -> Callable[[Embeddings], Any]:
    fitted = LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000).fit(embeddings, labels)
    weight, bias = fitted.coef_.astype(np.float32), fitted.intercept_.astype(np.float32)
    return lambda given: given @ weight.T + bias


def _readings(logits: Any) -> Readings:
    given = _floats(logits)
    return Readings(given[:, :-1], outside_log_odds(given))


def _logs(shares: Any) -> FloatArray:
    return _floats(np.log(np.maximum(shares, _LEAST)))


def _floats(values: Any) -> FloatArray:
    return np.asarray(values, dtype=np.float32)
