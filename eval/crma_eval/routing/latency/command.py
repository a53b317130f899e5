"""`crma-eval router-latency`: how long the router takes for a decision, alone and beside a busy engine."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.store.store import Store
from crma_eval.routing.latency.table import cells, measure_sets, measure_table
from crma_eval.routing.latency.under_load import STEPS, compare
from crma_eval.routing.sets.held_out import load_sets
from crma_eval.serve import live_server
from crma_router.router import Router
from crma_training.demo_data.rows import shuffled

DECISIONS = 500
ENGINE_DECISIONS = 50  # each waits for a word of the busy engine: a second or more


def add_command(commands: Any) -> None:
    """Add `router-latency` to the subcommands of `crma-eval`."""
    parser = commands.add_parser("router-latency", help="time of a routing decision, alone and under load")
    parser.add_argument("--adapters", type=Path, default=Path("adapters"), help="store (default: ./adapters)")
    parser.add_argument(
        "--decisions", type=int, default=DECISIONS, help="decisions behind each figure (default: %(default)s)"
    )
    parser.add_argument(
        "--engine-decisions", type=int, default=ENGINE_DECISIONS, help="with an engine (default: %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, help="folder made by crma-train demo-data: also time its evaluation questions"
    )
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument("--serve", action="store_true", help="start crma-serve and keep its engine busy, too")
    engine.add_argument("--url", help="the same with a server that runs already")
    parser.add_argument("--seed", type=int, default=0, help="of the texts (default: 0)")
    parser.add_argument("--report", type=Path, help="folder to write router-latency.{json,md} into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write; status 1 if the goal is missed."""
    from crma_eval.routing.latency.summary import Setting, latency_report, within_goal

    for flag, value in (("--decisions", args.decisions), ("--engine-decisions", args.engine_decisions)):
        if value < 1:
            raise ConfigError(f"{flag} is {value}; give 1 or more")
    store = Store(args.adapters)
    release = store.live()
    if release.router is None:
        raise ConfigError(f"{args.adapters}: release {release.number} has no router; `crma-train` fits one")
    asked = _asked(args.data) if args.data else {}
    router = Router.load(store.router_dir(release.router.version))
    load_before = os.getloadavg()[0]
    with _bar("alone", len(cells()) + len(asked)) as advance:
        found = measure_table(router, args.decisions, args.seed, advance)
        sets = measure_sets(router, asked, args.decisions, advance)
    load_after = os.getloadavg()[0]
    compared = None
    if args.serve or args.url:
        with _server(args) as url, _bar("with the engine", STEPS) as advance:
            compared = compare(url, router, args.engine_decisions, time.monotonic, advance)
    cores = len(os.sched_getaffinity(0))
    setting = Setting(release.router.version, router.model.embedder, cores, load_before, load_after)
    report = latency_report(setting, found, compared, sets)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0 if within_goal(found) else 1


def _asked(data: Path) -> dict[str, list[str]]:
    """Of the evaluation part, those in a domain and those of everyday life, in a fixed random order."""
    return {
        one.name: shuffled(dict.fromkeys(one.texts), str, "router-latency")
        for one in load_sets(data)
        if one.name in ("in-domain", "everyday")
    }


@contextmanager
def _bar(what: str, steps: int) -> Iterator[Callable[[], None]]:
    with tqdm(total=steps, desc=what, file=sys.stderr, dynamic_ncols=True) as bar:

        def advance() -> None:
            bar.update()

        yield advance


@contextmanager
def _server(args: argparse.Namespace) -> Iterator[str]:
    if args.url:
        yield args.url
        return
    log = (args.report or Path("runs")) / "router-latency-serve.log"
    with live_server(args.adapters, log) as url:
        yield url
