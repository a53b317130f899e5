"""The files are there, of README size, small, and in the colours that tell the methods apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from crma_eval.learning.heatmaps import draw_accuracy, draw_loss
from crma_eval.learning.plots import draw_drift, draw_stages, plots_section
from crma_eval.learning.results import MethodResults, collect

if TYPE_CHECKING:
    from tests.eval.conftest import RunMaker

GREEN, BLUE, VERMILLION, ORANGE, GREY = "#009E73", "#0072B2", "#D55E00", "#E69F00", "#6E6E6E"
Results = dict[str, MethodResults]


@pytest.fixture(scope="module")
def results(maker: RunMaker) -> Results:
    every = {"naive": 0.15, "modular": 0.003, "frozen": 0.0}
    runs = [maker.noisy(name, seed, forgets) for seed in (0, 42) for name, forgets in every.items()]
    runs += [maker.noisy("replay-10", 0, 0.04), maker.noisy("ewc", 0, 0.1)]
    return dict(collect([*runs, maker.noisy("joint", 0, 0.0, stages=False)]))


def pixels(path: Path, colour: str) -> int:
    """How many pixels have about that colour."""
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    wanted = np.array([round(255 * part) for part in to_rgb(colour)])
    return int((np.abs(picture - wanted).max(axis=-1) <= 10).sum())


def check_file(path: Path) -> None:
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width == 1040
        assert 200 < picture.height < 1300
    assert path.stat().st_size < 150_000


def test_drift_by_method(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "drift.png"
    draw_drift(results, path)
    check_file(path)
    for colour in (GREEN, BLUE, VERMILLION, ORANGE, GREY):
        assert pixels(path, colour) > 50, colour


def test_loss_over_stages(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "stages.png"
    draw_stages(results, path)
    check_file(path)
    for colour in (GREEN, BLUE, VERMILLION, ORANGE):
        assert pixels(path, colour) > 200, colour


def test_maps_of_loss_and_accuracy(results: Results, tmp_path: Path) -> None:
    for draw, name in ((draw_loss, "loss.png"), (draw_accuracy, "accuracy.png")):
        draw(results, tmp_path / name)
        check_file(tmp_path / name)
    assert (tmp_path / "loss.png").read_bytes() != (tmp_path / "accuracy.png").read_bytes()


def test_plots_are_offered_only_where_there_is_something_to_draw(maker: RunMaker) -> None:
    def files(*runs: str) -> list[str]:
        made = [maker.noisy(name, 0, 0.1, stages=name != "joint") for name in runs]
        return [image.file for image in plots_section(collect(made)).images]

    drift, stages, loss, accuracy = (
        f"forgetting-{name}.png" for name in ("drift", "stages", "loss", "accuracy")
    )
    assert files("naive", "joint") == [drift, stages, loss, accuracy]
    assert files("ewc") == [drift, loss, accuracy]
    assert files("joint") == [loss, accuracy]
    silent = collect([maker.run([[2.0, 3.0], [2.5, 1.0]], method="naive")])
    assert [image.file for image in plots_section(silent).images] == [drift, stages, loss]


def test_two_domains_and_one_seed_can_be_drawn(maker: RunMaker, tmp_path: Path) -> None:
    results = collect([maker.run([[2.0, 3.0], [2.5, 1.0]], method="naive")])
    for image in plots_section(results).images:
        image.draw(tmp_path / image.file)
        assert (tmp_path / image.file).stat().st_size > 1000
