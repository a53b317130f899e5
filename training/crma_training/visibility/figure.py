"""What every figure of a report shares: its words, and where the domains lie on the x axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from crma_training.visibility.plots import Segment
from crma_training.visibility.read import DomainRecord


@dataclass(frozen=True)
class Figure:
    """A plot with a title and the words under it."""

    title: str
    caption: str
    svg: Markup


def segments(domains: Sequence[DomainRecord]) -> list[Segment]:
    """Where each domain lies on the sequence's axis."""
    ends = np.cumsum([len(domain.steps) for domain in domains]).tolist()
    return [Segment(d.name, end - len(d.steps), end) for d, end in zip(domains, ends, strict=True)]


def columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """x and y of the points, as matplotlib takes them."""
    return [x for x, _ in points], [y for _, y in points]
