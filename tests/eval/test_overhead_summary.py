"""Ratios of made-up blocks, against figures worked out by hand."""

from pathlib import Path

import pytest

from crma_eval.learning.overhead.arm import Block, Footprint, Work
from crma_eval.learning.overhead.race import Pair, Race
from crma_eval.learning.overhead.summary import overhead, overhead_report, spread
from crma_training.config import TrainConfig


def _race(*walls: float) -> Race:
    """CRMA takes `walls` seconds by the wall and 2 of CPU time for what takes the plain LoRA 1 and 1."""
    pairs = tuple(Pair(Block(100, 1.0, 1.0), Block(100, wall, 2.0)) for wall in walls)
    return Race(pairs, Footprint(10, 100 * 2**20, 1, "cpu"), Footprint(12, 125 * 2**20, 1, "cpu"))


def test_a_ratio_is_of_the_two_blocks_of_a_pair() -> None:
    found = overhead(_race(1.0, 1.25, 2.0))
    assert (found.wall.median, found.wall.smallest, found.wall.largest) == (0.8, 0.5, 1.0)
    assert found.cpu.median == found.cpu.low == found.cpu.high == 0.5
    assert found.memory == 1.25


def test_the_interval_narrows_with_more_pairs() -> None:
    few, many = spread([0.9, 1.0, 1.1] * 2), spread([0.9, 1.0, 1.1] * 50)
    assert few.low <= many.low <= many.median == 1.0 <= many.high <= few.high
    assert few.high - few.low > many.high - many.low


@pytest.mark.parametrize(("wall", "verdict"), [(1.04, "met"), (1.06, "missed")])
def test_the_report_judges_by_the_wall_clock(wall: float, verdict: str) -> None:
    task = Work(Path("data"), "medical", TrainConfig(), blocks=4, steps=2)
    text = overhead_report(task, _race(wall, wall), warmup=2).markdown()
    assert f"tokens per second: {verdict} by the wall clock ({1 / wall:.3f}), 0.500 by CPU time" in text
    assert "| peak memory, MiB     | 100 " in text and "125" in text


def test_an_interval_that_holds_the_goal_is_told() -> None:
    task = Work(Path("data"), "medical", TrainConfig(), blocks=4, steps=2)
    told = "The interval holds the goal"
    assert told in overhead_report(task, _race(1.0, 1.2, 1.0), warmup=2).markdown()
    assert told not in overhead_report(task, _race(1.2, 1.2), warmup=2).markdown()
