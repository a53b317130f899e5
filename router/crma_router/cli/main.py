"""`crma-route`: why a text goes where it goes, and changes to the live release's router."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from crma_adapters.cli.argument_types import location
from crma_adapters.cli.command import run_command
from crma_adapters.errors import ConfigError, RouterError
from crma_adapters.store.sources.opening import open_store
from crma_router.classifier.data import FEWEST_EXAMPLES
from crma_router.classifier.fit import ACCEPTANCE
from crma_router.cli.change import (
    Change,
    LiveRouter,
    Neighbour,
    add_domain,
    calibrate,
    load_live,
    nearest_examples,
    publish_change,
    remove_domain,
    upgrade,
)
from crma_router.cli.printed import decision_lines, score_lines
from crma_router.cli.question_files import read_labelled, read_questions
from crma_router.cli.scores import score
from crma_router.encoders.base import DEFAULT_EMBEDDER, MINILM_NAME, USE_NAME
from crma_router.policy import RoutingDecision

COMMANDS = ("explain", "add", "remove", "calibrate", "upgrade", "eval")
NEAREST = 3


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status; 2 with one line on stderr for anything a user can mend."""
    arguments = _parser().parse_args(_with_command(sys.argv[1:] if argv is None else argv))
    return run_command(lambda: int(arguments.run(arguments)))


def _with_command(argv: Sequence[str]) -> list[str]:
    """`crma-route TEXT` is `crma-route explain TEXT`; `--adapters DIR` may stand before the command."""
    given, before = list(argv), list[str]()
    while given and given[0].startswith("-") and given[0] not in ("-h", "--help", "--"):
        before += given[: 2 if given[0] == "--adapters" else 1]
        given = given[2 if given[0] == "--adapters" else 1 :]
    if given[:1] in ([name] for name in (*COMMANDS, "-h", "--help")):
        return [given[0], *before, *given[1:]]
    return ["explain", *before, *given]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-route",
        description="Show which adapter the live release's router chooses for a text, and why; change it.",
        epilog='Example: crma-route --adapters ./adapters "Can I break my lease early?"',
    )
    common = argparse.ArgumentParser(add_help=False)
    help_text = "the store, a folder or a URL such as s3://bucket/adapters (default: ./adapters)"
    common.add_argument(
        "--adapters", default=Path("adapters"), type=location, metavar="DIR|URL", help=help_text
    )
    common.add_argument("--json", action="store_true", help="print JSON")
    fitting = argparse.ArgumentParser(add_help=False)
    fitting.add_argument(
        "--accept", type=_share, metavar="SHARE", help=f"questions to count as inside (default: {ACCEPTANCE})"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_reading(commands, common)
    _add_changing(commands, common, fitting)
    return parser


def _add_reading(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    explain = commands.add_parser(
        "explain", parents=[common], help="where a text goes, and why (the default)"
    )
    explain.add_argument(
        "--nearest", type=int, default=NEAREST, metavar="N", help="examples to show (0: none)"
    )
    explain.add_argument("text", help="what a user would write")
    explain.set_defaults(run=_explain)
    evaluate = commands.add_parser(
        "eval", parents=[common], help="how the router does on questions you bring"
    )
    evaluate.add_argument("file", type=Path, help="JSONL rows of text and domain (null: none)")
    evaluate.set_defaults(run=_evaluate)


def _add_changing(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    common: argparse.ArgumentParser,
    fitting: argparse.ArgumentParser,
) -> None:
    add = commands.add_parser("add", parents=[common, fitting], help="route to a domain, from examples alone")
    add.add_argument("name", help="an adapter of the store")
    add.add_argument(
        "examples",
        type=Path,
        help=f".jsonl, .csv or .txt file, or a folder of some; {FEWEST_EXAMPLES} or more",
    )
    add.add_argument("--yes", action="store_true", help="publish even if domains overlap")
    add.set_defaults(run=_add)
    remove = commands.add_parser("remove", parents=[common, fitting], help="route to a domain no more")
    remove.add_argument("name", help="a domain of the router")
    remove.set_defaults(run=_remove)
    tune = commands.add_parser("calibrate", parents=[common, fitting], help="set the thresholds")
    again = commands.add_parser(
        "upgrade",
        parents=[common, fitting],
        help="fit the router anew on its examples: of an earlier release's, too",
    )
    again.add_argument(
        "--embedder", default=DEFAULT_EMBEDDER, metavar="NAME",
        help=f"{USE_NAME}, {MINILM_NAME}, a sentence-transformers folder or hub id, or two joined by ' + ' "
        f"(default: {DEFAULT_EMBEDDER})",
    )  # fmt: skip
    again.set_defaults(run=_upgrade)
    for option in ("--min-confidence", "--margin", "--hysteresis"):
        tune.add_argument(option, type=_positive if option == "--hysteresis" else _share, metavar="NUMBER")
    tune.set_defaults(run=_calibrate)


def _explain(arguments: argparse.Namespace) -> int:
    live = _load(arguments)
    decision = live.router.route(arguments.text)
    neighbours = _neighbours(live, decision, arguments.nearest)
    read = decision.asked
    if arguments.json:
        found = None if neighbours is None else [asdict(one) for one in neighbours]
        origin = {"router": live.version, "release": live.release, "nearest": found}
        said = asdict(replace(decision, vector=None))
        del said["vector"]
        print(json.dumps(said | origin, ensure_ascii=False))
    else:
        shown = read if read and read != arguments.text.strip() else None
        print("\n".join(decision_lines(live, decision, neighbours, read=shown)))
    return 0


def _neighbours(live: LiveRouter, decision: RoutingDecision, count: int) -> list[Neighbour] | None:
    """None where the router's examples were not kept, or were not asked for."""
    if count <= 0 or decision.vector is None:
        return None
    try:
        return nearest_examples(live, decision.vector, count)
    except RouterError:
        return None


def _evaluate(arguments: argparse.Namespace) -> int:
    rows = read_labelled(arguments.file)
    if not rows:
        raise ConfigError(f"{arguments.file}: holds no questions; expected one or more")
    scored = score(rows, _load(arguments).router)
    print(
        json.dumps(asdict(scored), ensure_ascii=False) if arguments.json else "\n".join(score_lines(scored))
    )
    return 0


def _add(arguments: argparse.Namespace) -> int:
    texts = read_questions(arguments.examples)
    live = _load(arguments)
    return _publish(
        arguments, live, add_domain(live, arguments.name, texts, acceptance=_acceptance(arguments))
    )


def _remove(arguments: argparse.Namespace) -> int:
    live = _load(arguments)
    return _publish(arguments, live, remove_domain(live, arguments.name, acceptance=_acceptance(arguments)))


def _calibrate(arguments: argparse.Namespace) -> int:
    live = _load(arguments)
    given = {name: getattr(arguments, name) for name in ("min_confidence", "margin", "hysteresis")}
    given = {name: value for name, value in given.items() if value is not None}
    # Without any number: the threshold anew, as after a fit.
    acceptance = _acceptance(arguments) if arguments.accept is not None or not given else None
    return _publish(arguments, live, calibrate(live, replace(live.router.policy, **given), acceptance))


def _upgrade(arguments: argparse.Namespace) -> int:
    live, change = upgrade(
        open_store(arguments.adapters), arguments.embedder, acceptance=_acceptance(arguments)
    )
    return _publish(arguments, live, change)


def _publish(arguments: argparse.Namespace, live: LiveRouter, change: Change) -> int:
    report = change.router.model.report
    document = {"objections": list(change.objections), "routed": report.routed, "fallback": report.fallback}
    refused = bool(change.objections) and not arguments.yes
    number = None if refused else publish_change(live, change).number
    if arguments.json:
        print(json.dumps(document | {"release": number}))
        return 1 if refused else 0
    for objection in change.objections:
        print(f"overlap: {objection}")
    print(
        "held out, routed right: " + ", ".join(f"{name} {share:.3f}" for name, share in report.routed.items())
    )
    print("nothing published; --yes publishes it all the same" if refused else f"release {number} is live")
    return 1 if refused else 0


def _load(arguments: argparse.Namespace) -> LiveRouter:
    store = open_store(arguments.adapters)
    store.live()
    from transformers.utils import logging  # seconds to import: not before the store is known to be sound

    logging.disable_progress_bar()  # the embedder's weights load in a moment
    return load_live(store)


def _acceptance(arguments: argparse.Namespace) -> float:
    return ACCEPTANCE if arguments.accept is None else float(arguments.accept)


def _share(text: str) -> float:
    number = float(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text} given; expected a number between 0 and 1")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1000:
        raise argparse.ArgumentTypeError(f"{text} given; expected a number from 0 on")
    return number
