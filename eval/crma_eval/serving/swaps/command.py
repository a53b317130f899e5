"""`crma-eval swaps`: does a running server change releases without a request noticing?

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
    from crma_eval.serving.swaps.session import Record

SWAPS, CLIENTS, PAUSE_S = 100, 12, 1.0
# As many versions can be answering at a time; crma-serve's own default would do, but make streams wait.
FLAGS = "--max-loras 8 --max-model-len 1024"


def add_command(commands: Any) -> None:
    """Add `swaps` to the subcommands of `crma-eval`."""
    parser = commands.add_parser("swaps", help="releases published to a server that is answering")
    parser.add_argument("--swaps", type=int, default=SWAPS, help="releases (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="open streams (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=PAUSE_S, help="seconds between two swaps (default: %(default)s)"
    )
    parser.add_argument("--model", default=DEFAULT_BASE_MODEL, help="base model (default: %(default)s)")
    parser.add_argument(
        "--serve-flags", default=FLAGS, help="flags of crma-serve, as one argument (default: '%(default)s')"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what clients ask (default: 0)")
    parser.add_argument("--report", type=Path, help="folder to write swaps.json, swaps.md and serve.log into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve, swap, judge, print, write; status 1 if a goal is missed."""
    from crma_eval.serving.echo import voices
    from crma_eval.serving.swaps.session import Plan, run_session
    from crma_eval.serving.swaps.summary import outcome, swaps_report

    for flag, value, least in (
        ("--swaps", args.swaps, 1),
        ("--clients", args.clients, 1),
        ("--pause", args.pause, 0),
    ):
        if not value >= least:
            raise ConfigError(f"{flag} is {value}; give {least} or more")
    base = resolve_base_model(args.model)
    plan = Plan(args.swaps, args.clients, args.pause, args.seed, tuple(shlex.split(args.serve_flags)))
    words = voices(base.path, plan.swaps + 1)
    with TemporaryDirectory() as folder, tqdm(total=plan.swaps, desc="swaps", file=sys.stderr) as bar:

        def advance(record: "Record") -> None:
            bar.set_postfix(answers=len(record.answers), refresh=False)
            bar.update()

        log = (args.report or Path("runs")) / "swaps-serve.log"
        record = run_session(plan, base, words, Path(folder), log, advance)
    report = swaps_report(plan, record)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0 if outcome(record).met else 1
