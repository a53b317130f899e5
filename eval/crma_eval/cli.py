"""`crma-eval`: evaluation commands.

Owns: the command line. Knows nothing of how a figure is made.
"""

import argparse
import sys
from collections.abc import Sequence

from crma_adapters.cli.command import run_command
from crma_eval import questions
from crma_eval.learning import command as forgetting
from crma_eval.learning import holdout
from crma_eval.learning.ablation import command as ablation
from crma_eval.learning.overhead import command as overhead
from crma_eval.learning.retention import command as routed
from crma_eval.learning.spectral import command as spectral
from crma_eval.learning.subdomains import command as subdomains
from crma_eval.routing import command as routing
from crma_eval.routing.conversations import command as conversations
from crma_eval.routing.latency import command as router_latency
from crma_eval.serving import served
from crma_eval.serving.bench import command as bench
from crma_eval.serving.crashes import command as crashes
from crma_eval.serving.fuzz import command as fuzz
from crma_eval.serving.kernel import command as kernel
from crma_eval.serving.soak import command as soak
from crma_eval.serving.swaps import command as swaps


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit status 1 means an evaluation ran and its goal was missed."""
    parser = argparse.ArgumentParser(prog="crma-eval", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    ablation.add_command(commands)
    bench.add_command(commands)
    conversations.add_command(commands)
    crashes.add_command(commands)
    forgetting.add_command(commands)
    fuzz.add_command(commands)
    holdout.add_command(commands)
    kernel.add_command(commands)
    overhead.add_command(commands)
    questions.add_command(commands)
    routed.add_command(commands)
    router_latency.add_command(commands)
    routing.add_command(commands)
    served.add_command(commands)
    soak.add_command(commands)
    spectral.add_command(commands)
    subdomains.add_command(commands)
    swaps.add_command(commands)
    return run_command(lambda: _run(parser.parse_args(argv)))


def _run(args: argparse.Namespace) -> int:
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
