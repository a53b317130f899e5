"""`crma-route "text"`: where the live release's router sends a text, and why.

Owns: the command line and how a decision is printed. Decides nothing.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from crma_adapters.command import run_command
from crma_adapters.errors import RouterError
from crma_adapters.store import Store
from crma_router.policy import RoutingDecision
from crma_router.router import Router


@dataclass(frozen=True)
class LiveRouter:
    """The router of a store's live release: number of that release, version of the router."""

    release: int
    version: str
    router: Router


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status; 2 with one line on stderr for anything a user can mend."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: _explain(arguments.adapters, arguments.text, as_json=arguments.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-route",
        description="Show which adapter the live release's router chooses for a text, and why.",
        epilog='Example: crma-route --adapters ./adapters "Can I break my lease early?"',
    )
    help_text = "the store (default: ./adapters)"
    parser.add_argument("--adapters", default=Path("adapters"), type=Path, metavar="DIR", help=help_text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("text", help="what a user would write")
    return parser


def _explain(root: Path, text: str, *, as_json: bool) -> int:
    live = _load(Store(root))
    decision = live.router.route(text)
    if as_json:
        origin = {"router": live.version, "release": live.release}
        print(json.dumps(asdict(decision) | origin, ensure_ascii=False))
    else:
        print("\n".join(_lines(live, decision)))
    return 0


def _load(store: Store) -> LiveRouter:
    release = store.live()
    if release.router is None:
        raise RouterError(
            f"release {release.number} in {store.root} has no router; `crma-train` fits one, "
            "or ask for an adapter by its name"
        )
    from transformers.utils import logging  # seconds to import: not before the store is known to be sound

    logging.disable_progress_bar()  # the embedder's weights load in a moment
    version = release.router.version
    return LiveRouter(release.number, version, Router.load(store.router_dir(version)))


def _lines(live: LiveRouter, decision: RoutingDecision) -> list[str]:
    ranked = sorted(decision.scores.items(), key=lambda item: -item[1])
    side = "outside" if decision.ood_distance > decision.ood_threshold else "inside"
    return [
        f"adapter     {decision.domain or 'none: the backbone alone answers'} ({decision.path})",
        f"confidence  {decision.confidence:.3f}",
        f"because     {decision.reason}",
        "scores      " + ", ".join(f"{name} {score:.3f}" for name, score in ranked),
        f"distance    {decision.ood_distance:.2f}, {side} (threshold {decision.ood_threshold:.2f})",
        f"router      {live.version} of release {live.release}, embedder {live.router.model.embedder}",
    ]
