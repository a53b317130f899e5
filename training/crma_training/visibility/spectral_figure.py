"""The figure of what CRMA's blocks do from step to step."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes

from crma_training.trainer.spectral import SpectralReading
from crma_training.visibility.figure import Figure, segments
from crma_training.visibility.plots import INK, SequencePlot, colour
from crma_training.visibility.read import DomainRecord

FLOOR = 1e-12  # where a logarithmic axis shows an error of 0
FLOAT32 = float(np.finfo(np.float32).eps)


def spectral_figure(domains: Sequence[DomainRecord]) -> Figure:
    """Errors of the mixing matrices, gates, and how much the blocks change; for runs that log them."""
    every = [step for domain in domains for step in domain.steps]
    logged = [(n, step.spectral) for n, step in enumerate(every) if step.spectral is not None]
    with SequencePlot("spectral", 4, segments(domains)) as plot:
        norm, sums, gates, change = plot.panels
        steps = [n for n, _ in logged]

        def draw(axes: Axes, index: int, label: str, read: Callable[[SpectralReading], float]) -> None:
            values = [read(spectral) for _, spectral in logged]
            axes.plot(steps, values, color=colour(index), label=label, rasterized=plot.rasterized)

        draw(norm, 0, "abs(‖M‖₂ − 1)", lambda s: max(s.mixing_norm_error, FLOOR))
        draw(sums, 1, "rows", lambda s: max(s.row_error, FLOOR))
        draw(sums, 2, "columns", lambda s: max(s.column_error, FLOOR))
        draw(gates, 4, "largest", lambda s: s.alpha_max)
        draw(gates, 3, "mean", lambda s: s.alpha_mean)
        draw(gates, 5, "smallest", lambda s: s.alpha_min)
        draw(change, 0, "mean", lambda s: s.relative_change)
        norm.set_title("mixing matrices: worst abs(‖M‖₂ − 1) over the blocks")
        sums.set_title("mixing matrices: worst abs(sum − 1) over the blocks")
        gates.set_title("gates α over the blocks")
        change.set_title("‖Δh‖ / ‖h‖, mean over tokens and blocks")
        for axes in (norm, sums):
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.set_ylim(min(low, 1e-9), max(high, 1e-5))
            plot.logarithmic(axes)
            axes.axhline(FLOAT32, color=INK, linewidth=1, linestyle=":", alpha=0.7)
        for axes in (sums, gates):
            plot.legend(axes)
        for axes in (gates, change):
            axes.set_ylim(bottom=0)
        svg = plot.svg()
    caption = (
        "What CRMA's blocks do. M is doubly stochastic by construction: its norm and sums say that the "
        "projection converged (dotted: where float32 rounds; a 0 is drawn at 1e-12) and nothing about "
        "forgetting. Drift and the holdout losses do."
    )
    return Figure("Spectral log", caption, svg)
