"""Small PNG files of one width, readable where a README shows them (about 800 px wide)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

WIDTH_INCHES, DPI = 8.0, 130
# Okabe and Ito's colours, told apart by colour-blind eyes too.
COLOURS = ("#56B4E9", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#999999")


def picture(height_inches: float) -> Figure:
    """An empty figure of the usual width; what is put into it is laid out without overlaps."""
    return Figure(figsize=(WIDTH_INCHES, height_inches), dpi=DPI, layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write the PNG with a palette of 256 colours: a third of the bytes.

    Maximum coverage keeps the rare colours of thin lines and dots, which the default (median cut) mixes up.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = pixels.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, format="PNG", optimize=True)


def bars(values: Mapping[str, Mapping[str, float]], label: str, path: Path) -> None:
    """Write the PNG `path`: groups of horizontal bars, `values` by group and then by series."""
    series = list(dict.fromkeys(name for row in values.values() for name in row))
    width = 0.8 / len(series)
    figure = picture(1.2 + 0.42 * len(values))
    axes = figure.subplots()
    for place, name in enumerate(series):
        heights = [index + (place - (len(series) - 1) / 2) * width for index in range(len(values))]
        lengths = [row.get(name, 0.0) for row in values.values()]
        axes.barh(heights, lengths, 0.92 * width, label=name, color=COLOURS[place % len(COLOURS)])
    axes.set_yticks(range(len(values)), list(values), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=len(series), frameon=False, fontsize=8)
    save(figure, path)


def ranges(rows: Sequence[tuple[str, Sequence[float], float, bool]], label: str, path: Path) -> None:
    """Write the PNG `path`: per row its name, a line between the extremes of its values with a mark at their
    median (a dot if it is met, else a cross), and a tick at its bound."""
    figure = picture(0.9 + 0.26 * len(rows))
    axes = figure.subplots()
    for place, (_, values, bound, met) in enumerate(rows):
        colour = COLOURS[1] if met else COLOURS[2]
        axes.plot([min(values), max(values)], [place, place], color=colour, linewidth=1.6)
        axes.plot(float(np.median(values)), place, "o" if met else "X", color=colour, markersize=6)
        axes.plot(bound, place, "|", color="#333333", markersize=14)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def log_curve(points: Mapping[int, Sequence[float]], axis: str, label: str, path: Path) -> None:
    """Write the PNG `path`: medians over x with a band between the extremes, both axes logarithmic."""
    figure = picture(3.4)
    axes = figure.subplots()
    xs = list(points)
    low, high = ([pick(values) for values in points.values()] for pick in (min, max))
    axes.fill_between(xs, low, high, color=COLOURS[1], alpha=0.2, linewidth=0)
    axes.plot(xs, [float(np.median(values)) for values in points.values()], "o-", color=COLOURS[1])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(xs, [f"{x:,}" for x in xs])
    axes.minorticks_off()
    ticks = [tick for tick in (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 200) if tick <= 1.3 * max(high)]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_ylim(min(0.8, 0.95 * min(low)), 1.15 * max(high))
    axes.set_xlabel(axis)
    axes.set_ylabel(label)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
