"""Fitting a router: classifier, calibration on held-out folds, and what is reported of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from crma_router.classifier.calibration import balanced_quantile, fit_temperature, standardise
from crma_router.classifier.data import EmbeddedExamples
from crma_router.classifier.domain_classifier import (
    ENOUGH_NONE,
    DomainClassifier,
    FloatArray,
    Labels,
    LinearHead,
    OODDetector,
    none_log_odds,
)
from crma_router.classifier.model import FitReport, RouterModel
from crma_router.drift import reference_stats
from crma_router.encoders.base import Embedder, Embeddings
from crma_router.policy import ClassifierOutput, Policy, decide
from crma_router.roles.role_classifier import RoleClassifier

FOLDS = 4
ACCEPTANCE = 0.95
"""The share of the domains' held-out questions that count as inside."""

NEIGHBOUR_WEIGHT = 30.0
"""Of the mean cosine of the nearest examples, beside the regression's logits. This and the inverse
regularisation were chosen on the present sets of `crma-eval routing`, so their report flatters them a
little; the fresh questions were not looked at for it."""

_INVERSE_REGULARISATION = 3.0
_MOST_ROUNDS = 200
_UNFITTED = OODDetector(None, None, 0.0)


@dataclass(frozen=True)
class _HeldOut:
    """Of every row, by a classifier that was fitted without it: logits and closeness, both (N, C)."""

    logits: FloatArray
    closeness: FloatArray


def fit_model(
    examples: EmbeddedExamples, embedder: Embedder, roles: RoleClassifier, seed: int, acceptance: float
) -> RouterModel:
    """Fit on every row, calibrate on folds. A question and its variants lie in one fold."""
    # Threads add in any order, and the same questions must give the same bytes.
    with threadpool_limits(1):
        fitted = _fit(examples, None)
        held_out = _cross_validate(examples, fitted.head, seed)
    written = ~examples.rows.varied
    asked = examples.at(written)
    held_out = _HeldOut(held_out.logits[written], held_out.closeness[written])
    classifier, distances = _calibrate(fitted, held_out, asked, acceptance)
    outputs = classifier.weigh(held_out.logits, distances)
    decisions = [decide(one, Policy()) for one in outputs]
    return RouterModel(
        embedder.name,
        tuple(sorted(embedder.languages)),
        classifier,
        roles,
        Policy(),
        _report(asked, outputs, seed),
        reference_stats(decisions),
    )


def fit_head(vectors: Embeddings, labels: Labels, *, has_none: bool, start: LinearHead | None) -> LinearHead:
    """Multinomial logistic regression in which every class weighs the same; `start` spares rounds."""
    from sklearn.linear_model import LogisticRegression  # a second's import, which routing does not need

    classes = np.unique(labels)
    if len(classes) == 1:  # a single domain and nothing to tell it from: the distance alone decides
        return LinearHead(np.zeros((1, vectors.shape[1]), np.float32), np.zeros(1, np.float32), has_none)
    model = LogisticRegression(
        C=_INVERSE_REGULARISATION,
        class_weight="balanced",
        max_iter=_MOST_ROUNDS,
        warm_start=start is not None,
    )
    if start is not None and len(classes) > 2:
        model.coef_, model.intercept_ = start.weight[classes].copy(), start.bias[classes].copy()
        model.classes_ = classes
    model.fit(vectors, labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # of two classes scikit-learn keeps one row, the second's against the first
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
    return LinearHead(weight.astype(np.float32, order="C"), bias.astype(np.float32), has_none)


def _fit(examples: EmbeddedExamples, start: LinearHead | None) -> DomainClassifier:
    head = fit_head(examples.vectors, examples.labels, has_none=examples.has_none, start=start)
    weight = NEIGHBOUR_WEIGHT if len(head.bias) > 1 else 0.0
    return DomainClassifier(examples.domains, head, examples.rows, weight, 1.0, _UNFITTED)


def _cross_validate(examples: EmbeddedExamples, start: LinearHead, seed: int) -> _HeldOut:
    """Folds start from the weights of all rows: the problem is convex, so they end where they would
    anyway."""
    shape = (len(examples.labels), len(start.bias))
    held_out = _HeldOut(np.empty(shape, np.float32), np.empty(shape, np.float32))
    vectors = examples.vectors
    for fitted, held in _folds(examples, seed):
        fold = _fit(examples.at(fitted), start)
        held_out.logits[held], held_out.closeness[held] = fold.logits(vectors[held])
    return held_out


def _folds(examples: EmbeddedExamples, seed: int) -> Iterator[tuple[Labels, Labels]]:
    """(fitted, held out) rows by index: the questions of each class spread evenly, each with its variants."""
    chance = np.random.default_rng(seed)
    rows = examples.rows
    fold_of = np.zeros(int(rows.originals.max()) + 1, np.int64)
    for label in np.unique(rows.labels):
        own = rows.originals[(rows.labels == label) & ~rows.varied]
        fold_of[chance.permutation(own)] = np.arange(len(own)) % FOLDS
    for fold in range(FOLDS):
        held = fold_of[rows.originals] == fold
        yield np.flatnonzero(~held), np.flatnonzero(held)


def _calibrate(
    fitted: DomainClassifier, held_out: _HeldOut, examples: EmbeddedExamples, acceptance: float
) -> tuple[DomainClassifier, FloatArray]:
    """The classifier with temperature and threshold, and the distance of every held-out row."""
    inside, own = examples.inside, examples.labels[examples.inside]
    logits, closeness = held_out.logits, held_out.closeness
    domains = len(examples.domains)
    temperature = fit_temperature(logits[inside, :domains], own)
    log_odds = standardise(none_log_odds(logits[inside])) if examples.has_none else None
    unlikeness = None
    if examples.count(domains) < ENOUGH_NONE:
        unlikeness = standardise(1 - closeness[inside, :domains].max(axis=1))
    detector = OODDetector(unlikeness, log_odds, 0.0)
    distances = detector.distance(logits, closeness)
    threshold = balanced_quantile(distances[inside], own, acceptance)
    classifier = replace(fitted, temperature=temperature, ood=replace(detector, threshold=threshold))
    return classifier, distances


def _report(examples: EmbeddedExamples, outputs: list[ClassifierOutput], seed: int) -> FitReport:
    names = [*examples.domains, None]
    decided = [decide(one, Policy()).domain for one in outputs]
    right = np.array([one == names[label] for one, label in zip(decided, examples.labels, strict=True)])

    def share(label: int) -> float:
        return round(float(right[examples.labels == label].mean()), 4)

    return FitReport(
        seed=seed,
        examples={name: examples.count(label) for label, name in enumerate(examples.domains)},
        out_of_domain=examples.count(len(examples.domains)),
        routed={name: share(label) for label, name in enumerate(examples.domains)},
        fallback=share(len(examples.domains)) if examples.has_none else None,
    )
