"""A whole run against a stand-in for the server, sound and faulty."""

import sys
from pathlib import Path

import pytest

from crma_adapters.models.base_model import BaseModel
from crma_eval.serving.load.clients import goals_of
from crma_eval.serving.load.publisher import Voice, voices
from crma_eval.serving.load.swaps import (
    Outcome,
    Plan,
    Record,
    growth,
    outcome,
    run_session,
    swaps_report,
)

from .tiny_llama import save_tiny_llama, tiny_llama

FAKE = Path(__file__).with_name("fake_swapping_serve.py")
SWAPS = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return save_tiny_llama(tiny_llama(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def words(base: BaseModel) -> list[Voice]:
    return voices(base.path, SWAPS + 1)


def met(found: Outcome) -> bool:
    return all(goal.met for goal in goals_of(found.rows()))


def run(base: BaseModel, words: list[Voice], folder: Path, *flags: str) -> tuple[Plan, Record]:
    plan = Plan(SWAPS, clients=10, pause_s=0.2, seed=0, flags=flags)
    command = (sys.executable, str(FAKE))
    return plan, run_session(plan, base, words, folder, folder / "serve.log", command=command)


@pytest.mark.skipif(sys.platform != "linux", reason="what processes take is read from /proc")
def test_a_sound_server_meets_every_goal(base: BaseModel, words: list[Voice], tmp_path: Path) -> None:
    plan, record = run(base, words, tmp_path)
    found = outcome(record)
    assert (found.swaps, found.missed, sum(found.faults.values())) == (SWAPS, 0, 0)
    assert met(found), found
    assert found.answers > 20
    assert record.gone_status == 404
    assert record.names == sorted(f"echo@{record.publisher.version('echo', number)}" for number in (3, 4, 5))
    assert len({answer.version for answer in record.answers}) > 2
    assert any(answer.pinned for answer in record.answers)
    assert all(each.memory_bytes > 2**20 and each.files > 3 for each in record.footprints)
    assert record.metrics == {"crma_release_swaps_total": 3.0}
    report = swaps_report(plan, record)
    assert "Goals: met" in report.markdown()
    report.write(tmp_path / "report")
    assert (tmp_path / "report" / "swaps.json").stat().st_size > 1000


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("failed", "failed"),
        ("cut", "cut"),
        ("mixed", "mixed"),
        ("mismarked", "mismarked"),
        ("old", "not live"),
    ],
)
def test_a_faulty_one_is_found_out(
    base: BaseModel, words: list[Voice], tmp_path: Path, fault: str, found: str
) -> None:
    plan, record = run(base, words, tmp_path, "--fault", fault)
    result = outcome(record)
    assert result.faults[found] > 0
    assert not met(result)
    assert "Goals: missed" in swaps_report(plan, record).markdown()


def test_growth_is_that_of_the_line() -> None:
    assert growth([100, 101, 102, 103]) == pytest.approx(0.03)
    assert growth([100, 110, 90, 100]) == pytest.approx(-0.06, abs=0.03)
    assert growth([5]) == 0


@pytest.mark.parametrize(
    "worse",
    [{"missed": 1}, {"first_answer_s": (1.0, 5.1)}, {"fewest_streams": 7}, {"memory_growth": 0.06},
     {"files_growth": 0.06}, {"kept_names": 4}, {"gone_status": 200}, {"faults": {"cut": 1}}],
)  # fmt: skip
def test_each_goal_counts(worse: dict[str, object]) -> None:
    good = Outcome(1, 0, 9, 99, {"cut": 0}, (1.0,), 8, 8.0, 0.0, 0.0, 3, 404)
    assert met(good)
    assert not met(Outcome(**(vars(good) | worse)))
