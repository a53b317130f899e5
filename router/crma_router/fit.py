"""Fitting a router from example questions.

Owns: the order of fitting, and what is measured on held-out folds. Knows nothing of texts or of files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crma_router.calibrate import balanced_quantile, fit_temperature, standardise
from crma_router.examples import EmbeddedExamples
from crma_router.fit_head import fit_head
from crma_router.linear import FloatArray, Labels, LinearHead, outside_log_odds
from crma_router.mahalanobis import Mahalanobis, fit_mahalanobis
from crma_router.model import FitReport, Judge, RouterModel
from crma_router.outside import Outside, Unlikeness
from crma_router.policy import Policy, RoutingDecision, decide
from crma_router.usual import usual_of

ACCEPTANCE = 0.95  # the share of the domains' held-out questions that must count as inside
FOLDS = 5
ENOUGH_OUTSIDE = 500  # out-of-domain examples, from which on their likeness alone says what is outside


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """What is said of every row by parts fitted without it: logits (N, C), Mahalanobis distances (N,)."""

    logits: FloatArray
    distances: FloatArray

    def at(self, rows: npt.NDArray[np.bool_]) -> "_HeldOut":
        return _HeldOut(self.logits[rows], self.distances[rows])


def fit_model(
    examples: EmbeddedExamples, embedder: str, seed: int, acceptance: float = ACCEPTANCE
) -> RouterModel:
    """Fit on all rows, calibrate on held-out questions. `embedder` is the name of the one that embedded them.

    A question and its variants lie in one fold, and only the questions as they were given are calibrated on.
    """
    held_out, head, mahalanobis = _cross_validate(examples, seed), *_fit_parts(examples, seed)
    written = ~examples.varied
    examples, held_out = examples.at(written), held_out.at(written)
    logits = head.domain_logits(held_out.logits)[examples.inside]
    head = replace(head, temperature=fit_temperature(logits, examples.labels[examples.inside]))
    outside, distances = _calibrate_outside(mahalanobis, held_out, examples, acceptance)
    judge, policy = Judge(examples.domains, head, outside), Policy()
    decisions = [decide(one, policy) for one in judge.weigh(held_out.logits, distances)]
    return RouterModel(embedder, judge, policy, _report(examples, decisions, seed), usual_of(decisions))


def _cross_validate(examples: EmbeddedExamples, seed: int) -> _HeldOut:
    classes = len(examples.domains) + examples.has_outside
    logits = np.empty((len(examples.labels), classes), np.float32)
    distances = np.empty(len(examples.labels), np.float32)
    for fitted, held in _folds(examples, seed):
        head, mahalanobis = _fit_parts(examples.at(fitted), seed)
        logits[held] = head.logits(examples.embeddings[held])
        distances[held] = mahalanobis.distance(examples.embeddings[held])
    return _HeldOut(logits, distances)


def _folds(examples: EmbeddedExamples, seed: int) -> Iterator[tuple[Labels, Labels]]:
    """(fitted, held out) rows by index: questions spread evenly by label, each with its variants."""
    from sklearn.model_selection import StratifiedKFold  # a second's import, which routing does not need

    questions = examples.labels[~examples.varied]  # in the order of their numbers in `origins`
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for _, held in folds.split(questions, questions):
        held_rows = np.isin(examples.origins, held)
        yield np.flatnonzero(~held_rows), np.flatnonzero(held_rows)


def _fit_parts(examples: EmbeddedExamples, seed: int) -> tuple[LinearHead, Mahalanobis]:
    inside = examples.at(examples.inside)
    return fit_head(examples, seed), fit_mahalanobis(inside.embeddings, inside.labels)


def _calibrate_outside(
    mahalanobis: Mahalanobis, held_out: _HeldOut, examples: EmbeddedExamples, acceptance: float
) -> tuple[Outside, FloatArray]:
    """The readings with their threshold, and what they say of every held-out row."""
    inside = examples.inside
    log_odds = standardise(outside_log_odds(held_out.logits[inside])) if examples.has_outside else None
    far = standardise(held_out.distances[inside])
    unlikeness = None
    if examples.count(len(examples.domains)) < ENOUGH_OUTSIDE:
        unlikeness = Unlikeness(mahalanobis, far)
    unlimited = Outside(unlikeness, log_odds, threshold=0.0)
    distances = unlimited.join(far.of(held_out.distances) if unlikeness else None, held_out.logits)
    threshold = balanced_quantile(distances[inside], examples.labels[inside], acceptance)
    return replace(unlimited, threshold=threshold), distances


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
