"""`crma-eval soak`: does a server that works for a long while stay as it was?

Owns: the command line and the order of things. Knows nothing of how a figure is made.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.serve import live_server
from crma_eval.serving.processes import Footprint, footprint, tree_of
from crma_eval.serving.soak.load import MixedLoad

MINUTES, WORKERS, SAMPLE_S = 20.0, 8, 5.0


def add_command(commands: Any) -> None:
    """Add `soak` to the subcommands of `crma-eval`."""
    parser = commands.add_parser("soak", help="a server under mixed load: memory, open files, latency")
    parser.add_argument("--adapters", type=Path, default=Path("adapters"), help="store (default: ./adapters)")
    parser.add_argument("--url", help="a server that runs already on this machine; needs --pid")
    parser.add_argument("--pid", type=int, help="its process")
    parser.add_argument("--key-file", type=Path, help="its inference key, alone in a file")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=WORKERS, help="clients at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--sample-s", type=float, default=SAMPLE_S, help="between looks (default: %(default)s)"
    )
    parser.add_argument("--report", type=Path, help="folder to write soak.{json,md} into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load, look, print, write; status 1 if a goal is missed."""
    from crma_eval.serving.soak.figures import figures_of
    from crma_eval.serving.soak.summary import soak_report

    for flag, value in (
        ("--minutes", args.minutes),
        ("--workers", args.workers),
        ("--sample-s", args.sample_s),
    ):
        if not value > 0:
            raise ConfigError(f"{flag} is {value}; give more than 0")
    if (args.url is None) != (args.pid is None):
        raise ConfigError("--url and --pid go together: memory and open files are those of a process")
    with _server(args) as (url, pid):
        samples, done = _soak(args, url, pid)
    found = figures_of(samples, done)
    report = soak_report(found, args.workers)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0 if found.reached else 1


def _soak(args: argparse.Namespace, url: str, pid: int) -> Any:
    from crma_eval.serving.soak.figures import Sample

    headers = {"authorization": f"Bearer {_key(args.key_file)}"} if args.key_file else {}
    load = MixedLoad(url, headers, _models(url, headers), args.workers)
    samples: list[Sample] = []
    load.start()
    try:
        end_s = time.monotonic() + args.minutes * 60
        steps = max(int(args.minutes * 60 / args.sample_s), 1)
        with tqdm(total=steps, desc="soak", unit="look", file=sys.stderr, dynamic_ncols=True) as bar:
            while not samples or time.monotonic() < end_s:
                samples.append(Sample(time.monotonic(), _held(pid)))
                bar.update()
                time.sleep(args.sample_s)
    finally:
        done = load.stop()
    return samples, done


def _held(pid: int) -> Footprint:
    found = footprint(tree_of(pid))
    if not found.processes:
        raise ConfigError(f"process {pid} cannot be looked at: expected one that runs")
    return found


def _models(url: str, headers: dict[str, str]) -> list[str]:
    """The aliases a server lists, `auto` and the base model's served name left out."""
    try:
        reply = httpx.get(f"{url}/v1/models", headers=headers, timeout=60, trust_env=False)
        reply.raise_for_status()
    except httpx.HTTPError as error:
        raise ConfigError(f"{url}/v1/models cannot be read: {error}") from error
    return [model["id"] for model in reply.json()["data"] if model.get("root") and "@" not in model["id"]]


def _key(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError) as error:
        raise ConfigError(f"{file}: holds no key that can be read") from error


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    if args.url:
        yield args.url, args.pid
        return
    pids: list[int] = []
    log = (args.report or Path("runs")) / "soak-serve.log"
    with live_server(args.adapters, log, started=pids.append) as url:
        yield url, pids[0]
