"""What a turn found, and keeping it."""

import math
from pathlib import Path

import pytest

from crma_eval.serving.bench.turns import Found, Journal, Turn


def turn(repeat: int = 0) -> Turn:
    return Turn(repeat, "h", "many", 8, 3, ("x", "y", "x"), ("one", "two", "three"))


def found() -> Found:
    return Found(
        0, "h", 8, 2.0, 9, (0.1, 0.5, 0.3), ((0.01, 0.02), (0.5, 0.7), (0.03, 0.04)), 4.5, 1024,
        (True, False, True),
    )  # fmt: skip


def test_speeds_and_percentiles() -> None:
    assert found().tokens_per_s == 4.5
    assert found().tokens_per_cpu_s == 2.0
    assert found().ttft(50) == pytest.approx(0.3)
    assert found().ttft(50, resident=True) == pytest.approx(0.2)
    assert found().ttft(99, resident=False) == pytest.approx(0.5)
    assert found().itl(100, resident=True) == pytest.approx(0.04)
    assert found().itl(100) == pytest.approx(0.7)


def test_no_such_request_has_no_percentile() -> None:
    alone = Found(0, "h", 1, 1.0, 3, (0.1,), ((0.1, 0.1),), 1.0, 1, (True,))
    assert math.isnan(alone.ttft(50, resident=False))


def test_a_journal_gives_back_what_it_was_given(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "turns")
    assert journal.read(turn()) is None
    journal.write(turn(), found())
    assert Journal(tmp_path / "turns").read(turn()) == found()
    assert journal.read(turn(repeat=1)) is None


@pytest.mark.parametrize("damage", ["", "{", "{}", '{"itl_s": 3}', "[]"])
def test_a_damaged_file_is_measured_again(tmp_path: Path, damage: str) -> None:
    journal = Journal(tmp_path)
    journal.write(turn(), found())
    (tmp_path / f"{turn().key}.json").write_text(damage)
    assert journal.read(turn()) is None
