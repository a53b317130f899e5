"""Event files, read back with TensorBoard's own reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crma_adapters.store.release import Release
from crma_training.cli import main
from crma_training.domain import train_domain
from crma_training.trainer.metrics import LoggedStep, read_steps
from crma_training.visibility.holdout import read_holdout
from crma_training.visibility.tensorboard import EVENTS, EventWriter

Train = Callable[..., Release]
Points = dict[str, list[tuple[int, float]]]


def near(value: float) -> float:
    """As an event file has it."""
    return float(np.float32(value))


def scalars(folder: Path) -> Points:
    """Step and value of every scalar in an event folder, by tag."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def test_every_logged_value_is_a_scalar(train: Train, tmp_path: Path) -> None:
    train(domains=("legal", "code"), steps=3, holdout_every=2)
    for name in ("legal", "code"):
        stage, found = tmp_path / "run" / name, scalars(tmp_path / "run" / EVENTS / name)
        steps = read_steps(stage)
        for tag, read in READ.items():
            expected = [(step.step, near(read(step))) for step in steps]
            assert found[tag] == expected, tag
        for reading in read_holdout(stage):
            assert (reading.step, near(reading.loss)) in found[f"holdout/{reading.domain}"]
    assert set(scalars(tmp_path / "run" / EVENTS / "code")) >= {"holdout/code"}


READ: dict[str, Callable[[LoggedStep], float]] = {
    "loss/train": lambda step: step.loss,
    "speed/tokens_per_s": lambda step: step.tokens_per_s,
    "grad_norm/lora": lambda step: step.gradient_norm["lora"],
    "grad_norm/logits": lambda step: step.gradient_norm["logits"],
    "clipped/lora": lambda step: float(step.clipped["lora"]),
    "lr/projections": lambda step: step.learning_rate["projections"],
    "crma/alpha_mean": lambda step: step.spectral.alpha_mean if step.spectral else -1,
    "crma/relative_change": lambda step: step.spectral.relative_change if step.spectral else -1,
    "crma/mixing_norm_error": lambda step: step.spectral.mixing_norm_error if step.spectral else -1,
}


def test_a_domain_that_starts_again_is_shown_once(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(bench: Any, task: Any, folder: Path, beginning: Any, events: EventWriter) -> Any:
        card = train_domain(bench, task, folder, beginning, events)
        if task.name == "legal":
            raise KeyboardInterrupt
        return card

    monkeypatch.setattr("crma_training.sequence.train_domain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(domains=("code", "legal"))
    events = tmp_path / "run" / EVENTS
    assert len(scalars(events / "legal")["loss/train"]) == 4
    before = (next((events / "code").iterdir()), next((events / "legal").iterdir()))
    monkeypatch.undo()
    train(domains=("code", "legal"))
    assert before[0].exists()
    assert not before[1].exists()
    assert [step for step, _ in scalars(events / "legal")["loss/train"]] == [0, 1, 2, 3]


def test_missing_event_files_are_made_again_from_the_logs(
    finished_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run("legal", "code")
    assert main(["report", str(run)]) == 0
    assert f"{run / 'report.html'}; " in capsys.readouterr().out
    found = scalars(run / EVENTS / "code")
    assert [step for step, _ in found["loss/train"]] == [0, 1, 2, 3, 4, 5]
    assert found["clipped/lora"] == [(step, float(step == 4)) for step in range(6)]
    assert found["holdout/legal"] == [(6, 2.5)]
    kept = next((run / EVENTS / "code").iterdir())
    assert main(["report", str(run)]) == 0
    assert list((run / EVENTS / "code").iterdir()) == [kept]


def test_steps_without_crma_have_no_crma_scalars(tmp_path: Path) -> None:
    step = LoggedStep("code", 0, 2.0, {"lora": 1.0}, {"lora": True}, {"lora": 1e-3}, None, 10, 5.0)
    with EventWriter(tmp_path) as events:
        events.step(step)
    assert scalars(tmp_path) == {
        "loss/train": [(0, 2.0)],
        "speed/tokens_per_s": [(0, 5.0)],
        "grad_norm/lora": [(0, 1.0)],
        "clipped/lora": [(0, 1.0)],
        "lr/lora": [(0, near(1e-3))],
    }
