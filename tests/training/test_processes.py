"""Two processes that train together, over gloo, against one: the same steps, the same release."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crma_adapters.errors import ConfigError
from crma_training.processes import refuse_several
from crma_training.sequence import Job, train_sequence
from crma_training.trainer.metrics import read_steps

TRAINED = """
import sys
from crma_training.cli import main
sys.exit(main(sys.argv[1:]))
"""
FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


def two_processes(arguments: list[str], variables: dict[str, str]) -> None:
    """Runs crma-train as `accelerate launch --num_processes 2` would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    shared |= {"ACCELERATE_USE_CPU": "true", "LOCAL_WORLD_SIZE": "2"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINED, *arguments],
            env={**os.environ, **shared, **variables, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=600)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
    assert "release 1 is live" in said[0]
    assert "release" not in said[1]


@pytest.mark.parametrize("variables", [{}, FSDP], ids=["ddp", "fsdp"])
def test_two_processes_train_what_one_does(
    make_job: Callable[..., Job], tmp_path: Path, variables: dict[str, str]
) -> None:
    """A mixer of the domain's own over a shared backbone and a LoRA: all that there is to train. 20 rows in
    steps of 6 give parts of unlike size, and the last step one that one process has no row of.
    """
    settings = {"adapter": "both", "steps": 5, "batch_size": 6, "rank": 2, "domains": ("code", "legal")}
    one = make_job(**settings)
    train_sequence(one, lambda _line: None)
    two = replace(one, run=tmp_path / "run-two", adapters=tmp_path / "store-two")
    flags = "--adapter both --backbone shared --max-steps 5 --batch-size 3 --rank 2 --no-router"
    paths = ["--data", two.data, "--adapters", two.adapters, "--run", two.run, "--model", one.config.model]
    two_processes([*map(str, paths), *flags.split(), "--domains", "code,legal"], variables)
    for domain in ("code", "legal"):
        steps = [read_steps(run / domain) for run in (tmp_path / "run", tmp_path / "run-two")]
        for ours, theirs in zip(*steps, strict=True):
            assert theirs.loss == pytest.approx(ours.loss, rel=1e-4)
            assert (theirs.tokens, theirs.learning_rate) == (ours.tokens, ours.learning_rate)
            assert theirs.gradient_norm == pytest.approx(ours.gradient_norm, rel=1e-3, abs=1e-6)
        for name in ("adapter", "backbone"):
            folders = [run / domain / name for run in (tmp_path / "run", tmp_path / "run-two")]
            for path in folders[0].glob("*.safetensors"):
                expected, found = (load_file(folder / path.name) for folder in folders)
                assert expected.keys() == found.keys()
                for key, value in expected.items():
                    most = 1e-4 if value.dtype == torch.float32 else 2e-3  # a LoRA is saved in bfloat16
                    assert float((found[key].float() - value.float()).abs().max()) <= most, (path.name, key)
    runs = [run for run in (one.run, two.run) if run]
    cards = [json.loads((run / "code" / "adapter" / "adapter.json").read_bytes()) for run in runs]
    assert cards[0]["training"]["tokens"] == cards[1]["training"]["tokens"]


def test_what_one_process_does_is_refused_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_several("crma-train consolidate")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="crma-train consolidate runs in one process, 2 were started"):
        refuse_several("crma-train consolidate")
