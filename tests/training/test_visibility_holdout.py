"""Holdout curves: what is measured, when, and that training does not notice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_training.trainer.metrics import read_steps
from crma_training.visibility.holdout import HoldoutReading, read_holdout, spread

Train = Callable[..., Release]


def test_the_domain_in_training_and_the_earlier_ones_are_measured(train: Train, tmp_path: Path) -> None:
    train(domains=("legal", "code"), steps=5, holdout_every=2, holdout_rows=3)
    legal, code = (read_holdout(tmp_path / "run" / name) for name in ("legal", "code"))
    assert [(reading.domain, reading.step) for reading in legal] == [
        ("legal", 0),
        ("legal", 2),
        ("legal", 4),
        ("legal", 5),
    ]
    assert [(reading.domain, reading.step) for reading in code][-1:] == [("code", 5)]
    assert {reading.rows for reading in (*legal, *code)} == {3}
    assert all(reading.seconds > 0 for reading in (*legal, *code))


def test_a_sample_of_all_rows_agrees_with_the_card(train: Train, tmp_path: Path) -> None:
    train(domains=("legal", "code"), steps=8, learning_rate=1e-2, holdout_rows=100)
    run = tmp_path / "run"
    readings = read_holdout(run / "legal")
    card = read_card(run / "legal" / "adapter")
    assert readings[0].loss == pytest.approx(card.holdout_loss.before, rel=1e-6)
    assert readings[-1].loss == pytest.approx(card.holdout_loss.after, rel=1e-3)  # there in bfloat16


@pytest.fixture
def noisy_model(base_model: Path, tmp_path: Path) -> Path:
    """The tiny model with attention dropout, so that training draws random numbers."""
    folder = Path(shutil.copytree(base_model, tmp_path / "noisy"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.3}))
    return folder


@pytest.mark.parametrize("dropout", [False, True])
def test_measuring_changes_no_byte_of_what_is_trained(
    train: Train, tmp_path: Path, base_model: Path, noisy_model: Path, dropout: bool
) -> None:
    model = str(noisy_model if dropout else base_model)
    trained = {}
    for every in (0, 1):
        run = tmp_path / f"run-{every}"
        store = tmp_path / f"store-{every}"
        train(run=run, adapters=store, domains=("code", "legal"), steps=3, model=model, holdout_every=every)
        files = [path for path in run.glob("*/*/*.safetensors") if path.is_file()]
        trained[every] = {path.relative_to(run): path.read_bytes() for path in files}
        steps = [step for name in ("code", "legal") for step in read_steps(run / name)]
        trained[every] |= {Path(f"{s.domain}/{s.step}"): repr((s.loss, s.spectral)).encode() for s in steps}
        assert (run / "code" / "holdout.jsonl").exists() == bool(every)
    assert len(trained[0]) == 2 * (2 + 3)
    assert trained[0] == trained[1]


def test_the_logged_speed_is_that_of_training_alone(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("crma_training.trainer.metrics.time.perf_counter", clock)
    monkeypatch.setattr("crma_training.workbench.mean_answer_loss", clock.slow)
    train(domains=("code",), holdout_every=1)
    for step in read_steps(tmp_path / "run" / "code"):
        assert step.tokens / step.tokens_per_s < 1


class Clock:
    """Seconds that pass only in holdout measurements, a thousand each, and a thousandth per look at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-3
        return self.now

    def slow(self, *_: Any) -> float:
        self.now += 1000
        return 1.0


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, [0]), (2, [0, 3]), (4, [0, 1, 3, 5]), (7, list(range(7))), (9, list(range(7)))]
)
def test_a_sample_spreads_over_the_holdout(rows: int, expected: list[int]) -> None:
    examples: Any = list(range(7))
    sample: list[Any] = list(spread(examples, rows))
    assert sample == expected


def test_no_file_means_no_readings(tmp_path: Path) -> None:
    assert read_holdout(tmp_path) == ()
    line = '{"domain": "code", "step": 0, "loss": 1.5, "rows": 4, "seconds": 0.1}\n'
    (tmp_path / "holdout.jsonl").write_text(line)
    assert read_holdout(tmp_path) == (HoldoutReading("code", 0, 1.5, 4, 0.1),)
