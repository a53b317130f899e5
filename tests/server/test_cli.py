"""Bad input to `crma-serve`, each as a process of its own: status 2 and one line that says why, and soon."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.models.base_model import BaseModel


@pytest.fixture
def refused(crma_serve: tuple[str, ...]) -> Callable[..., str]:
    """Run the command, expect status 2 with one line of error, and return that line."""

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            [*crma_serve, *map(str, arguments)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        return [line for line in done.stderr.splitlines() if "error: " in line][-1]

    return run


@pytest.fixture
def store(tmp_path: Path, small_store: Path) -> Path:
    """A copy of the small store, to be spoilt."""
    return Path(shutil.copytree(small_store, tmp_path / "store"))


def adapter_folder(store: Path, name: str) -> Path:
    return next(path for path in (store / name).iterdir() if path.is_dir())


def test_a_missing_store(refused: Callable[..., str], tmp_path: Path) -> None:
    start_s = time.monotonic()
    error = refused("--adapters", tmp_path / "nowhere")
    assert "nowhere is not a folder" in error
    assert time.monotonic() - start_s < 20


def test_an_empty_store(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "crma-train" in refused("--adapters", tmp_path)


def test_no_store_named(refused: Callable[..., str]) -> None:
    assert "--adapters" in refused()


def test_a_truncated_adapter(refused: Callable[..., str], store: Path) -> None:
    weights = adapter_folder(store, "medical") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert str(weights) in refused("--adapters", store)


def test_a_pickle_in_an_adapter(refused: Callable[..., str], store: Path) -> None:
    (adapter_folder(store, "legal") / "adapter_model.bin").write_bytes(b"\x80\x04.")
    assert "adapter_model.bin" in refused("--adapters", store)


def test_a_symlink_out_of_the_store(refused: Callable[..., str], store: Path, tmp_path: Path) -> None:
    folder = adapter_folder(store, "legal")
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "symlink" in refused("--adapters", store)


def test_a_damaged_router(refused: Callable[..., str], store: Path) -> None:
    path = adapter_folder(store, "router") / "router.json"
    path.write_text("{}", encoding="utf-8")
    assert "router.json" in refused("--adapters", store)


def test_another_base_model(
    refused: Callable[..., str], small_store: Path, base_model: BaseModel, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(base_model.path, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps(config | {"hidden_size": 640}), encoding="utf-8")
    error = refused("--adapters", small_store, "--model", other)
    assert "base model smollm2-135m-instruct" in error


def test_a_base_model_that_does_not_exist(refused: Callable[..., str], small_store: Path) -> None:
    assert "no base model 'nothing/like-it'" in refused(
        "--adapters", small_store, "--model", "nothing/like-it"
    )


@pytest.mark.engine
def test_an_unknown_flag(refused: Callable[..., str], small_store: Path) -> None:
    assert "unrecognized arguments: --no-such-flag" in refused("--adapters", small_store, "--no-such-flag")


@pytest.mark.engine
def test_a_rank_below_the_stores(refused: Callable[..., str], small_store: Path) -> None:
    assert "--max-lora-rank 1" in refused("--adapters", small_store, "--max-lora-rank", "1")


@pytest.mark.engine
def test_a_port_in_use(refused: Callable[..., str], small_store: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = refused("--adapters", small_store, "--port", str(port))
    assert f"port {port} on 127.0.0.1 is already in use" in error


@pytest.mark.engine
def test_a_request_log_that_cannot_be_written(
    refused: Callable[..., str], small_store: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing" / "log"
    error = refused("--adapters", small_store, "--port", "0", "--request-log", missing)
    assert f"the request log {missing} cannot be written" in error


def test_what_checks_a_store_and_routes_leaves_out_what_only_fitting_needs() -> None:
    """scikit-learn and scipy take a second or more to import, before the first line about a broken store."""
    modules = "crma_server.cli, crma_server.releases.snapshot, crma_server.http.routing, crma_router.router"
    script = f"import sys, {modules}; print({{'sklearn', 'scipy', 'torch', 'vllm'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_help_shows_ours_and_points_at_vllms(crma_serve: tuple[str, ...]) -> None:
    done = subprocess.run([*crma_serve, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "--adapters DIR" in done.stdout
    assert "vllm serve --help" in done.stdout


@pytest.mark.engine
def test_adapters_from_elsewhere(refused: Callable[..., str], small_store: Path) -> None:
    assert "--lora-modules" in refused("--adapters", small_store, "--lora-modules", "x=/tmp")
