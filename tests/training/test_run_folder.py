"""The run folder: whole stages or none, what makes a run another run, one process at a time."""

from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError, TrainingError
from crma_training.run_folder import RunFolder

IDENTITY = {"config": {"seed": 0, "rank": 4}, "domains": ["code"]}


def test_a_finished_stage_is_there_for_the_next_process(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", IDENTITY) as run:
        assert run.finished("code") is None
        with run.stage("code") as working:
            (working / "adapter").mkdir()
            (working / "adapter" / "weights").write_bytes(b"w")
        assert run.finished("code") == tmp_path / "run" / "code"
    with RunFolder(tmp_path / "run", IDENTITY) as run:
        assert run.finished("code") == tmp_path / "run" / "code"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_stage_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with RunFolder(tmp_path / "run", IDENTITY) as run:
        with pytest.raises(error), run.stage("code") as working:
            (working / "weights").write_bytes(b"half")
            raise error
        assert run.finished("code") is None
        assert sorted(path.name for path in run.path.iterdir()) == [".lock", "run.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_kept_stage_is_there_again_for_the_next_run(tmp_path: Path, error: type[BaseException]) -> None:
    with RunFolder(tmp_path / "run", IDENTITY) as run:
        with pytest.raises(error), run.stage("code", keep=True) as working:
            (working / "metrics.jsonl").write_bytes(b"half")
            raise error
        assert run.finished("code") is None
    with RunFolder(tmp_path / "run", IDENTITY) as run:
        with run.stage("code", keep=True) as working:
            assert (working / "metrics.jsonl").read_bytes() == b"half"
        assert run.finished("code") == tmp_path / "run" / "code"
        assert not working.exists()


def test_what_a_killed_process_left_of_another_stage_is_cleared(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", IDENTITY) as run:
        leftover = run.path / ".working-.router"
        leftover.mkdir()
        (leftover / "weights").write_bytes(b"half")
    with RunFolder(tmp_path / "run", IDENTITY) as run, run.stage(".router") as working:
        assert not list(working.iterdir())


@pytest.mark.parametrize("damage", ["change", "remove", "add"])
def test_a_damaged_stage_is_refused_by_file(tmp_path: Path, damage: str) -> None:
    with RunFolder(tmp_path / "run", IDENTITY) as run:
        with run.stage("code") as working:
            (working / "weights").write_bytes(b"w")
        path = run.path / "code" / ("more" if damage == "add" else "weights")
        path.unlink() if damage == "remove" else path.write_bytes(b"x")
        with pytest.raises(TrainingError, match=rf"{path} is not what the run wrote .* delete {run.path}"):
            run.finished("code")


def test_another_run_is_refused_naming_what_differs(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", IDENTITY).close()
    other = {"config": {"seed": 1, "rank": 4}, "domains": ["code", "legal"]}
    with pytest.raises(ConfigError) as refusal:
        RunFolder(tmp_path / "run", other)
    assert "config.seed was 0, now 1" in str(refusal.value)
    assert "domains was ['code'], now ['code', 'legal']" in str(refusal.value)
    assert "rank" not in str(refusal.value)


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path / "run", IDENTITY),
        pytest.raises(TrainingError, match="another crma-train"),
    ):
        RunFolder(tmp_path / "run", IDENTITY)
    RunFolder(tmp_path / "run", IDENTITY).close()


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(TrainingError, match="not empty and not a run folder"):
        RunFolder(tmp_path, IDENTITY)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_place_where_no_folder_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"file: no run folder can be made here .* give --run another"):
        RunFolder(tmp_path / "file", IDENTITY)


def test_an_unreadable_identity_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", IDENTITY).close()
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(TrainingError, match=r"run\.json cannot be read"):
        RunFolder(tmp_path / "run", IDENTITY)
