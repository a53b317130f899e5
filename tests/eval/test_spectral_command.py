"""`crma-eval spectral` on a run of the tiny model."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from crma_adapters.crma.backbone import save_backbone
from crma_adapters.crma.config import CrmaConfig
from crma_adapters.crma.crma import Crma
from crma_adapters.store.store import Store
from crma_eval.cli import main
from crma_training.spectral import SpectralReading

ADAPTERS = Path(__file__).parents[2] / "adapters"


def _run_folder(root: Path, *, norm_error: float = 2e-8) -> Path:
    crma = Crma(CrmaConfig(8, 2, rank=4, form=1), [torch.linalg.qr(torch.randn(8, 4)).Q] * 2)
    for number, domain in enumerate(("medical", "legal")):
        reading = SpectralReading(norm_error, 3e-8, 4e-8, 0.01, 0.02 + number, 0.03, 0.005)
        folder = root / domain
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text(3 * (json.dumps({"spectral": asdict(reading)}) + "\n"))
        save_backbone(crma, folder / "backbone", base_model="tiny", base_fingerprint="ab" * 32)
    (root / "run.json").write_text(json.dumps({"domains": ["medical", "legal"]}))
    return root


def test_report_and_plot_of_a_run_and_the_demo_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _run_folder(tmp_path / "run")
    arguments = ["--run", str(run), "--adapters", str(ADAPTERS), "--report", str(tmp_path / "out")]
    assert main(["spectral", *arguments]) == 0
    text = capsys.readouterr().out
    live = f"release {Store(ADAPTERS).live().number}"
    assert "| medical | 3 " in text and f"| {live} " in text and "| end of the run" in text
    assert "**What it does not show.** Anything about forgetting." in text
    figures = json.loads((tmp_path / "out" / "spectral.json").read_text())["figures"]
    (sequence,) = figures["sequences"]
    assert sequence["stages"][1] == {"domain": "legal", "first_step": 3, "steps": 3}
    assert sequence["series"]["alpha_mean"] == [0.02, 0.02, 0.02, 1.02, 1.02, 1.02]
    assert sequence["worst"] == {"mixing_norm_error": 2e-8, "row_error": 3e-8, "column_error": 4e-8}
    assert figures["backbones"][live]["exact"]["norm"] < 1e-9
    assert (tmp_path / "out" / "spectral.png").read_bytes().startswith(b"\x89PNG")


def test_a_norm_that_left_its_constraint_is_a_failure(tmp_path: Path) -> None:
    assert main(["spectral", "--run", str(_run_folder(tmp_path, norm_error=1e-4))]) == 1


def test_several_sequences_have_a_plot_each(tmp_path: Path) -> None:
    for seed in (0, 1):
        _run_folder(tmp_path / "work" / "modular" / f"seed-{seed}")
    assert main(["spectral", "--run", str(tmp_path / "work"), "--report", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "spectral-modular-seed-0.png",
        "spectral-modular-seed-1.png",
    }


def test_a_folder_without_logs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectral", "--run", str(tmp_path)]) == 2
    assert "no logs of training" in capsys.readouterr().err
