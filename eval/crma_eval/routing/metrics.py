"""The figures of a classifier that may decline: accuracy, calibration, what it takes for its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

BINS = 15
TRUE_POSITIVES = 0.95


def macro_f1(wanted: Sequence[str], given: Sequence[str | None]) -> float:
    """Mean over the classes of `wanted` of F1 = 2 TP / (2 TP + FP + FN); None is no class."""
    scores = []
    for name in sorted(set(wanted)):
        hits = sum(w == name == g for w, g in zip(wanted, given, strict=True))
        scores.append(2 * hits / (sum(w == name for w in wanted) + sum(g == name for g in given)))
    return float(np.mean(scores))


@dataclass(frozen=True)
class Bin:
    """Decisions of similar confidence: how many, their mean confidence and the share that is right."""

    count: int
    confidence: float
    accuracy: float


def reliability(confidence: Floats, right: Bools, bins: int = BINS) -> list[Bin]:
    """Equal-mass bins of (N,) confidences, least first (Nguyen and O'Connor 2015, arXiv 1508.05154)."""
    order = np.argsort(confidence, kind="stable")
    return [
        Bin(len(rows), float(confidence[rows].mean()), float(right[rows].mean()))
        for rows in np.array_split(order, min(bins, len(order)))
    ]


def calibration_error(confidence: Floats, right: Bools, bins: int = BINS) -> float:
    """Expected calibration error: the bins' |confidence - accuracy|, weighted by their counts."""
    found = reliability(confidence, right, bins)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in found) / len(confidence)


def auroc(inside: Floats, outside: Floats) -> float:
    """How often a text outside (M,) reads as farther than one inside (N,); ties count half (Mann and
    Whitney). 1 if there is none outside."""
    if not len(outside):
        return 1.0
    ordered = np.sort(inside)
    below = np.searchsorted(ordered, outside, side="left")
    ties = np.searchsorted(ordered, outside, side="right") - below
    return float((below + ties / 2).mean() / len(inside))


def false_positive_rate(inside: Floats, outside: Floats, share: float = TRUE_POSITIVES) -> float:
    """FPR@TPR: the share of (M,) texts outside that read as near as the nearest `share` of the (N,)
    inside. 0 if there is none outside."""
    if not len(outside):
        return 0.0
    limit = np.quantile(inside, share, method="inverted_cdf")
    return float((outside <= limit).mean())


def risk_coverage(confidence: Floats, right: Bools) -> tuple[Floats, Floats]:
    """(N,) coverages and (N,) risks: of the surest n texts, for n = 1 ... N, the share that is wrong
    (El-Yaniv and Wiener 2010)."""
    order = np.argsort(-confidence, kind="stable")
    counts = np.arange(1, len(order) + 1)
    return counts / len(order), np.cumsum(~right[order]) / counts


def risk_at(confidence: Floats, right: Bools, coverage: float) -> float:
    """The risk at the least coverage that is `coverage` or more."""
    coverages, risks = risk_coverage(confidence, right)
    return float(risks[np.searchsorted(coverages, coverage - 1e-9)])
