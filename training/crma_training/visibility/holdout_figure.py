"""The figure of the holdout losses along the sequence."""

from collections.abc import Sequence
from typing import Any

from crma_training.visibility.figure import Figure, columns, segments
from crma_training.visibility.plots import SequencePlot, colour, dashes
from crma_training.visibility.read import DomainRecord, RunRecord


def holdout_figure(run: RunRecord) -> Figure:
    """A line per domain, from the start of its training to the end of the sequence."""
    domains, places = run.domains, segments(run.domains)
    curves: dict[str, list[tuple[float, float]]] = {}
    for domain, place in zip(domains, places, strict=True):
        for reading in domain.holdout:
            curves.setdefault(reading.domain, []).append((place.start + reading.step, reading.loss))
        if not domain.holdout:
            loss = domain.card.holdout_loss
            final = [] if run.drift is None else [(places[-1].end, run.final_loss(domain))]
            curves[domain.name] = [(place.start, loss.before), (place.end, loss.after), *final]
    with SequencePlot("holdout", 1, places, height=3.2) as plot:
        (axes,) = plot.panels
        for index, (name, points) in enumerate(_in_order(curves, domains)):
            look: dict[str, Any] = {"color": colour(index), "marker": "o", "markersize": 3.5, "label": name}
            axes.plot(*columns(points), dashes(index), **look, clip_on=False, zorder=3)
        axes.set_ylabel("nats per answer token")
        axes.set_ylim(bottom=0)
        plot.legend_below(axes)
        svg = plot.svg()
    return Figure("Holdout loss per domain", _caption(domains), svg)


def _caption(domains: Sequence[DomainRecord]) -> str:
    rows = {reading.rows for domain in domains for reading in domain.holdout}
    if not rows:
        return (
            "All holdout rows before and after the domain's training and, once the run has ended, under the "
            "final backbone; this run did not measure in between."
        )
    return (
        f"Mean over {' or '.join(map(str, sorted(rows)))} holdout rows, the same each time: the domain in "
        "training as it goes, and every earlier one, with its own LoRA, under the backbone that each later "
        "domain left. A line that stays level after its domain has ended is a domain that is not forgotten. "
        "The table has the losses over all holdout rows."
    )


def _in_order(
    curves: dict[str, list[tuple[float, float]]], domains: Sequence[DomainRecord]
) -> list[tuple[str, list[tuple[float, float]]]]:
    """The run's own domains first, in order, so that a domain has one colour in every figure."""
    own = [domain.name for domain in domains]
    names = [*(name for name in own if name in curves), *(name for name in curves if name not in own)]
    return [(name, curves[name]) for name in names]
