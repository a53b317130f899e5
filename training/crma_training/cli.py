"""`crma-train`: the command line of training."""

import argparse
import importlib
import os
import sys
from pathlib import Path

from crma_adapters.cli.argument_types import location
from crma_adapters.cli.command import run_command
from crma_training.flags import add_options, config_from, dashed, names
from crma_training.processes import is_main

DESCRIPTION = """\
Trains one adapter per domain, in sequence, then a backbone that answers all domains, fits the
router on the same data and publishes one release into the store. A run that was stopped goes on at the last
finished domain: give the same command again. `crma-train demo-data DIR` builds the demo dataset,
`crma-train check DIR` looks a dataset over, `crma-train report RUN` makes a run's report again,
`crma-train router` fits the router alone, `crma-train consolidate` makes the backbone of a store alone,
`crma-train refresh` measures what a store's domains do under its newest backbone, `crma-train search` finds
rank and learning rate.
"""

# By name, the module whose `main` it is; without one, crma-train trains.
COMMANDS = {
    "check": "data.checks.command",
    "consolidate": "consolidate_command",
    "demo-data": "demo_data.cli",
    "import": "import_command",
    "refresh": "refresh_command",
    "report": "visibility.cli",
    "router": "router_command",
    "search": "search",
}


def main(argv: list[str] | None = None) -> int:
    """Entry point of `crma-train`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments and arguments[0] in COMMANDS:
        # Imported when it is asked for: most load torch or pandas, which takes seconds.
        command = importlib.import_module(f"crma_training.{COMMANDS[arguments[0]]}")
        return int(command.main(arguments[1:]))
    return run_command(lambda: _train(arguments))


def _train(arguments: list[str]) -> int:
    args = _parser().parse_args(dashed(arguments))
    # OpenMP threads that wait by spinning take the core from the one they wait for as soon as anything else
    # runs: a third of the speed on two busy cores. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imported after the flags are known to be good: torch and transformers take seconds to load.
    from crma_training.sequence import Job, train_sequence

    job = Job(
        data=args.data,
        adapters=args.adapters,
        run=args.run,
        domains=args.domains,
        config=config_from(args),
    )
    try:
        release = train_sequence(job)
    except KeyboardInterrupt:
        print("\nstopped; finished domains are kept, give the same command again to go on", file=sys.stderr)
        return 130
    if is_main():
        print(f"release {release.number} is live in {job.adapters}: {', '.join(sorted(release.adapters))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-train",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--adapters", type=location, required=True, help="store to publish into")
    parser.add_argument("--domains", type=names, help="comma-separated, in training order (default: all)")
    parser.add_argument(
        "--run", type=Path, help="run folder (default: runs/<digest of configuration and data>)"
    )
    add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
