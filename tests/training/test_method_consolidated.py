"""One student for all domains: taught by their adapters' answers, anchored, alike as CRMA and as LoRA."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.models.cache import CACHE_VARIABLE
from crma_training.adapter import at_work
from crma_training.data.tokens import end_ids, prompt_ids
from crma_training.learn import ADAPTER, BACKBONE
from crma_training.methods.consolidated import Consolidated
from crma_training.methods.method import Lesson, Serving
from crma_training.methods.per_domain import FROZEN
from crma_training.taught import Teacher, ask, divergence
from crma_training.trainer.metrics import read_steps

MakeCourse = Callable[..., Any]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    yield


@pytest.mark.parametrize("student", ["crma", "lora"])
def test_the_student_comes_nearer_to_every_teacher_with_all_steps(
    make_course: MakeCourse, tmp_path: Path, student: str
) -> None:
    course = make_course("code", "legal", steps=30, learning_rate=2e-2, crma_learning_rate=5e-2)
    basis = course.learn(FROZEN)
    bench, tasks = course.load()
    method = Consolidated("taught", student=student)  # type: ignore[arg-type]
    lesson = Lesson(bench, tasks, 0, (), basis[:1])
    stages: list[Path] = []
    for index, name in enumerate(("code", "legal")):
        folder = tmp_path / "taught" / name
        folder.mkdir(parents=True)
        generic = (tuple(prompt_ids("hello", bench.chat)),)
        given = dataclasses.replace(lesson, index=index, stages=tuple(stages), basis=basis, generic=generic)
        method.learn(given, folder)
        stages.append(folder)
    assert not any((stages[0] / part).exists() for part in (ADAPTER, BACKBONE))
    assert method.serving(stages[:1], 0) is None
    serving = method.serving(stages, 0)
    assert serving == method.serving(stages, 1)
    assert serving is not None and (serving.adapter is None) == (student == "crma")
    assert len(read_steps(stages[1])) == 2 * 30
    for task, stage in zip(tasks, basis, strict=True):
        prompts = tuple(row.token_ids[: row.answer_start] for row in task.train)
        rows = ask(bench, Teacher(task.name, stage / ADAPTER, None, prompts), end_ids(bench.chat))
        before = divergence(bench, rows)
        with at_work(bench.model, serving.adapter, serving.backbone):
            assert divergence(bench, rows) < before


def test_two_students_ask_a_teacher_once(
    make_course: MakeCourse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = make_course("code")
    basis = course.learn(FROZEN)
    bench, tasks = course.load()
    asked: list[str] = []

    def counted(bench: Any, teacher: Teacher, ends: Any) -> Any:
        asked.append(teacher.name)
        return ask(bench, teacher, ends)

    monkeypatch.setattr("crma_training.taught.ask", counted)
    for number, student in enumerate(("crma", "lora", "lora")):
        folder = tmp_path / str(number)
        folder.mkdir()
        Consolidated("taught", student=student).learn(Lesson(bench, tasks, 0, (), basis), folder)  # type: ignore[arg-type]
    assert asked == ["code"]
    files = [course.files(tmp_path / name) for name in ("1", "2")]
    assert files[0] == files[1]
    assert Consolidated("taught").serving([tmp_path / "0"], 0) == Serving(None, tmp_path / "0" / BACKBONE)
