"""`crma-eval`: evaluation commands.

Owns: the command line. Knows nothing of how a figure is made.
"""

import argparse
import sys
from collections.abc import Sequence

from crma_adapters.command import run_command
from crma_eval import holdout, questions, served
from crma_eval.forgetting import command as forgetting


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit status 1 means an evaluation ran and its goal was missed."""
    parser = argparse.ArgumentParser(prog="crma-eval", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    forgetting.add_command(commands)
    holdout.add_command(commands)
    questions.add_command(commands)
    served.add_command(commands)
    args = parser.parse_args(argv)
    return run_command(lambda: int(args.run(args)))


if __name__ == "__main__":
    sys.exit(main())
