"""The figures of the training steps: loss, gradient norms and their clipping."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from crma_training.visibility.figure import Figure, columns, segments
from crma_training.visibility.plots import EVENT, SequencePlot, colour
from crma_training.visibility.read import DomainRecord


def loss_figure(domains: Sequence[DomainRecord]) -> Figure:
    """Loss of every batch, domain after domain."""
    with SequencePlot("loss", 1, segments(domains), height=2.6) as plot:
        (axes,) = plot.panels
        for index, (domain, place) in enumerate(zip(domains, segments(domains), strict=True)):
            loss = np.array([step.loss for step in domain.steps])
            steps = range(place.start, place.end)
            look: dict[str, Any] = {"color": colour(index), "rasterized": plot.rasterized}
            axes.plot(steps, loss, linewidth=0.7, alpha=0.45, **look)
            axes.plot(steps, _smooth(loss), **look)
        axes.set_ylabel("nats per answer token")
        axes.set_ylim(bottom=0)
        svg = plot.svg()
    caption = (
        "Loss of each batch before its update (thin) and its running mean (thick). Batches differ, so the "
        "thin line is noisy; the holdout below is not trained on."
    )
    return Figure("Training loss per domain", caption, svg)


def gradient_figure(domains: Sequence[DomainRecord]) -> Figure:
    """A panel per parameter group, with the steps at which ZClip scaled it."""
    groups = list(dict.fromkeys(group for d in domains for s in d.steps for group in s.gradient_norm))
    steps = list(enumerate(step for domain in domains for step in domain.steps))
    with SequencePlot("gradients", len(groups), segments(domains)) as plot:
        for index, (axes, group) in enumerate(zip(plot.panels, groups, strict=True)):
            here = [(n, s.gradient_norm[group], s.clipped[group]) for n, s in steps if group in s.clipped]
            events = [(n, norm) for n, norm, clipped in here if clipped]
            axes.plot(
                [n for n, _, _ in here],
                [norm for _, norm, _ in here],
                color=colour(index),
                linewidth=1,
                rasterized=plot.rasterized,
            )
            axes.plot(*columns(events), "v", color=EVENT, markersize=6, clip_on=False, zorder=3)
            plot.logarithmic(axes)
            axes.set_title(f"{group}: ZClip scaled {len(events)} of {len(here)} steps")
            axes.set_ylabel("L2 norm")
        svg = plot.svg()
    caption = (
        "L2 norm of each parameter group's gradient before clipping. A red triangle marks a step whose norm "
        "ZClip found too far above the group's recent ones and scaled down."
    )
    return Figure("Gradient norms per group, ZClip events", caption, svg)


def _smooth(
    values: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Centred running mean over a tenth of the steps; shorter at the ends."""
    window = max(1, len(values) // 10)
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
