"""What a router says of every set, and the figures that follow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from crma_eval.routing.metrics import (
    Bools,
    Floats,
    auroc,
    calibration_error,
    false_positive_rate,
    macro_f1,
    risk_at,
)
from crma_eval.routing.sets.held_out import EvalSet
from crma_router.policy import RoutingDecision

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
