"""The report of the cost curves: a table, a sentence and a plot each."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_eval.learning.picture import picture, save
from crma_eval.report import Image, Report, Section
from crma_eval.serving.bench.curves import CURVES, Curve
from crma_eval.serving.bench.growth import Point, in_words, points_of
from crma_eval.serving.bench.ratios import Cells, cells_of
from crma_eval.serving.bench.session import Outcome
from crma_eval.serving.bench.turn import Found

LINE, BARE_LINE = "#0072B2", "#E69F00"


def curves_report(model: str, outcome: Outcome) -> Report:
    """Every curve that has a point. Raises `ConfigError` if none has."""
    cells = cells_of(outcome.found)
    measured = [(curve, points) for curve in CURVES if (points := points_of(curve, cells))]
    if not measured:
        raise ConfigError("no curve has a point; expected a repeat at least, give more --minutes")
    rows = tuple((curve.title, in_words(points)) for curve, points in measured)
    return Report(
        name="bench-curves",
        title=f"How the cost of serving grows: {model}",
        header=("what is varied", "what cost does"),
        rows=rows,
        figures={
            "ready_s": {server.name: server.ready_s for server in outcome.servers},
            "curves": {
                curve.key: [dataclasses.asdict(point) | {"growth": point.growth} for point in points]
                for curve, points in measured
            },
        },
        remarks=(
            "Medians over repeats; relative cost is to the curve's first point in the same repeat, "
            "the points of all curves taking turns. Store and rank: 8 requests at a time; "
            "batch: 32; prompt: 1. The adapters of the rank curve are random, on the modules of a real one.",
        ),
        sections=tuple(_section(curve, points, cells, outcome) for curve, points in measured),
    )


def _section(curve: Curve, points: Sequence[Point], cells: Cells, outcome: Outcome) -> Section:
    with_start = curve.key == "store" and bool(outcome.servers)
    header = (curve.axis, curve.cost, "relative: median (extremes)", "peak memory, MiB")
    rows = tuple(
        (*_row(curve, point, cells), *([_ready(point, outcome)] if with_start else [])) for point in points
    )
    name = f"bench-{curve.key}.png"
    caption = f"{curve.title}: {curve.cost} over {curve.axis}, both axes logarithmic"
    image = Image(name, caption, lambda path: draw(curve, points, path))
    return Section(
        curve.title,
        (*header, *(["start to ready, s"] if with_start else [])),
        rows,
        (f"{in_words(points)} Repeats: {len(points[0].relative)}.",),
        (image,),
    )


def _row(curve: Curve, point: Point, cells: Cells) -> tuple[str, ...]:
    spread = f"{point.growth:.3f} ({min(point.relative):.3f} to {max(point.relative):.3f})"
    return f"{point.x:,}", f"{point.cost_ms:.1f}", spread, _memory(curve, point, cells)


def _ready(point: Point, outcome: Outcome) -> str:
    ready_s = outcome.ready_s(f"store-{point.x}")
    return "-" if ready_s is None else f"{ready_s:.0f}"


def _memory(curve: Curve, point: Point, cells: Cells) -> str:
    peaks = [found.peak_bytes for found in _at(curve, point, cells)]
    return f"{max(peaks) / 2**20:,.0f}"


def _at(curve: Curve, point: Point, cells: Cells) -> list[Found]:
    return [found for (_, system, _), found in cells.items() if system == f"{curve.key}-{point.x}"]


def draw(curve: Curve, points: Sequence[Point], path: Path) -> None:
    """Write the PNG `path`: relative cost, its median and extremes, over the points."""
    image = picture(3.4)
    axes = image.subplots()
    xs = [point.x for point in points]
    axes.fill_between(
        xs, [min(p.relative) for p in points], [max(p.relative) for p in points], color=LINE, alpha=0.2,
        linewidth=0,
    )  # fmt: skip
    axes.plot(xs, [point.growth for point in points], "o-", color=BARE_LINE if curve.bare else LINE)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(xs, [f"{x:,}" for x in xs])
    axes.minorticks_off()
    top = max(max(p.relative) for p in points)
    ticks = [tick for tick in (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200) if tick <= 1.3 * top]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylim(min(0.8, 0.95 * min(min(p.relative) for p in points)), 1.15 * top)
    axes.set_xlabel(curve.axis)
    axes.set_ylabel(f"{curve.cost}, relative")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    save(image, path)
