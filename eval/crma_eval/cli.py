"""`crma-eval`: evaluation commands."""

import argparse
import sys
from collections.abc import Sequence

from crma_adapters.cli.command import run_command
from crma_eval.learning import command as forgetting
from crma_eval.learning.ablation import command as ablation
from crma_eval.learning.overhead import command as overhead
from crma_eval.learning.retention import command as routed
from crma_eval.learning.subdomains import command as subdomains
from crma_eval.routing import command as routing
from crma_eval.routing import fresh_command as routing_fresh
from crma_eval.routing import latency as router_latency
from crma_eval.routing.domains import command as routing_domains
from crma_eval.routing.peers import command as routing_peers
from crma_eval.serving import fuzz, served
from crma_eval.serving.bench import command as bench
from crma_eval.serving.load import command as load
from crma_eval.task import Task, add_task

TASKS: dict[str, tuple[Task, str]] = {
    "ablation": (ablation, "the same questions with CRMA on and off, per request on a live server"),
    "routed": (routed, "retention through the router: regret against the right adapter, drift both ways"),
    "subdomains": (subdomains, "retention over the sub-domains of one field, by probe questions"),
    "overhead": (overhead, "training speed and memory of CRMA against a plain PEFT LoRA"),
    "routing": (routing, "how well the router routes, and whether it knows what is not its own"),
    "routing-fresh": (
        routing_fresh,
        "the router on what people really send: wrapped, in six languages",
    ),
    "routing-domains": (routing_domains, "a router of hundreds of domains"),
    "routing-peers": (routing_peers, "the router beside other routers, on the same questions"),
    "router-latency": (router_latency, "time of a routing decision, alone and beside a busy engine"),
    "served": (served, "routing of held-out questions through a running server"),
    "load": (load, "a server under load: releases swapped, the server killed, or for a long while"),
    "fuzz": (fuzz, "hostile requests to every route of a server"),
    "bench": (bench, "speed beside bare vLLM"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; exit status 1 means an evaluation ran and its goal was missed."""
    parser = argparse.ArgumentParser(prog="crma-eval", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    forgetting.add_command(commands)
    for name, (task, summary) in TASKS.items():
        add_task(commands, task, name, summary)
    typed = load.renamed(list(sys.argv[1:] if argv is None else argv))
    return run_command(lambda: _run(parser.parse_args(typed)))


def _run(args: argparse.Namespace) -> int:
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
