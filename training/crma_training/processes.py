"""One of several processes that train together: `accelerate launch` and `torchrun` number them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from crma_adapters.errors import ConfigError

PATIENCE = timedelta(hours=6)  # while the first process fits the router, the others wait


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the first of them: it alone writes into the run folder and publishes."""
    return int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Until every process is here."""
    if count() > 1:
        _state().wait_for_everyone()


def device() -> Any:
    """This process's GPU, or the CPU."""
    return _state().device


def _state() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


@contextmanager
def run_folder_of(path: Path) -> Iterator[Path]:
    """The run folder that this process works in: the given one, or for all but the first a copy of its own of
    it, which goes at the end.

    Every process does the same with the same data, so what it leaves in its copy is what the first leaves.
    """
    if is_main():
        wait()  # until it is copied
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="crma-train-") as scratch:
        own = Path(scratch) / "run"
        if path.exists():
            shutil.copytree(path, own, ignore=shutil.ignore_patterns(".lock", "tensorboard.d"))
        wait()
        yield own


def refuse_several(what: str) -> None:
    """Raises `ConfigError` if several processes were started for something that one does."""
    if count() > 1:
        raise ConfigError(f"{what} runs in one process, {count()} were started; start it without a launcher")
