"""`crma-adapters`: look at a store, check it, publish to it, go back.

Owns: the command line. What the commands do is in `store_commands`.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from crma_adapters import store_commands as commands
from crma_adapters.command import run_command
from crma_adapters.store import Store

Command = Callable[[Store, argparse.Namespace], int]
AddCommand = Callable[[str, Command, str], argparse.ArgumentParser]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status; 2 with one line on stderr for anything a user can mend."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda: arguments.run(Store(arguments.adapters), arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-adapters",
        allow_abbrev=False,  # else `list --adapter x` would mean --adapters
        description="Look at a store of adapters, check it, publish to it, go back to an older release.",
        epilog="Errors are one line on stderr and exit status 2; the live release then stays as it was.",
    )
    help_text = "the store (default: ./adapters)"
    parser.add_argument("--adapters", default=Path("adapters"), type=Path, metavar="DIR", help=help_text)
    # SUPPRESS, so that the flag may stand before or after the command without one undoing the other.
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--adapters", default=argparse.SUPPRESS, type=Path, metavar="DIR", help=help_text)
    added = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Command, summary: str) -> argparse.ArgumentParser:
        it = added.add_parser(name, parents=[shared], help=summary, description=summary, allow_abbrev=False)
        it.set_defaults(run=run)
        return it

    _add_reading(command)
    _add_writing(command)
    return parser


def _add_reading(command: AddCommand) -> None:
    listing = command(
        "list",
        commands.list_command,
        "List every adapter: version, backbone, rank, size, holdout loss base -> after.",
    )
    show = command(
        "show", commands.show_command, "Show one adapter's card: data, licences, training, holdout loss."
    )
    show.add_argument("name", metavar="NAME[@VERSION]", help="a domain; without a version, the live one")
    for parser in (listing, show):
        parser.add_argument("--json", action="store_true", help="print JSON")
    verify = command(
        "verify", commands.verify_command, "Check every file of the live release, and every plain adapter."
    )
    verify.add_argument("number", nargs="?", type=_positive, metavar="N", help="check release N instead")
    verify.add_argument(
        "--max-rank", type=_positive, metavar="R", help="the largest LoRA rank the engine takes"
    )


def _add_writing(command: AddCommand) -> None:
    publish = command(
        "publish",
        commands.publish_command,
        "Make a release of new parts; what is not named stays as it is live.",
    )
    publish.add_argument(
        "--adapter",
        action="append",
        default=[],
        type=_named_folder,
        metavar="NAME=FOLDER",
        help="an adapter: adapter_config.json, adapter_model.safetensors, adapter.json (may be repeated)",
    )
    publish.add_argument("--backbone", type=Path, metavar="FOLDER", help="crma.json, crma.safetensors")
    publish.add_argument("--router", type=Path, metavar="FOLDER", help="router.json, router.safetensors")
    publish.add_argument(
        "--drift",
        action="append",
        default=[],
        type=_named_number,
        metavar="NAME=NUMBER",
        help="relative change of NAME's holdout loss, measured under this release's backbone, "
        "where that is not the one it was trained on (may be repeated)",
    )
    publish.add_argument("--note", default="", help="a line to keep with the release")
    rollback = command(
        "rollback", commands.rollback_command, "Publish an older release again, under a new number."
    )
    rollback.add_argument(
        "number",
        nargs="?",
        type=_positive,
        metavar="N",
        help="the release (default: the one before the live one)",
    )


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def _named_number(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER")
    return name, value


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
