"""`crma-eval overhead` on the tiny model, and its refusals."""

import json
from pathlib import Path

import pytest

from crma_eval.cli import main


def test_arms_train_on_the_same_tokens_and_only_crma_is_larger(
    base_model: Path, data_folder: Path, tmp_path: Path
) -> None:
    sizes = ["--blocks", "3", "--block-steps", "2", "--warmup-blocks", "1", "--batch-size", "4"]
    where = ["--data", str(data_folder), "--domain", "code", "--report", str(tmp_path / "out")]
    status = main(["overhead", "--model", str(base_model), *where, *sizes])
    figures = json.loads((tmp_path / "out" / "overhead.json").read_text())["figures"]
    assert figures["domain"] == "code" and figures["blocks"] == len(figures["pairs"]) == 3
    assert status == (0 if figures["wall"]["median"] >= 0.95 else 1)
    for pair in figures["pairs"]:
        assert pair["lora"]["tokens"] == pair["crma"]["tokens"] > 100
        assert all(arm["wall_s"] > 0 and arm["cpu_s"] > 0 for arm in pair.values())
    lora, crma = figures["arms"]["lora"], figures["arms"]["crma"]
    added = 2 * (2 * 16 * 32 + 16 * 16)  # two blocks of U, V and the logits
    assert crma["parameters"] == lora["parameters"] + added
    assert min(lora["memory_bytes"], crma["memory_bytes"]) > 50 * 2**20


@pytest.mark.parametrize(
    ("flag", "value"), [("--blocks", "1"), ("--block-steps", "0"), ("--warmup-blocks", "-1")]
)
def test_sizes_that_measure_nothing_are_refused(
    data_folder: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    assert main(["overhead", "--data", str(data_folder), flag, value]) == 2
    assert f"{flag} is {value}" in capsys.readouterr().err
