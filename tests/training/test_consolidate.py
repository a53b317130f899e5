"""The consolidated backbone: what teachers answered is kept, the student comes nearer, a gate decides."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crma_adapters.crma.attach import attach
from crma_adapters.crma.backbone import read_backbone_card
from crma_adapters.crma.crma import Crma
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_router.classifier.data import RouterData
from crma_training import consolidate_command
from crma_training.consolidate import STAGE, Consolidation, answer_all, consolidate
from crma_training.consolidate_command import consolidate_store
from crma_training.data.tokens import collate, end_ids
from crma_training.learn import BACKBONE
from crma_training.run_folder import RunFolder
from crma_training.taught import Teacher, ask, divergence, epochs_of, read_taught, taught_loss, write_taught

MakeCourse = Callable[..., Any]
Train = Callable[..., Release]


def prompts_of(task: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(example.token_ids[: example.answer_start] for example in task.train)


def test_a_teacher_answers_greedily_and_its_rows_come_back_from_disk(
    make_course: MakeCourse, tmp_path: Path
) -> None:
    bench, (task, *_) = make_course("code").load()
    ends = end_ids(bench.chat)
    rows = ask(bench, Teacher("base", None, None, prompts_of(task)), ends)
    assert len(rows) == len(set(prompts_of(task)))
    for row in rows:
        start, ids = row.example.answer_start, row.example.token_ids
        with torch.no_grad():
            logits = bench.model(torch.tensor([ids])).logits[0, start - 1 : -1]
        assert logits.argmax(-1).tolist() == list(ids[start:])
        assert row.top[:, 0].tolist() == list(ids[start:])
        torch.testing.assert_close(row.log_p.exp().sum(-1), torch.ones(len(row.top)))
    write_taught(rows, tmp_path / "rows.safetensors")
    for row, kept in zip(rows, read_taught(tmp_path / "rows.safetensors"), strict=True):
        assert kept.example == row.example
        assert torch.equal(kept.top, row.top) and torch.equal(kept.log_p, row.log_p)


def test_a_teacher_does_not_diverge_from_itself(make_course: MakeCourse) -> None:
    bench, (task, *_) = make_course("code").load()
    rows = ask(bench, Teacher("base", None, None, prompts_of(task)), end_ids(bench.chat))
    untold = divergence(bench, rows)  # what the tokens beyond the kept ones have
    with attach(bench.model, Crma.from_model(bench.model, rank=2)) as attachment, torch.no_grad():
        assert divergence(bench, rows) == pytest.approx(untold, abs=1e-5)
        for index in range(attachment.crma.config.num_layers):
            attachment.crma.block(index).write.normal_()
        assert divergence(bench, rows) > untold + 0.01
    batch = collate([row.example for row in rows], bench.pad_id)
    entropy = -sum((row.log_p.exp() * row.log_p).sum() for row in rows) / batch.answer_tokens
    assert float(taught_loss(bench.model, rows, batch)) == pytest.approx(float(entropy) + untold, rel=1e-3)


def test_the_student_comes_nearer_and_a_killed_run_asks_no_teacher_twice(
    make_course: MakeCourse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = make_course("code", "legal", steps=20, learning_rate=1e-2)
    from crma_training.methods.per_domain import FROZEN

    stages = course.learn(FROZEN)
    bench, tasks = course.load()
    teachers = [
        Teacher(task.name, stage / "adapter", None, prompts_of(task))
        for task, stage in zip(tasks, stages, strict=True)
    ]
    with RunFolder(tmp_path / "run", {"what": "test"}) as run:
        taught = answer_all(run, bench, teachers, end_ids(bench.chat))
        monkeypatch.setattr("crma_training.consolidate.ask", None)
        again = answer_all(run, bench, teachers, end_ids(bench.chat))
    assert [row.example for row in again["legal"]] == [row.example for row in taught["legal"]]
    student = Crma.from_model(bench.model, rank=8)
    learner = replace(bench, config=replace(bench.config, consolidation_epochs=20, crma_learning_rate=1e-2))
    result = consolidate(learner, student, taught, tmp_path)
    assert all(result.divergence[name] < result.before[name] for name in ("code", "legal"))
    assert result.passes
    assert not hasattr(bench.model.get_decoder(), "crma")


def test_the_gate() -> None:
    before = {"code": 1.0, "generic": 0.0}
    assert Consolidation({"code": 0.5, "generic": 0.1}, before, 0.02).passes
    assert not Consolidation({"code": 0.5, "generic": 0.1}, before, 0.021).passes
    assert not Consolidation({"code": 1.1, "generic": 0.0}, before, 0.0).passes


def test_every_row_comes_once_an_epoch() -> None:
    taught: list[Any] = list("abcdef")
    batches = list(epochs_of(taught, 4, 3, "seed"))
    rows: list[Any] = [row for batch in batches for row in batch]
    assert sorted(rows[:6]) == sorted(rows[6:]) == taught
    assert batches == list(epochs_of(taught, 4, 3, "seed"))


def test_a_store_gets_a_backbone_that_moves_no_adapter(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(domains=("code", "legal"), backbone="none", steps=20, learning_rate=1e-2)
    store = Store(tmp_path / "store")
    asked = [f"question {n} about something" for n in range(12)]
    kept = RouterData(examples={"code": asked, "legal": asked[::-1]}, out_of_domain=["hello there", "hi"])
    monkeypatch.setattr("crma_training.store_questions.kept_questions", lambda *_: kept)
    from crma_training.config import TrainConfig

    config = TrainConfig(
        consolidation_epochs=4, consolidation_questions=12, crma_learning_rate=1e-2, backbone_rank=3
    )
    said: list[str] = []
    release = consolidate_store(store, config, tmp_path / "consolidation", said.append)
    assert said[-1].startswith("consolidated backbone: divergence from its teachers code")
    assert read_backbone_card(tmp_path / "consolidation" / STAGE / BACKBONE).config.rank == 3
    if release is None:
        assert said[-1].endswith("is not published") and store.live() == first
        return
    assert release.backbone is not None
    assert release.adapters == first.placed().adapters
    verify_release(store, release)


def test_its_flags_are_those_it_uses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        consolidate_command.main(["--help"])
    shown = capsys.readouterr().out
    assert "--consolidation-questions" in shown
    assert "--lora-alpha" not in shown
