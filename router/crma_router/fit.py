"""Fitting a router from example questions.

Owns: the order of fitting, and what is measured on held-out folds. Knows nothing of texts or of files.
"""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from crma_router.calibrate import balanced_quantile, fit_temperature, standardise
from crma_router.examples import EmbeddedExamples
from crma_router.linear import FloatArray, LinearHead, outside_log_odds
from crma_router.mahalanobis import Mahalanobis, fit_mahalanobis
from crma_router.model import FitReport, Judge, RouterModel
from crma_router.outside import Outside
from crma_router.policy import Policy, RoutingDecision, decide
from crma_router.usual import usual_of

ACCEPTANCE = 0.95  # the share of the domains' held-out questions that must count as inside
FOLDS = 5

_INVERSE_REGULARISATION = 10.0  # the demo data does not tell 1 from 100


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """What is said of every row by parts fitted without it: logits (N, C), Mahalanobis distances (N,)."""

    logits: FloatArray
    distances: FloatArray


def fit_model(examples: EmbeddedExamples, embedder: str, seed: int) -> RouterModel:
    """Fit on all rows, calibrate on held-out folds. `embedder` is the name of the one that embedded them."""
    held_out = _cross_validate(examples, seed)
    head, mahalanobis = _fit_parts(examples)
    logits = head.domain_logits(held_out.logits)[examples.inside]
    head = replace(head, temperature=fit_temperature(logits, examples.labels[examples.inside]))
    judge = Judge(examples.domains, head, _calibrate_outside(mahalanobis, held_out, examples))
    policy = Policy()
    decisions = [decide(one, policy) for one in judge.weigh(held_out.logits, held_out.distances)]
    return RouterModel(embedder, judge, policy, _report(examples, decisions, seed), usual_of(decisions))


def _cross_validate(examples: EmbeddedExamples, seed: int) -> _HeldOut:
    classes = len(examples.domains) + examples.has_outside
    logits = np.empty((len(examples.labels), classes), np.float32)
    distances = np.empty(len(examples.labels), np.float32)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for fitted, held in folds.split(examples.embeddings, examples.labels):
        head, mahalanobis = _fit_parts(examples.at(fitted))
        logits[held] = head.logits(examples.embeddings[held])
        distances[held] = mahalanobis.distance(examples.embeddings[held])
    return _HeldOut(logits, distances)


def _fit_parts(examples: EmbeddedExamples) -> tuple[LinearHead, Mahalanobis]:
    inside = examples.at(examples.inside)
    return _fit_head(examples), fit_mahalanobis(inside.embeddings, inside.labels)


def _fit_head(examples: EmbeddedExamples) -> LinearHead:
    """Multinomial logistic regression in which every class weighs the same; temperature 1."""
    classes, size = len(examples.domains) + examples.has_outside, examples.embeddings.shape[1]
    if classes == 1:  # a single domain and nothing to tell it from: the distance alone decides
        return LinearHead(np.zeros((1, size), np.float32), np.zeros(1, np.float32), 1.0, False)
    fitted = LogisticRegression(C=_INVERSE_REGULARISATION, class_weight="balanced", max_iter=2000)
    fitted.fit(examples.embeddings, examples.labels)
    weight, bias = fitted.coef_, fitted.intercept_
    if classes == 2:  # scikit-learn keeps one row, the second class's against the first
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([[0.0], bias])
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32), 1.0, examples.has_outside)


def _calibrate_outside(mahalanobis: Mahalanobis, held_out: _HeldOut, examples: EmbeddedExamples) -> Outside:
    inside = examples.inside
    logits, distances = held_out.logits[inside], held_out.distances[inside]
    log_odds = standardise(outside_log_odds(logits)) if examples.has_outside else None
    unlimited = Outside(mahalanobis, standardise(distances), log_odds, threshold=0.0)
    joined = unlimited.join(distances, logits)
    return replace(unlimited, threshold=balanced_quantile(joined, examples.labels[inside], ACCEPTANCE))


def _report(examples: EmbeddedExamples, decisions: list[RoutingDecision], seed: int) -> FitReport:
    chosen = [decision.domain for decision in decisions]
    wanted = [*examples.domains, None]

    def share(label: int) -> float:
        hits = [
            domain == wanted[label]
            for domain, own in zip(chosen, examples.labels, strict=True)
            if own == label
        ]
        return round(sum(hits) / len(hits), 4)

    return FitReport(
        seed=seed,
        examples={name: examples.count(label) for label, name in enumerate(examples.domains)},
        out_of_domain=examples.count(len(examples.domains)),
        routed={name: share(label) for label, name in enumerate(examples.domains)},
        fallback=share(len(examples.domains)) if examples.has_outside else None,
    )
