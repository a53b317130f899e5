"""The report's plots: drift by method, loss over stages, what each stage leaves of each domain."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from crma_eval.learning.bootstrap import Floats
from crma_eval.learning.heatmaps import draw_accuracy, draw_loss
from crma_eval.learning.results import FROZEN, FROZEN_MATCHED, MODULAR, NAIVE, MethodResults, label
from crma_eval.learning.statistics import loss_matrix
from crma_eval.plots import picture, save
from crma_eval.report import Image, Section

_COLOURS = {
    MODULAR: "#009E73",
    FROZEN: "#0072B2",
    NAIVE: "#D55E00",
    FROZEN_MATCHED: "#CC79A7",
    "replay-10": "#E69F00",
}
_OTHERS = "#6E6E6E"
# The lines of the plot over stages: colour, marker and dash all differ, and FROZEN (flat) lies underneath.
_LINES = {
    FROZEN: ("s", (0, (5, 2))),
    "replay-10": ("D", (0, (1, 1.5))),
    MODULAR: ("o", "-"),
    NAIVE: ("^", "-"),
}


def plots_section(results: Mapping[str, MethodResults]) -> Section:
    """The plots that the methods at hand allow, to be drawn when the report is written."""
    images = []
    if any(found.drift for found in results.values()):
        images.append(
            Image(
                "forgetting-drift.png",
                "Drift by method in percent: one dot per seed, a bar at their mean",
                lambda path: draw_drift(results, path),
            )
        )
    if any(method in results and results[method].drift for method in _LINES):
        images.append(
            Image(
                "forgetting-stages.png",
                "Holdout loss of each earlier domain from when it was learnt to the last stage, by method: "
                "mean over seeds, their range shaded",
                lambda path: draw_stages(results, path),
            )
        )
    images.append(_heatmap("loss", "Holdout loss in nats per token", draw_loss, results))
    if any(found.statistics[0].average_accuracy is not None for found in results.values()):
        images.append(_heatmap("accuracy", "Exact-match accuracy in percent", draw_accuracy, results))
    return Section("Plots", images=tuple(images))


def _heatmap(
    kind: str,
    what: str,
    draw: Callable[[Mapping[str, MethodResults], Path], None],
    results: Mapping[str, MethodResults],
) -> Image:
    caption = f"{what} of every domain (columns) after every stage (rows), by method, mean over seeds"
    return Image(f"forgetting-{kind}.png", caption, lambda path: draw(results, path))


def draw_drift(results: Mapping[str, MethodResults], path: Path) -> None:
    """A row per method: a dot per seed, a bar and the number at the mean; the least drift on top."""
    drifts = {method: found.drift for method, found in results.items() if found.drift}
    order = sorted(drifts, key=lambda method: drifts[method].mean)
    figure = picture(0.7 + 0.3 * len(order))
    axes = figure.add_subplot()
    for y, method in enumerate(order):
        drift, colour = drifts[method], _COLOURS.get(method, _OTHERS)
        values = [100 * value for value in drift.values]
        axes.plot(values, [y] * len(values), "o", color=colour, markersize=7, markeredgecolor="white")
        axes.plot([100 * drift.mean] * 2, [y - 0.32, y + 0.32], color=colour, linewidth=2.5)
        text = drift.text(" %", digits=2, scale=100, signed=True)
        text += "" if drift.deviation is not None else ", 1 seed"
        axes.annotate(text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=10)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(order)), [label(method) for method in order], fontsize=10)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel("drift of the earlier domains' holdout loss, % (dot: a seed, bar: mean; less is better)")
    axes.grid(axis="x", alpha=0.3)
    _plain(axes)
    save(figure, path)


def draw_stages(results: Mapping[str, MethodResults], path: Path) -> None:
    """A panel per earlier domain, from learnt to last; a line per method: mean over seeds, range shaded."""
    domains = next(iter(results.values())).runs[0].domains
    shown = {m: _losses(results[m]) for m in _LINES if m in results and results[m].drift}
    earlier = len(domains) - 1
    columns = earlier if earlier < 4 else 2 if earlier == 4 else 3
    rows = -(-earlier // columns)
    figure = picture(0.8 + 2.3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for index in range(earlier):
        axes = grid[index]
        for method, losses in shown.items():
            _line(axes, method, losses[:, index:, index], index)
        axes.set_title(domains[index], fontsize=11)
        axes.set_xticks(range(len(domains)), domains, rotation=40, ha="right", fontsize=9)
        axes.set_xlim(-0.3, len(domains) - 0.7)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.grid(alpha=0.3)
        _plain(axes)
    for axes in grid[earlier:]:
        axes.axis("off")
    figure.supxlabel("stage: the domain just learnt", fontsize=10)
    figure.supylabel("holdout loss, nats per token", fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(shown), frameon=False, fontsize=10)
    save(figure, path)


def _line(axes: Any, method: str, losses: Floats, start: int) -> None:
    """`losses` (seeds, stages from `start`)."""
    marker, dash = _LINES[method]
    colour, stages = _COLOURS[method], np.arange(start, start + losses.shape[1])
    axes.fill_between(stages, losses.min(axis=0), losses.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    axes.plot(
        stages,
        losses.mean(axis=0),
        color=colour,
        marker=marker,
        linestyle=dash,
        markersize=5,
        linewidth=1.8,
        label=label(method),
    )


def _losses(found: MethodResults) -> Floats:
    """(seeds, T, T)."""
    return np.array([loss_matrix(run) for run in found.runs])


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
