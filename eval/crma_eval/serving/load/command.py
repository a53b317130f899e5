"""`crma-eval load`: a server under load: releases swapped, the server killed, or for a long while."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, resolve_base_model
from crma_eval.serve import live_server
from crma_eval.task import Context, Result

DESCRIPTION = """\
--swaps: publishes releases to a server that is answering; every adapter says a word of its own, so each word
  of each answer shows who gave it.
--crashes: kills server after server at random moments while releases come; the next must serve a whole one.
--soak: mixed load for a long while, on a store or a server that runs (--url, --pid): memory, files, latency.
"""
# As many versions can be answering at a time; crma-serve's own default would do, but make streams wait.
FLAGS = {"swaps": "--max-loras 8 --max-model-len 1024", "crashes": "--max-model-len 1024"}
PAUSE_S = {"swaps": 1.0, "crashes": 4.0}
CLIENTS = {"swaps": 12, "soak": 8}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--swaps", type=int, nargs="?", const=100, metavar="N", help="releases (default: 100)")
    kind.add_argument("--crashes", type=int, nargs="?", const=20, metavar="N", help="kills (default: 20)")
    kind.add_argument("--soak", type=float, nargs="?", const=20, metavar="MINUTES", help="(default: 20)")
    parser.add_argument(
        "--clients", type=int, help="requests at a time (default: 12 with --swaps, 8 with --soak)"
    )
    parser.add_argument(
        "--pause", type=float, help="seconds between two releases (default: 1, 4 with --crashes)"
    )
    parser.add_argument("--model", default=DEFAULT_BASE_MODEL, help="base model (default: %(default)s)")
    parser.add_argument("--serve-flags", help="flags of crma-serve, as one argument")
    parser.add_argument(
        "--seed", type=int, default=0, help="of what clients ask and of the moments (default: 0)"
    )
    soak = parser.add_argument_group("with --soak")
    soak.add_argument("--adapters", type=Path, default=Path("adapters"), help="store (default: ./adapters)")
    soak.add_argument("--url", help="a server that runs already on this machine; needs --pid")
    soak.add_argument("--pid", type=int, help="its process")
    soak.add_argument("--key-file", type=Path, help="its inference key, alone in a file")
    soak.add_argument("--sample-s", type=float, default=5.0, help="between looks (default: %(default)s)")


def run(context: Context) -> Result:
    """Load the server as asked, and judge."""
    args = context.args
    logs = context.report or Path("runs")
    if args.swaps is not None:
        return _swaps(args, logs)
    return _crashes(args, logs) if args.crashes is not None else _soak(args, logs)


def _swaps(args: argparse.Namespace, logs: Path) -> Result:
    from crma_eval.serving.load.clients import goals_of
    from crma_eval.serving.load.publisher import voices
    from crma_eval.serving.load.swaps import Plan, Record, outcome, run_session, swaps_report

    clients = CLIENTS["swaps"] if args.clients is None else args.clients
    plan = Plan(_least("--swaps", args.swaps, 1), _least("--clients", clients, 1), _pause(args, "swaps"),
                args.seed, _flags(args, "swaps"))  # fmt: skip
    base = resolve_base_model(args.model)
    words = voices(base.path, plan.swaps + 1)
    with TemporaryDirectory() as folder, tqdm(total=plan.swaps, desc="swaps", file=sys.stderr) as bar:

        def advance(record: Record) -> None:
            bar.set_postfix(answers=len(record.answers), refresh=False)
            bar.update()

        record = run_session(plan, base, words, Path(folder), logs / "swaps-serve.log", advance)
    return Result(swaps_report(plan, record), goals_of(outcome(record).rows()))


def _crashes(args: argparse.Namespace, logs: Path) -> Result:
    from crma_eval.serving.load.clients import goals_of
    from crma_eval.serving.load.crashes import (
        DOMAINS,
        WORDS,
        Plan,
        Record,
        crashes_report,
        outcome,
        run_session,
    )
    from crma_eval.serving.load.publisher import voices

    plan = Plan(
        _least("--crashes", args.crashes, 1), _pause(args, "crashes"), args.seed, _flags(args, "crashes")
    )
    base = resolve_base_model(args.model)
    words = voices(base.path, WORDS * len(DOMAINS))
    with TemporaryDirectory() as folder, tqdm(total=plan.kills, desc="kills", file=sys.stderr) as bar:

        def advance(record: Record) -> None:
            bar.set_postfix(last=record.lives[-1].last_step[:30], refresh=False)
            bar.update()

        record = run_session(plan, base, words, Path(folder), logs, advance)
    return Result(crashes_report(plan, record), goals_of(outcome(record).rows()))


def _soak(args: argparse.Namespace, logs: Path) -> Result:
    from crma_eval.serving.load.clients import goals_of
    from crma_eval.serving.load.soak import Plan, figures_of, soak, soak_report

    clients = CLIENTS["soak"] if args.clients is None else args.clients
    for flag, value in (("--soak", args.soak), ("--clients", clients), ("--sample-s", args.sample_s)):
        if not value > 0:
            raise ConfigError(f"{flag} is {value}; give more than 0")
    if (args.url is None) != (args.pid is None):
        raise ConfigError("--url and --pid go together: memory and open files are those of a process")
    plan = Plan(args.soak, clients, args.sample_s, args.seed)
    headers = {"authorization": f"Bearer {_key(args.key_file)}"} if args.key_file else {}
    steps = max(int(plan.minutes * 60 / plan.sample_s), 1)
    with (
        _server(args, logs) as (url, pid),
        tqdm(total=steps, desc="soak", unit="look", file=sys.stderr, dynamic_ncols=True) as bar,
    ):

        def looked() -> None:
            bar.update()

        samples, done = soak(plan, url, headers, pid, looked)
    found = figures_of(samples, done)
    return Result(soak_report(found, plan.workers), goals_of(found.rows()))


def _least(flag: str, value: int, least: int) -> int:
    if value < least:
        raise ConfigError(f"{flag} is {value}; give {least} or more")
    return value


def _pause(args: argparse.Namespace, kind: str) -> float:
    pause_s: float = PAUSE_S[kind] if args.pause is None else args.pause
    if not pause_s >= 0:
        raise ConfigError(f"--pause is {pause_s}; give 0 or more")
    return pause_s


def _flags(args: argparse.Namespace, kind: str) -> tuple[str, ...]:
    return tuple(shlex.split(FLAGS[kind] if args.serve_flags is None else args.serve_flags))


def _key(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError) as error:
        raise ConfigError(f"{file}: holds no key that can be read") from error


@contextmanager
def _server(args: argparse.Namespace, logs: Path) -> Iterator[tuple[str, int]]:
    if args.url:
        yield args.url, args.pid
        return
    pids: list[int] = []
    flags = tuple(shlex.split(args.serve_flags or ""))
    with live_server(args.adapters, logs / "soak-serve.log", flags=flags, started=pids.append) as url:
        yield url, pids[0]


OLD_NAMES: dict[str, tuple[str, dict[str, str]]] = {
    "swaps": ("--swaps", {}),
    "crashes": ("--crashes", {"--kills": "--crashes"}),
    "soak": ("--soak", {"--minutes": "--soak", "--workers": "--clients"}),
}


def renamed(argv: list[str]) -> list[str]:
    """A command line of `crma-eval swaps`, `crashes` or `soak` as one of `load`; any other as it is."""
    if not argv or argv[0] not in OLD_NAMES:
        return argv
    kind, flags = OLD_NAMES[argv[0]]
    words: list[Any] = [word.partition("=") for word in argv[1:]]
    return ["load", kind, *("".join((flags.get(flag, flag), *rest)) for flag, *rest in words)]
