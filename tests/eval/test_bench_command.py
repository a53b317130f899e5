"""The whole command, with stand-ins for the servers and the client: no engine, no vLLM."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.models.base_model import resolve_base_model
from crma_eval.cli import main
from crma_eval.serving.bench import servers, session, turns
from crma_eval.serving.bench.systems import RESIDENT

from .bench_store import make_store

FAKE = str(Path(__file__).with_name("fake_bench.py"))
SERVE, CLIENT = (sys.executable, FAKE, "serve"), (sys.executable, FAKE, "client")
COPIES = RESIDENT + 6


@pytest.fixture(scope="module")
def store(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bench") / "store"
    make_store(root, resolve_base_model(str(base_model)), ("medical", "legal"))
    return root


@pytest.fixture
def data(write_rows: Callable[..., Path]) -> Path:
    rows = [{"question": f"What is the case number {n}?"} for n in range(9)]
    return write_rows("legal/holdout.jsonl", rows).parent.parent


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "COMMANDS", servers.Commands(SERVE, SERVE))
    monkeypatch.setattr(turns, "COMMAND", CLIENT)
    monkeypatch.setattr(session, "SETTLE_S", 0.0)
    monkeypatch.setattr(session, "LEAST_FREE_BYTES", 0)


@pytest.fixture
def arguments(store: Path, data: Path, tmp_path: Path) -> list[str]:
    where = [
        "--adapters",
        str(store),
        "--data",
        str(data),
        "--domain",
        "legal",
        "--work",
        str(tmp_path / "w"),
    ]
    sizes = ["--repeats", "2", "--loads", "1:2,4:8", "--output-tokens", "5", "--copies", str(COPIES)]
    return ["bench", *where, *sizes, "--report", str(tmp_path / "out")]


def figures(tmp_path: Path, name: str = "bench") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "out" / f"{name}.json").read_text())["figures"]
    return found


@pytest.mark.usefixtures("stand_ins")
def test_a_run_judges_what_the_client_saw(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in takes 1 s a request for base, 2 for an adapter, 3 for auto, 4 for a copy."""
    assert main(arguments) == 1
    found = figures(tmp_path)
    met = {(g["system"], g["figure"], g["concurrency"]): g["met"] for g in found["goals"]}
    assert len(met) == 14
    assert met["b", "tokens/s", 1] and met["d", "tokens/s", 4]
    assert not met["e", "tokens/s", 1] and not met["f", "tokens/s", 4] and not met["g", "tokens/s", 4]
    ratios = {
        (r["system"], r["against"], r["figure"], r["concurrency"]): r["values"] for r in found["ratios"]
    }
    assert ratios["e", "c", "tokens/s", 4] == pytest.approx([2 / 3, 2 / 3])
    assert ratios["h", "f", "TTFT p99", 4] == pytest.approx([2.0, 2.0])
    lines = {(line["system"], line["concurrency"]): line for line in found["lines"]}
    assert len(lines) == 9 * 2
    assert {start["server"] for start in found["starts"]} == {
        "vllm", "vllm-stock", "vllm-lora", "crma", "crma-many",
    }  # fmt: skip
    assert all(0 < start["ready_cpu_s"] < 60 for start in found["starts"])
    a = lines["a", 4]
    assert (a["requests"], a["tokens_per_s"], a["ttft_p99_ms"]) == (16, 5.0, 1000)
    assert a["itl_p50_ms"] == pytest.approx(10)  # the first interval, 0, is left out
    assert sum(cold["resident"] + cold["cold"] for cold in found["cold"]) == 2 * (2 + 8)
    text = (tmp_path / "out" / "bench.md").read_text()
    assert text + "\n" == capsys.readouterr().out and "this project's plugin" in text
    for plot in ("throughput", "latency", "goals"):
        assert (tmp_path / "out" / f"bench-{plot}.png").stat().st_size > 5000


@pytest.mark.usefixtures("stand_ins")
def test_a_stopped_run_goes_on(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments += ["--systems", "a,c,d"]
    monkeypatch.setenv("BROKEN_MODEL", "legal")
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "0 of 8 requests were answered" in said and "no such adapter" in said
    monkeypatch.delenv("BROKEN_MODEL")
    assert main(arguments) == 0
    kept = next((tmp_path / "w").glob("side-by-side-*")) / "turns"
    assert len(list(kept.iterdir())) == 2 * 2 * 3
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    (kept / "r1-c-c4.json").unlink()
    logs = kept.parent / "logs"
    for log in logs.iterdir():
        log.unlink()
    assert main(arguments) == 0
    after = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert {path.name for path in after if after[path] != before[path]} == {"r1-c-c4.json"}
    assert [log.name for log in logs.iterdir()] == ["vllm-lora.log"]  # only what is still needed is started


@pytest.mark.usefixtures("stand_ins")
def test_fresh_servers_for_each_repeat(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Started in the order of the turns, so that neither always has the machine's memory first."""
    arguments += ["--systems", "c,d", "--fresh"]
    assert main([*arguments, "--minutes", "0.0001"]) == 0
    assert [start["server"] for start in figures(tmp_path)["starts"]] == ["vllm-lora", "crma"]
    assert main(arguments) == 0
    found = figures(tmp_path)
    assert [start["server"] for start in found["starts"]] == ["crma", "vllm-lora"]
    assert {len(goal["ratios"]) for goal in found["goals"]} == {2}
    said = capsys.readouterr()
    assert "started anew for each repeat" in said.out and "anew in each repeat" in said.err


@pytest.mark.usefixtures("stand_ins")
def test_a_repeat_that_would_end_too_late_is_not_begun(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "--systems", "a,b", "--minutes", "0.0001"]) == 0
    assert {len(goal["ratios"]) for goal in figures(tmp_path)["goals"]} == {1}
    assert "2 repeats were asked for; the limit" in (tmp_path / "out" / "bench.md").read_text()


@pytest.mark.usefixtures("stand_ins")
def test_curves(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "--curves", "--repeats", "1"]) == 0
    found = figures(tmp_path, "bench-curves")
    assert found["ready_s"].keys() == {"store-1", "store-10", "store-100", "store-1000", "mixed", "vllm"}
    assert [point["x"] for point in found["curves"]["store"]] == [1, 10, 100, 1000]
    assert {point["growth"] for point in found["curves"]["store"]} == {1.0}
    assert found["curves"]["prompt"][0]["cost_ms"] == pytest.approx(4000)
    assert found["curves"]["prompt-bare"][0]["cost_ms"] == pytest.approx(1000)
    text = (tmp_path / "out" / "bench-curves.md").read_text()
    assert "Flat: nowhere over 10 %" in text
    for key in ("store", "batch", "rank", "prompt", "prompt-bare"):
        assert (tmp_path / "out" / f"bench-{key}.png").stat().st_size > 3000


@pytest.mark.usefixtures("stand_ins")
def test_a_server_that_does_not_start_is_quoted(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = (sys.executable, "-c", "import sys; print('no memory left'); sys.exit(3)")
    monkeypatch.setattr(servers, "COMMANDS", servers.Commands(broken, SERVE))
    assert main([*arguments, "--systems", "a"]) == 2
    assert (
        "ended with status 3 before it was ready, its last words: no memory left" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_server_is_started_without_memory_for_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "LEAST_FREE_BYTES", 2**60)
    assert main([*arguments, "--systems", "a"]) == 2
    assert "free with 0 servers running" in capsys.readouterr().err


@pytest.mark.usefixtures("stand_ins")
def test_a_client_that_ends_is_told(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(turns, "COMMAND", (sys.executable, "-c", ""))
    assert main([*arguments, "--systems", "a"]) == 2
    assert "the benchmark client failed: it ended" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--domain", "poetry"], "--domain is 'poetry'; the release has"),
        (["--systems", "z"], "--systems names z"),
        (["--loads", "x"], "CONCURRENCY:REQUESTS"),
        (["--fresh", "--curves"], "leave one out"),
    ],
)
def test_refusals(
    arguments: list[str], capsys: pytest.CaptureFixture[str], flags: list[str], named: str
) -> None:
    assert main([*arguments, *flags]) == 2
    assert named in capsys.readouterr().err
