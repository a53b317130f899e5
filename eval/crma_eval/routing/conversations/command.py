"""`crma-eval conversations`: does the router keep to a conversation's domain, and follow a change of
topic?
"""

import argparse
from pathlib import Path
from typing import Any

from crma_adapters.errors import ConfigError
from crma_adapters.store.store import Store
from crma_eval.routing.conversations.figures import Figures, figures
from crma_eval.routing.conversations.replay import CLIENTS, RememberingRouter, replay
from crma_eval.routing.conversations.scripts import SCRIPTS, read_scripts
from crma_eval.routing.conversations.summary import conversations_report
from crma_router.router import Router


def add_command(commands: Any) -> None:
    """Add `conversations` to the subcommands of `crma-eval`."""
    parser = commands.add_parser(
        "conversations", help="scripted conversations through the live release's router"
    )
    parser.add_argument("--adapters", type=Path, default=Path("adapters"), help="store (default: ./adapters)")
    parser.add_argument("--scripts", type=Path, default=SCRIPTS, help="other scripts (JSONL)")
    parser.add_argument("--report", type=Path, help="folder to write conversations.{json,md} into")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay, count, print, write; status 1 if a follow-up switched, or a change was followed late."""
    store = Store(args.adapters)
    release = store.live()
    if release.router is None:
        raise ConfigError(f"{args.adapters}: release {release.number} has no router; `crma-train` fits one")
    router = Router.load(store.router_dir(release.router.version))
    scripts = read_scripts(args.scripts)
    once = RememberingRouter(router)
    replays = {client: [replay(script, once, client) for script in scripts] for client in CLIENTS}
    measured: dict[str, Figures] = {client: figures(found) for client, found in replays.items()}
    report = conversations_report(measured, replays[CLIENTS[0]], router.domains)
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    judged = [one for client, one in measured.items() if client != "no memory"]
    return 1 if any(one.false_switches or one.late for one in judged) else 0
