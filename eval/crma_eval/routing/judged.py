"""A set and what a router decided on its texts: accuracy, calibration, what it takes for its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from crma_eval.routing.sets.held_out import EvalSet
from crma_router.policy import RoutingDecision

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


FALLBACK = "fallback"


class Routes(Protocol):
    """The router, as far as it is needed here."""

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        """A decision for each text."""
        ...


@dataclass(frozen=True)
class JudgedSet:
    """A set and what the router decided on each of its texts."""

    questions: EvalSet
    decisions: tuple[RoutingDecision, ...]

    @property
    def name(self) -> str:
        return self.questions.name

    @cached_property
    def leaders(self) -> list[str]:
        """The leading domain of each text, whether it was followed or not."""
        return [max(one.scores, key=one.scores.__getitem__) for one in self.decisions]

    @cached_property
    def right(self) -> Bools:
        """(N,): where the leading domain is the right one."""
        return np.array([a == b for a, b in zip(self.leaders, self.questions.labels, strict=True)])

    @cached_property
    def confidence(self) -> Floats:
        return np.array([one.confidence for one in self.decisions])

    @cached_property
    def distance(self) -> Floats:
        return np.array([one.ood_distance for one in self.decisions])

    @property
    def chosen(self) -> list[str | None]:
        return [one.domain for one in self.decisions]

    def confusion(self) -> dict[str, dict[str, int]]:
        """By label, how many were sent to each domain and how many fell back."""
        found: dict[str, Counter[str]] = {}
        for label, domain in zip(self.questions.labels, self.chosen, strict=True):
            found.setdefault(label, Counter())[domain or FALLBACK] += 1
        return {label: dict(sorted(counts.items())) for label, counts in found.items()}


@dataclass(frozen=True)
class InsideFigures:
    """Of a set whose texts are all of a domain. Shares of 1.

    top1, macro_f1: of the leading domain. routed_f1: macro-F1 with fallback counted as a miss. wrong: sent
    to a wrong domain. coverage: sent to any. ece: of the confidence. risk80: wrong among the surest 80%.
    """

    rows: int
    top1: float
    macro_f1: float
    routed_f1: float
    wrong: float
    coverage: float
    ece: float
    risk80: float


@dataclass(frozen=True)
class OutsideFigures:
    """Of a set whose texts are of no domain, against the in-domain set. fallback: left to the backbone."""

    rows: int
    auroc: float
    fpr95: float
    fallback: float
    fields: dict[str, float]


def judge(router: Routes, sets: Sequence[EvalSet]) -> list[JudgedSet]:
    """Every set routed, each in one go."""
    return [JudgedSet(one, tuple(router.route_many(one.texts))) for one in sets]


def inside_figures(judged: JudgedSet) -> InsideFigures:
    """Of an inside set."""
    labels, chosen = judged.questions.labels, judged.chosen
    routed = sum(domain is not None for domain in chosen)
    hits = sum(domain == label for domain, label in zip(chosen, labels, strict=True))
    return InsideFigures(
        rows=len(labels),
        top1=float(judged.right.mean()),
        macro_f1=macro_f1(labels, judged.leaders),
        routed_f1=macro_f1(labels, chosen),
        wrong=(routed - hits) / len(labels),
        coverage=routed / len(labels),
        ece=calibration_error(judged.confidence, judged.right),
        risk80=risk_at(judged.confidence, judged.right, 0.8),
    )


def outside_figures(judged: JudgedSet, inside: JudgedSet) -> OutsideFigures:
    """Of an outside set, `inside` being the in-domain one; fields are AUROCs, by field of the questions."""
    fields = np.array([question.field for question in judged.questions.questions])
    return OutsideFigures(
        rows=len(fields),
        auroc=auroc(inside.distance, judged.distance),
        fpr95=false_positive_rate(inside.distance, judged.distance),
        fallback=float(np.mean([domain is None for domain in judged.chosen])),
        fields={
            str(field): auroc(inside.distance, judged.distance[fields == field])
            for field in np.unique(fields)
            if field
        },
    )
