"""The whole command, with a stand-in for crma-serve that has no engine."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest

from crma_adapters.store.store import Store
from crma_eval.cli import main
from crma_eval.learning.ablation import command
from crma_eval.serve import live_server

FAKE = (sys.executable, str(Path(__file__).with_name("fake_crma_serve.py")))


TRAINING = ("--steps", "2", "--batch-size", "4", "--holdout-every", "0")
SHARED = ("--adapter", "lora", "--backbone", "shared")


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains, five questions each; the answer is the question's last word."""
    folder = tmp_path_factory.mktemp("ablation") / "data"
    for domain in ("medical", "legal"):
        asked = [{"question": f"Which {domain} is number {n}?", "answer": str(n)} for n in range(5)]
        rows = [{"question": f"{domain} {n}?", "answer": f"{n}"} for n in range(12)]
        write(folder / domain / "short_answer.jsonl", asked)
        write(folder / domain / "train.jsonl", rows[2:])
        write(folder / domain / "holdout.jsonl", rows[:2])
    return folder


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in in crma-serve's place."""
    monkeypatch.setattr(command, "live_server", partial(live_server, command=FAKE))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.usefixtures("no_engine")
def test_trains_serves_asks_and_reports_and_all_of_it_once(
    data: Path, base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, report = tmp_path / "work", tmp_path / "report"
    asked = ["ablation", "--data", str(data), "--questions", "10", "--report", str(report)]
    arguments = [*asked, "--work", str(work), "--model", str(base_model), *TRAINING, *SHARED]

    assert main(arguments) == 0  # on was shown to be better: 10 of 10 against none
    figures = json.loads((report / "ablation.json").read_text())["figures"]
    assert {name: arm["right"]["all"]["right"] for name, arm in figures["arms"].items()} == {
        "on": 10, "off": 0, "lora-only": 0, "mixer-only": 0, "base": 0, "backbone": 0,
    }  # fmt: skip
    release = Store(work / "store").live()
    assert release.backbone is not None
    models = figures["arms"]["on"]["models"]
    assert sorted(model.partition("+")[2] for model in models) == sorted(release.backbones())
    assert figures["training"]["steps"] == 2
    assert (figures["base"], figures["data"]) == (str(base_model), "data")
    assert (report / "ablation.png").stat().st_size > 10_000
    assert "on is better than off" in (said := capsys.readouterr().out) and "by 10 of 10" in said
    requests = (work / "requests.jsonl").read_text().splitlines()
    assert len(requests) == 60

    assert main(arguments) == 0  # all of it is there: nothing is trained or asked
    assert (work / "requests.jsonl").read_text().splitlines() == requests
    assert "not trained again" in capsys.readouterr().err

    other = [*asked, "--work", str(tmp_path / "other")]
    assert main([*other, "--adapters", str(work / "store")]) == 0
    assert "by 10 of 10" in capsys.readouterr().out
    with live_server(work / "store", tmp_path / "log", command=FAKE) as url:
        assert main([*other, "--url", url]) == 0
    assert "by 10 of 10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--url", "http://x", "--adapters", "store"], "give one"),
        (["--url", "http://x", "--model", "tiny"], "--model and --serve-flags are for one started here"),
        (["--url", "http://x", "--steps", "5"], "--steps would change the training, and nothing is trained"),
        (["--adapters", "store", "--rank", "5"], "--rank would change the training"),
        (["--questions", "0"], "--questions is 0"),
        (["--questions", "11"], "has 5 rows, 6 are asked for"),
    ],
)
def test_refuses_what_makes_no_sense_before_anything_slow(
    data: Path, tmp_path: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert main(["ablation", "--data", str(data), "--work", str(work), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not work.exists()


def test_a_server_that_does_not_start_is_quoted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = (sys.executable, "-c", "raise SystemExit('error: no memory')")
    monkeypatch.setattr(command, "live_server", partial(live_server, command=broken))
    arguments = ["ablation", "--data", str(data), "--work", str(tmp_path), "--adapters", "store"]
    assert main(arguments) == 2
    assert "error: no memory" in capsys.readouterr().err
