from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_eval.learning.ablation.answers import Answer, AnswerLog

FIRST = Answer("on", "medical", "What hurts?", "medical@1+2", "Ärger\nhier", "stop")
SECOND = Answer("off", "medical", "What hurts?", "medical@1:crma-off", "no", "length")


def written(path: Path, *answers: Answer, setup: str = "one") -> Path:
    with AnswerLog(path, setup) as log:
        for answer in answers:
            log.add(answer)
    return path


def test_answers_are_there_again(tmp_path: Path) -> None:
    path = written(tmp_path / "work" / "answers.jsonl", FIRST, SECOND)
    with AnswerLog(path, "one") as log:
        assert (log.get(FIRST.key), log.get(SECOND.key), log.damaged) == (FIRST, SECOND, 0)
        assert log.get(("base", "medical", "What hurts?")) is None


def test_another_setup_does_not_see_them_and_they_stay(tmp_path: Path) -> None:
    path = written(tmp_path / "answers.jsonl", FIRST)
    written(path, SECOND, setup="two")
    with AnswerLog(path, "two") as log:
        assert log.get(FIRST.key) is None and log.get(SECOND.key) == SECOND
    with AnswerLog(path, "one") as log:
        assert log.get(FIRST.key) == FIRST and log.get(SECOND.key) is None


@pytest.mark.parametrize("lost", [1, 2, 40])
def test_half_a_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path, lost: int) -> None:
    path = written(tmp_path / "answers.jsonl", FIRST, SECOND)
    path.write_bytes(path.read_bytes()[:-lost])
    with AnswerLog(path, "one") as log:
        assert log.get(FIRST.key) == FIRST and log.get(SECOND.key) is None and log.damaged == 0
        log.add(SECOND)
    with AnswerLog(path, "one") as log:
        assert log.get(SECOND.key) == SECOND and log.damaged == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b"hier", b"dort"),
        lambda line: line.replace(b'"on"', b'"off"', 1),
        lambda _: b"[]",
        lambda _: b"{}",
        lambda _: b"\xff\xfe",
    ],
)
def test_a_changed_line_is_noticed_and_not_believed(tmp_path: Path, change: object) -> None:
    path = written(tmp_path / "answers.jsonl", FIRST, SECOND)
    first, second = path.read_bytes().splitlines()
    assert callable(change)
    path.write_bytes(change(first) + b"\n" + second + b"\n")
    with AnswerLog(path, "one") as log:
        assert log.get(FIRST.key) is None and log.get(SECOND.key) == SECOND
        assert log.damaged == 1


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="give --work another"):
        AnswerLog(tmp_path / "file" / "answers.jsonl", "one")
