"""The plots of the routing report: risk and coverage, reliability, what is taken for inside, confusion."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from crma_eval.routing.judged import FALLBACK, JudgedSet, reliability, risk_coverage

# Okabe and Ito's colours, told apart by colour-blind eyes too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#999999")


def draw(judged: Sequence[JudgedSet], title: str, path: Path) -> None:
    """Write the PNG `path`; the first set is the in-domain one."""
    inside = [one for one in judged if one.questions.inside]
    outside = [one for one in judged if not one.questions.inside]
    figure = Figure(figsize=(12, 9.5), dpi=130, layout="constrained")
    (first, second), (third, fourth) = figure.subplots(2, 2)
    _risk(first, inside)
    _reliability(second, inside)
    _receiver(third, inside[0], outside)
    _confusion(fourth, inside[0])
    figure.suptitle(title)
    figure.savefig(path)


def _risk(axes: Any, inside: Sequence[JudgedSet]) -> None:
    for one, colour in zip(inside, _COLOURS, strict=False):
        coverage, risk = risk_coverage(one.confidence, one.right)
        axes.plot(100 * coverage, 100 * risk, color=colour, label=one.name)
    axes.set(
        title="Risk and coverage",
        xlabel="coverage: the surest texts (%)",
        ylabel="risk: wrong leading domain (%)",
    )
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    _plain(axes)


def _reliability(axes: Any, inside: Sequence[JudgedSet]) -> None:
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8)
    for one, colour in zip(inside, _COLOURS, strict=False):
        bins = reliability(one.confidence, one.right)
        axes.plot(
            [b.confidence for b in bins], [b.accuracy for b in bins], "o-", markersize=3, linewidth=0.9,
            color=colour, label=one.name,
        )  # fmt: skip
    axes.set(
        title="Reliability, 15 bins of equal mass", xlabel="mean confidence", ylabel="share that is right"
    )
    axes.set_xlim(0.2, 1.01)
    axes.set_ylim(0.2, 1.01)
    _plain(axes)


def _receiver(axes: Any, inside: JudgedSet, outside: Sequence[JudgedSet]) -> None:
    limits = np.sort(inside.distance)
    accepted = np.arange(1, len(limits) + 1) / len(limits)
    for one, colour in zip(outside, _COLOURS, strict=False):
        taken = np.searchsorted(np.sort(one.distance), limits, side="right") / len(one.distance)
        axes.plot(100 * taken, 100 * accepted, color=colour, label=one.name)
    axes.axhline(95, color="#bbbbbb", linewidth=0.8)
    axes.set(
        title="What is taken for inside", xlabel="of texts outside (%)", ylabel="of the in-domain texts (%)"
    )
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 101)
    _plain(axes)


def _confusion(axes: Any, inside: JudgedSet) -> None:
    counts = inside.confusion()
    names = list(counts)
    columns = [*names, FALLBACK]
    table = np.array([[counts[name].get(column, 0) for column in columns] for name in names])
    shares = 100 * table / table.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 60 else "#222222"
        axes.text(
            column, row, f"{share:.1f}" if share else "", ha="center", va="center", color=colour, fontsize=9
        )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(names)), names)
    axes.set(title="In-domain texts (% of each domain)", xlabel="sent to", ylabel="texts of")


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=8)
