"""A run that was killed, interrupted, damaged or changed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.errors import ConfigError, TrainingError
from crma_adapters.store.release import Release
from crma_training.domain import train_domain
from crma_training.sequence import Job, train_sequence
from crma_training.trainer.metrics import read_steps

MakeJob = Callable[..., Job]
Train = Callable[..., Release]
WriteRows = Callable[..., Path]


def test_a_killed_run_ends_with_the_release_of_an_uninterrupted_one(
    make_job: MakeJob, tmp_path: Path
) -> None:
    paths = {"adapters": tmp_path / "store-whole", "run": tmp_path / "run-whole"}
    whole = make_job(**paths, steps=12, router=True, save_steps=4, lora_dropout=0.1)
    expected = train_sequence(whole)

    killed = replace(whole, adapters=tmp_path / "store", run=tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(killed.data), str(tmp_path), killed.config.model],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    second, third = tmp_path / "run" / "financial", tmp_path / "run" / "legal"
    checkpoint = tmp_path / "run" / ".working-legal" / "checkpoints" / "checkpoint-4" / "seal.json"
    try:
        wait_until(lambda: second.exists() and checkpoint.exists())
    finally:
        process.kill()  # SIGKILL
        process.wait()
    assert not third.exists()
    assert not (tmp_path / "store").exists()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "code").rglob("*")}

    said: list[str] = []
    before = [line for line in metrics_of(tmp_path / "run" / ".working-legal")[:4]]
    resumed = train_sequence(killed, said.append)
    assert "legal: goes on after step" in " ".join(said)
    assert metrics_of(tmp_path / "run" / "legal")[:4] == before  # not trained again
    assert [step.step for step in read_steps(tmp_path / "run" / "legal")] == list(range(12))
    assert not (tmp_path / "run" / "legal" / "checkpoints").exists()
    assert "financial: finished before, not trained again" in said
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert "4 of 4 finished: code, financial, legal, medical" in (tmp_path / "run/report.html").read_text()
    assert replace(resumed, created=expected.created) == expected
    assert content(tmp_path / "store") == content(tmp_path / "store-whole")


KILLED = """
import sys
from crma_training.cli import main
data, folder, model = sys.argv[1:]
main(["--data", data, "--adapters", folder + "/store", "--run", folder + "/run", "--model", model,
      "--max-steps", "12", "--batch-size", "4", "--adapter", "lora", "--backbone", "shared",
      "--save-steps", "4", "--lora-dropout", "0.1"])
"""


def metrics_of(stage: Path) -> list[bytes]:
    return (stage / "metrics.jsonl").read_bytes().splitlines()


def wait_until(holds: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "the third domain did not begin"
        time.sleep(0.005)


def content(store: Path) -> dict[str, bytes]:
    """Every file of a store but the dated documents."""
    files = (path for path in store.rglob("*") if path.is_file())
    undated = (path for path in files if path.name != "release.json" and path.parent.name != "releases")
    return {str(path.relative_to(store)): path.read_bytes() for path in undated}


def test_changed_options_or_data_are_another_run(train: Train, write_rows: WriteRows) -> None:
    train(domains=("code",))
    with pytest.raises(ConfigError, match=r"config\.seed was 0, now 5"):
        train(domains=("code",), seed=5)
    write_rows("code/holdout.jsonl", [{"question": "new?", "answer": "yes"}])
    with pytest.raises(ConfigError, match="data_sha256 was"):
        train(domains=("code",))


def test_an_interruption_keeps_what_was_finished_and_what_was_begun(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(bench: Any, task: Any, folder: Path, beginning: Any, events: Any) -> Any:
        if task.name == "legal":
            (folder / "half").write_bytes(b"")
            raise KeyboardInterrupt
        return train_domain(bench, task, folder, beginning, events)

    monkeypatch.setattr("crma_training.sequence.train_domain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        ".lock",
        ".start",
        ".working-legal",
        "code",
        "financial",
        "report.html",
        "run.json",
        "tensorboard.d",
    ]
    assert not (tmp_path / "store").exists()
    monkeypatch.undo()
    assert train().number == 1


def test_a_finished_lora_that_changes_stops_the_run(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(bench: Any, task: Any, folder: Path, beginning: Any, events: Any) -> Any:
        if task.name == "financial":
            (folder.parent / "code" / "adapter" / "adapter_model.safetensors").write_bytes(b"x")
        return train_domain(bench, task, folder, beginning, events)

    monkeypatch.setattr("crma_training.sequence.train_domain", careless)
    with pytest.raises(TrainingError, match=r"code/adapter/adapter_model\.safetensors is not what"):
        train()
