"""Logs of training put in order: one sequence or many, damaged ones refused."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_eval.learning.spectral.trajectory import read_trajectories
from crma_training.spectral import SpectralReading


def _reading(alpha: float) -> SpectralReading:
    return SpectralReading(2e-8, 3e-8, 4e-8, alpha / 2, alpha, 2 * alpha, 0.005)


def _stage(folder: Path, alphas: list[float | None]) -> None:
    folder.mkdir(parents=True)
    lines = [{"step": i, "spectral": asdict(_reading(a)) if a else None} for i, a in enumerate(alphas)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_stages_follow_the_runs_order_and_steps_are_counted_on(tmp_path: Path) -> None:
    _stage(tmp_path / "medical", [0.1, 0.2])
    _stage(tmp_path / "code", [0.3, 0.4, 0.5])
    (tmp_path / ".working").mkdir()
    _stage(tmp_path / ".working" / "legal", [0.9])
    (tmp_path / "run.json").write_text(json.dumps({"domains": ["medical", "code", "legal"]}))
    (found,) = read_trajectories(tmp_path)
    assert found.name == "" and [stage.domain for stage in found.stages] == ["medical", "code"]
    assert found.starts == (0, 2)
    assert found.readings == tuple(_reading(a) for a in (0.1, 0.2, 0.3, 0.4, 0.5))


def test_every_method_and_seed_with_crma_is_a_sequence(tmp_path: Path) -> None:
    for seed in (0, 42):
        _stage(tmp_path / "modular" / f"seed-{seed}" / "a", [0.1])
    _stage(tmp_path / "naive" / "seed-0" / "a", [None, None])
    assert [found.name for found in read_trajectories(tmp_path)] == ["modular-seed-0", "modular-seed-42"]


def test_a_run_without_crma_is_refused(tmp_path: Path) -> None:
    _stage(tmp_path / "naive" / "a", [None])
    with pytest.raises(DataError, match="1 sequences, none of them with CRMA"):
        read_trajectories(tmp_path)
    with pytest.raises(DataError, match="no logs of training"):
        read_trajectories(_empty(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        read_trajectories(tmp_path / "nowhere")


def _empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.mark.parametrize("line", [b"{", b'{"loss": 1}', b'{"spectral": {"alpha_min": 1}}', b"[]", b"\xff"])
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    _stage(tmp_path / "medical", [0.1])
    log = tmp_path / "medical" / "metrics.jsonl"
    log.write_bytes(log.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: not a step of training"):
        read_trajectories(tmp_path)


def test_a_damaged_run_document_is_named(tmp_path: Path) -> None:
    _stage(tmp_path / "medical", [0.1])
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"run\.json: not what a run writes"):
        read_trajectories(tmp_path)
