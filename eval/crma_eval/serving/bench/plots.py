"""The benchmark's plots: throughput and latency by system and load, and the goals' ratios."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from crma_eval.learning.picture import picture, save
from crma_eval.report import Image, Section
from crma_eval.serving.bench.figures import Line
from crma_eval.serving.bench.ratios import Verdict

COLOURS = ("#56B4E9", "#0072B2", "#D55E00", "#009E73")
MET, MISSED = "#0072B2", "#D55E00"


def plots_section(lines: Sequence[Line], titles: Mapping[str, str], judged: Sequence[Verdict]) -> Section:
    """To be drawn when the report is written."""
    images = [
        Image(
            "bench-throughput.png",
            "Output tokens per second by system, one bar per number of requests at a time",
            lambda path: draw_bars(lines, titles, "tokens_per_s", "output tokens per second", path),
        ),
        Image(
            "bench-latency.png",
            "99th percentile of the time between tokens by system, one bar per number of requests at a time",
            lambda path: draw_bars(lines, titles, "itl_p99_ms", "time between tokens, p99 (ms)", path),
        ),
    ]
    if judged:
        images.append(
            Image(
                "bench-goals.png",
                "Every goal's ratio: a dot at the median of the repeats, a line between their extremes, a "
                "tick at the goal",
                lambda path: draw_goals(judged, path),
            )
        )
    return Section("Plots", images=tuple(images))


def draw_bars(lines: Sequence[Line], titles: Mapping[str, str], figure: str, label: str, path: Path) -> None:
    """Groups of bars, a group per system."""
    loads = sorted({line.concurrency for line in lines})
    keys = [key for key in titles if any(line.system == key for line in lines)]
    width = 0.8 / len(loads)
    image = picture(1.2 + 0.42 * len(keys))
    axes = image.subplots()
    for place, load in enumerate(loads):
        values = {line.system: getattr(line, figure) for line in lines if line.concurrency == load}
        heights = [index + (place - (len(loads) - 1) / 2) * width for index in range(len(keys))]
        name = f"{load} at a time"
        axes.barh(heights, [values.get(key, 0.0) for key in keys], 0.92 * width, label=name,
                  color=COLOURS[place % len(COLOURS)])  # fmt: skip
    axes.set_yticks(range(len(keys)), [f"{titles[key]} ({key})" for key in keys], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    image.legend(loc="outside upper right", ncols=len(loads), frameon=False, fontsize=8)
    save(image, path)


def draw_goals(judged: Sequence[Verdict], path: Path) -> None:
    """One row per goal and load."""
    image = picture(0.9 + 0.26 * len(judged))
    axes = image.subplots()
    for place, verdict in enumerate(judged):
        values = verdict.ratio.values
        colour = MET if verdict.met else MISSED
        axes.plot([min(values), max(values)], [place, place], color=colour, linewidth=1.6)
        axes.plot(verdict.ratio.median, place, "o" if verdict.met else "X", color=colour, markersize=6)
        axes.plot(verdict.goal.bound, place, "|", color="#333333", markersize=14)
    labels = [
        f"{v.goal.figure} {v.goal.system} / {v.goal.against} {v.goal.text()}, {v.concurrency} at a time"
        for v in judged
    ]
    axes.set_yticks(range(len(judged)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("ratio (dot: met, cross: missed; line: extremes of the repeats; tick: the goal)")
    axes.spines[["top", "right"]].set_visible(False)
    save(image, path)
