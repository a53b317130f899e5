"""`crma-train`: flags from the configuration, one line per error, what is said on Ctrl-C."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_training.cli import main
from crma_training.config import TrainConfig, flag_of
from crma_training.sequence import Job

PATHS = ["--data", "data", "--adapters", "store"]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What would be trained; the last thing before training, then it is interrupted."""
    seen: list[Job] = []

    def interrupted(job: Job) -> None:
        seen.append(job)
        raise KeyboardInterrupt

    monkeypatch.setattr("crma_training.sequence.train_sequence", interrupted)
    return seen


def test_no_flag_means_the_configurations_defaults(jobs: list[Job]) -> None:
    main(PATHS)
    assert jobs == [Job(data=Path("data"), adapters=Path("store"), config=TrainConfig())]


def test_every_option_is_a_flag(jobs: list[Job]) -> None:
    given = "--domains code,legal --run r --rank 8 --target-modules q_proj,o_proj --learning-rate 2e-4"
    main([*PATHS, *given.split(), "--no-router", "--freeze-backbone", "--mode", "free", "--note", "a note"])
    (job,) = jobs
    assert (job.domains, job.run) == (("code", "legal"), Path("r"))
    assert job.config == TrainConfig(
        rank=8,
        target_modules=("q_proj", "o_proj"),
        learning_rate=2e-4,
        router=False,
        freeze_backbone=True,
        mode="free",
        note="a note",
    )


def test_flags_have_transformers_names_and_spelling(
    jobs: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    given = "--num_train_epochs 3 --per_device_train_batch_size=2 --gradient_accumulation_steps 4"
    given += " --lr-scheduler-type linear --warmup_ratio 0.1 --load_in_4bit --report_to wandb,mlflow"
    main([*PATHS, *given.split()])
    assert "is now" not in capsys.readouterr().err
    main([*PATHS, "--epochs", "3", "--batch-size", "2", "--schedule", "linear", "--warmup", "0.1"])
    told = capsys.readouterr().err
    assert "--epochs is now --num-train-epochs\n--batch-size is now --per-device-train-batch-size\n" in told
    new, old = (job.config for job in jobs)
    assert (new.epochs, new.batch_size, new.schedule, new.warmup) == (3, 2, "linear", 0.1)
    assert (old.epochs, old.batch_size, old.schedule, old.warmup) == (3, 2, "linear", 0.1)
    assert (new.gradient_accumulation_steps, new.load_in_4bit) == (4, True)
    assert new.report_to == ("wandb", "mlflow")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("q_proj, v_proj", ("q_proj", "v_proj")),
        ("all-linear", ("all-linear",)),
        (r".*\.self_attn\.(q|v)_proj", (r".*\.self_attn\.(q|v)_proj",)),
        (r"model\.layers\.[0-9]{1,2}\.mlp\.up_proj", (r"model\.layers\.[0-9]{1,2}\.mlp\.up_proj",)),
    ],
)
def test_target_modules_are_names_or_an_expression(
    jobs: list[Job], given: str, expected: tuple[str, ...]
) -> None:
    main([*PATHS, "--target-modules", given])
    assert jobs[0].config.target_modules == expected


def test_a_broken_expression_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PATHS, "--target-modules", "(q_proj"]) == 2
    assert "'(q_proj' is no regular expression" in capsys.readouterr().err


def test_the_help_names_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in dataclasses.fields(TrainConfig):
        assert flag_of(option) in text
    assert "(default: q_proj,v_proj,gate_proj,up_proj,down_proj)" in text
    assert "LoRA rank (default: 4)" in text


def test_flags_are_read_before_torch_is_loaded() -> None:
    code = "import sys, crma_training.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ranks", "4"], "unrecognized arguments: --ranks 4"),
        (["--rank", "four"], "argument --rank: invalid int value: 'four'"),
        (["--mode", "loose"], "argument --mode: invalid choice: 'loose'"),
    ],
)
def test_unusable_flags_end_with_status_2(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*PATHS, *flags])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rank", "0"], "error: --rank is 0; give a value that is at least 1\n"),
        (
            ["--domains", "code,,legal"],
            "error: 'code,,legal' has an empty name; separate names with single commas\n",
        ),
    ],
)
def test_unusable_values_are_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*PATHS, *flags]) == 2
    assert capsys.readouterr().err == message


def test_unusable_data_is_one_line_and_leaves_no_store(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["--data", str(data_folder), "--adapters", str(tmp_path / "store")]
    assert main([*paths, "--domains", "cooking"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"error: .*: unknown domain cooking; it has code, financial, legal, medical\n", error)
    assert not (tmp_path / "store").exists()


def test_ctrl_c_says_how_to_go_on(jobs: list[Job], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(PATHS) == 130
    assert len(jobs) == 1
    assert "finished domains are kept, give the same command again to go on" in capsys.readouterr().err


def test_success_says_what_is_live(
    base_model: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [
        "--data",
        data_folder,
        "--adapters",
        tmp_path / "store",
        "--run",
        tmp_path / "run",
        "--model",
        base_model,
    ]
    assert main([*map(str, paths), "--steps", "1", "--no-router", "--domains", "legal,code"]) == 0
    assert f"release 1 is live in {tmp_path / 'store'}: code, legal\n" in capsys.readouterr().out


def test_demo_data_is_another_command(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    builder: Callable[[list[str]], int] = lambda argv: given.append(argv) or 7  # type: ignore[func-returns-value]  # noqa: E731
    monkeypatch.setattr("crma_training.demo_data.cli.main", builder)
    assert main(["demo-data", "DIR"]) == 7
    assert given == [["DIR"]]
