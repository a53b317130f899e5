"""Fitting a router from example questions.

Owns: the order of fitting, and what is measured on held-out folds. Knows nothing of texts or of files.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from crma_router.classifier.calibration import balanced_quantile, fit_temperature, standardise
from crma_router.classifier.data import EmbeddedExamples
from crma_router.classifier.domain_classifier import Judge
from crma_router.classifier.first_reading import FEWEST_OUTSIDE, FirstReading, least_sure
from crma_router.classifier.fit_head import fit_head
from crma_router.classifier.head import FloatArray, Labels, LinearHead, outside_log_odds
from crma_router.classifier.mahalanobis import Mahalanobis, fit_mahalanobis
from crma_router.classifier.model import FitReport, RouterModel
from crma_router.classifier.ood import Outside, Unlikeness
from crma_router.drift import usual_of
from crma_router.policy import Evidence, Policy, RoutingDecision, decide

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
    """Fit on all rows, calibrate on held-out questions. `embedder`: the name of what embedded them."""
    judge, whole = _fit_judge(examples, seed, acceptance)
    first, evidence = _fit_first(examples, whole, seed, acceptance)
    policy = Policy()
    decisions = [decide(one, policy) for one in evidence]
    report = _report(examples.at(~examples.varied), evidence, decisions, seed)
    return RouterModel(embedder, judge, policy, report, usual_of(decisions), first)


def _fit_judge(examples: EmbeddedExamples, seed: int, acceptance: float) -> tuple[Judge, list[Evidence]]:
    """The judge, and what judges fitted without it say of each question as it was given.

    A question and its variants lie in one fold, and only the questions as they were given are calibrated on.
    """
    held_out, head, mahalanobis = _cross_validate(examples, seed), *_fit_parts(examples, seed)
    written = ~examples.varied
    examples, held_out = examples.at(written), held_out.at(written)
    logits = head.domain_logits(held_out.logits)[examples.inside]
    head = replace(head, temperature=fit_temperature(logits, examples.labels[examples.inside]))
    outside, distances = _calibrate_outside(mahalanobis, held_out, examples, acceptance)
    judge = Judge(examples.domains, head, outside)
    return judge, judge.weigh(held_out.logits, distances)


def _fit_first(
    examples: EmbeddedExamples, whole: list[Evidence], seed: int, acceptance: float
) -> tuple[FirstReading | None, list[Evidence]]:
    """What the words alone may decide, and the evidence of each question as given, theirs where they do."""
    if not examples.words_size or examples.count(len(examples.domains)) < FEWEST_OUTSIDE:
        return None, whole
    judge, words = _fit_judge(examples.of_words(), seed, acceptance)
    sent = [decide(one, Policy()).domain for one in whole]
    sure_from = least_sure(words, sent, _wanted(examples.at(~examples.varied)))
    if sure_from is None:
        return None, whole
    first = FirstReading(judge, sure_from)
    return first, [
        first.followed(one, other.ood_threshold) or other for one, other in zip(words, whole, strict=True)
    ]


def _cross_validate(examples: EmbeddedExamples, seed: int) -> _HeldOut:
    classes = len(examples.domains) + examples.has_outside
    logits = np.empty((len(examples.labels), classes), np.float32)
    distances = np.empty(len(examples.labels), np.float32)
    # Routing does not need them. Before the limit, which holds for what is loaded by then, and the threads.
    import sklearn.cluster
    import sklearn.covariance
    import sklearn.linear_model  # noqa: F401

    folds = list(_folds(examples, seed))
    # A fold a core. Within this limit the folds' own limits end in any order without lifting one another's.
    with threadpool_limits(1), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        parts = list(threads.map(lambda fold: _fit_parts(examples.at(fold[0]), seed), folds))
    for (_, held), (head, mahalanobis) in zip(folds, parts, strict=True):
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


def _wanted(examples: EmbeddedExamples) -> list[str | None]:
    """Where each row belongs."""
    names = [*examples.domains, None]
    return [names[label] for label in examples.labels]


def _report(
    examples: EmbeddedExamples, evidence: list[Evidence], decisions: list[RoutingDecision], seed: int
) -> FitReport:
    right = np.array([one.domain == own for one, own in zip(decisions, _wanted(examples), strict=True)])
    by_words = np.array([one.by_words for one in evidence])

    def share(label: int) -> float:
        return round(float(right[examples.labels == label].mean()), 4)

    return FitReport(
        seed=seed,
        examples={name: examples.count(label) for label, name in enumerate(examples.domains)},
        out_of_domain=examples.count(len(examples.domains)),
        routed={name: share(label) for label, name in enumerate(examples.domains)},
        fallback=share(len(examples.domains)) if examples.has_outside else None,
        by_words=round(float(by_words[examples.inside].mean()), 4),
    )
