"""The plot of one trajectory: errors, gates and changes over the optimizer steps of all domains.

Owns: the picture. Knows nothing of files read.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from crma_eval.learning.spectral.recompute import FLOAT32_RESOLUTION
from crma_eval.learning.spectral.trajectory import Trajectory

FLOOR = 1e-9
"""Errors are drawn from here up: a logarithmic axis has no zero, and an exact step is common."""


def draw(trajectory: Trajectory, path: Path) -> None:
    """Write the PNG: three panels over one axis of steps, each domain's start marked and named."""
    figure = Figure(figsize=(9, 7.5), layout="constrained", dpi=110)
    errors, gates, changes = figure.subplots(3, 1, sharex=True)
    readings = trajectory.readings
    steps = range(len(readings))
    _errors(errors, steps, trajectory)
    gates.fill_between(
        steps,
        [r.alpha_min for r in readings],
        [r.alpha_max for r in readings],
        alpha=0.25,
        label="smallest to largest block",
    )
    gates.plot(steps, [r.alpha_mean for r in readings], label="mean of blocks")
    gates.set_ylabel("gate α (no unit)")
    gates.legend(loc="upper left", fontsize=8)
    changes.plot(steps, [100 * r.relative_change for r in readings], color="tab:green", linewidth=0.9)
    changes.set_ylabel("‖Δh‖ / ‖h‖ (%)\nmean of tokens and blocks")
    changes.set_ylim(bottom=0)
    changes.set_xlabel("optimizer step over the sequence of domains")
    _mark_domains([errors, gates, changes], trajectory)
    figure.savefig(path)


def _errors(axes: Any, steps: Sequence[int], trajectory: Trajectory) -> None:
    series = (
        ("| ‖M‖₂ − 1 |", [r.mixing_norm_error for r in trajectory.readings], "-"),
        ("row sums", [r.row_error for r in trajectory.readings], "--"),
        ("column sums", [r.column_error for r in trajectory.readings], ":"),
    )
    for label, values, style in series:
        drawn = [max(FLOOR, value) for value in values]
        axes.plot(steps, drawn, style, label=label, linewidth=1.1)
    axes.axhline(FLOAT32_RESOLUTION, color="grey", linewidth=0.8)
    note = {"textcoords": "offset points", "fontsize": 8, "color": "grey"}
    axes.annotate("float32 resolution at 1", (0, FLOAT32_RESOLUTION), xytext=(4, 3), **note)
    axes.set_yscale("log")
    highest = max(FLOAT32_RESOLUTION, *(max(values) for _, values, _ in series))
    axes.set_ylim(FLOOR, 12 * highest)
    axes.set_ylabel("largest error over blocks\n(absolute, no unit)")
    axes.legend(loc="lower right", fontsize=8, ncols=3)


def _mark_domains(panels: Sequence[Any], trajectory: Trajectory) -> None:
    for stage, start in zip(trajectory.stages, trajectory.starts, strict=True):
        for axes in panels:
            axes.axvline(start, color="black", linewidth=0.7, alpha=0.5)
        middle = start + len(stage.readings) / 2
        place = {"xycoords": ("data", "axes fraction"), "ha": "center", "va": "bottom", "fontsize": 9}
        panels[0].annotate(stage.domain, (middle, 1.01), **place)
    for axes in panels:
        axes.margins(x=0)
        axes.grid(alpha=0.25)
