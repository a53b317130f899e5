"""`crma-eval crashes`: does a server that is killed come back with a whole release?

Owns: the command line and the order of things. Knows nothing of how a figure is made.
"""

import argparse
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, resolve_base_model

if TYPE_CHECKING:
    from crma_eval.serving.crashes.session import Record

KILLS, PAUSE_S = 20, 4.0
FLAGS = "--max-model-len 1024"


def add_command(commands: Any) -> None:
    """Add `crashes` to the subcommands of `crma-eval`."""
    parser = commands.add_parser("crashes", help="a server killed at random moments while releases come")
    parser.add_argument("--kills", type=int, default=KILLS, help="servers to kill (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=PAUSE_S, help="seconds between two releases (default: %(default)s)"
    )
    parser.add_argument("--model", default=DEFAULT_BASE_MODEL, help="base model (default: %(default)s)")
    parser.add_argument(
        "--serve-flags", default=FLAGS, help="flags of crma-serve, as one argument (default: '%(default)s')"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--report", type=Path, help="folder to write crashes.{json,md} and the logs into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve, kill, judge, print, write; status 1 if a goal is missed."""
    from crma_eval.serving.crashes.session import DOMAINS, WORDS, Plan, run_session
    from crma_eval.serving.crashes.summary import crashes_report, outcome
    from crma_eval.serving.echo import voices

    if args.kills < 1:
        raise ConfigError(f"--kills is {args.kills}; give 1 or more")
    if not args.pause >= 0:
        raise ConfigError(f"--pause is {args.pause}; give 0 or more")
    base = resolve_base_model(args.model)
    plan = Plan(args.kills, args.pause, args.seed, tuple(shlex.split(args.serve_flags)))
    words = voices(base.path, WORDS * len(DOMAINS))
    with TemporaryDirectory() as folder, tqdm(total=plan.kills, desc="kills", file=sys.stderr) as bar:

        def advance(record: "Record") -> None:
            bar.set_postfix(last=record.lives[-1].last_step[:30], refresh=False)
            bar.update()

        record = run_session(plan, base, words, Path(folder), args.report or Path("runs"), advance)
    report = crashes_report(plan, record)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0 if outcome(record).met else 1
