"""`crma-adapters`: look at a store, check it, publish to it, go back.

Owns: the command line, of the commands that change nothing; the others are added by `change_cli`. What the
commands do is in `store_commands`.
"""

import argparse
from pathlib import Path

from crma_adapters.cli import store_commands as commands
from crma_adapters.cli.argument_types import AddCommand, Command, location, positive
from crma_adapters.cli.change_cli import add_writing
from crma_adapters.cli.command import run_command
from crma_adapters.cli.transfer_commands import add_transfer
from crma_adapters.store.sources.opening import open_store
from crma_adapters.store.sources.retry import until_no_conflict


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit status; 2 with one line on stderr for anything a user can mend."""
    arguments = _parser().parse_args(argv)

    def run() -> int:
        status: int = arguments.run(open_store(arguments.adapters, arguments.store_cache), arguments)
        return status

    return run_command(lambda: until_no_conflict(run))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-adapters",
        allow_abbrev=False,  # else `list --adapter x` would mean --adapters
        description="Look at a store of adapters, check it, publish to it, go back to an older release.",
        epilog="Errors are one line on stderr and exit status 2; the live release then stays as it was.",
    )
    help_text = "the store: a folder, or a URL such as s3://bucket/adapters (default: ./adapters)"
    cache_text = "where the files of a store behind a URL are kept (default: stores in the cache folder)"
    parser.add_argument(
        "--adapters", default=Path("adapters"), type=location, metavar="DIR|URL", help=help_text
    )
    parser.add_argument("--store-cache", type=Path, metavar="DIR", help=cache_text)
    # SUPPRESS, so that the flag may stand before or after the command without one undoing the other.
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--adapters", default=argparse.SUPPRESS, type=location, metavar="DIR|URL", help=help_text
    )
    shared.add_argument("--store-cache", default=argparse.SUPPRESS, type=Path, metavar="DIR", help=cache_text)
    added = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Command, summary: str) -> argparse.ArgumentParser:
        it = added.add_parser(name, parents=[shared], help=summary, description=summary, allow_abbrev=False)
        it.set_defaults(run=run)
        return it

    _add_reading(command)
    add_writing(command)
    add_transfer(command)
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
    verify = command(
        "verify", commands.verify_command, "Check every file of the live release, and every plain adapter."
    )
    verify.add_argument("number", nargs="?", type=positive, metavar="N", help="check release N instead")
    verify.add_argument(
        "--max-rank", type=positive, metavar="R", help="the largest LoRA rank the engine takes"
    )
    diff = command(
        "diff", commands.diff_command, "Tell what changed from release A to release B, or to the live one."
    )
    diff.add_argument("before", type=positive, metavar="A", help="a release's number")
    diff.add_argument(
        "after", nargs="?", type=positive, metavar="B", help="another's (default: the live one)"
    )
    for parser in (listing, show, diff):
        parser.add_argument("--json", action="store_true", help="print JSON")
