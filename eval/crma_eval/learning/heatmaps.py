"""What each stage leaves of each domain: a (T, T) map per method, all maps of a picture on one colour
scale.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crma_eval.learning.bootstrap import Floats
from crma_eval.learning.results import MethodResults, label
from crma_eval.learning.scores import DomainScores
from crma_eval.plots import picture, save

COLUMNS = 4


def draw_loss(results: Mapping[str, MethodResults], path: Path) -> None:
    """Holdout loss; dark is high."""
    maps = {method: _mean(found, lambda domain: domain.loss) for method, found in results.items()}
    _draw(maps, results, path, "holdout loss, nats per token (mean over seeds)", "{:.2f}")


def draw_accuracy(results: Mapping[str, MethodResults], path: Path) -> None:
    """Exact-match accuracy in percent; dark is high."""
    maps = {method: _mean(found, lambda domain: 100 * domain.accuracy) for method, found in results.items()}
    _draw(maps, results, path, "exact-match accuracy, % (mean over seeds)", "{:.0f}")


def _mean(found: MethodResults, figure: Any) -> Floats:
    """(T, T) mean over seeds; NaN where the stage or the figure is missing."""
    size = len(found.runs[0].domains)
    empty = [float("nan")] * size
    return np.asarray(
        np.mean([[_row(stage, figure) or empty for stage in run.matrix] for run in found.runs], axis=0)
    )


def _row(stage: tuple[DomainScores, ...], figure: Any) -> list[float]:
    return [figure(domain) for domain in stage]


def _draw(
    maps: Mapping[str, Floats],
    results: Mapping[str, MethodResults],
    path: Path,
    title: str,
    form: str,
) -> None:
    domains = next(iter(results.values())).runs[0].domains
    columns = min(COLUMNS, len(maps))
    rows = -(-len(maps) // columns)
    figure = picture(1.3 + rows * (0.35 + 0.32 * len(domains)))
    grid = figure.subplots(rows, columns, squeeze=False)
    low, high = np.nanmin(list(maps.values())), np.nanmax(list(maps.values()))
    for axes in grid.ravel()[len(maps) :]:
        axes.axis("off")
    for index, (method, values) in enumerate(maps.items()):
        axes = grid.ravel()[index]
        axes.imshow(values, cmap="Blues", vmin=low, vmax=high, aspect="auto")
        axes.set_title(label(method), fontsize=10)
        lowest = index + columns >= len(maps)
        axes.set_xticks(range(len(domains)), domains if lowest else [], rotation=40, ha="right", fontsize=9)
        axes.set_yticks(range(len(domains)), domains if index % columns == 0 else [], fontsize=9)
        axes.tick_params(length=0)
        _numbers(axes, values, low + 0.6 * (high - low), form)
    figure.suptitle(f"{title}; darker is higher", fontsize=11)
    figure.supxlabel("domain measured", fontsize=10)
    figure.supylabel("after learning", fontsize=10)
    save(figure, path)


def _numbers(axes: Any, values: Floats, dark: float, form: str) -> None:
    for (stage, domain), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else form.format(value)
        colour = "white" if value > dark else "black"
        axes.text(domain, stage, text, ha="center", va="center", color=colour, fontsize=8)
