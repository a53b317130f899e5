"""The command line of the commands of `crma-adapters` that change a store."""

from pathlib import Path

from crma_adapters.cli import change_commands as commands
from crma_adapters.cli.argument_types import (
    AddCommand,
    named_folder,
    named_number,
    number,
    positive,
    share,
    wanted_canary,
)
from crma_adapters.store.collection import KEEP_RELEASES


def add_writing(command: AddCommand) -> None:
    """Add every command that changes a store."""
    _add_publishing(command)
    _add_canary(command)
    _add_refresh(command)
    _add_foreign(command)
    gc = command(
        "gc",
        commands.gc_command,
        "Remove versions that no kept release names; plain adapters and release documents stay.",
    )
    gc.add_argument(
        "--keep",
        type=positive,
        default=KEEP_RELEASES,
        metavar="N",
        help="keep the live release and the N - 1 before it whole (default: %(default)s)",
    )
    gc.add_argument("--dry-run", action="store_true", help="only tell what would be removed")


def _add_foreign(command: AddCommand) -> None:
    bring = command(
        "import",
        commands.import_command,
        "Make a LoRA trained elsewhere a routed domain of a new release, measured on your examples.",
    )
    bring.add_argument("source", metavar="FOLDER|HUB_ID", help="a LoRA as PEFT saves it")
    bring.add_argument("--domain", required=True, metavar="NAME", help="what the domain is to be called")
    bring.add_argument(
        "--examples",
        type=Path,
        required=True,
        metavar="FILE",
        help="rows of the domain with answers, in any format of crma-train; the router learns them",
    )
    bring.add_argument("--model", help="base model, where the store has no release yet")
    merge = command(
        "merge",
        commands.merge_command,
        "Write a domain's LoRA merged into its base model as a model of its own; a CRMA cannot be merged.",
    )
    merge.add_argument("name", metavar="NAME", help="a domain of the live release")
    merge.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a new folder")


def _add_canary(command: AddCommand) -> None:
    canary = command(
        "canary",
        commands.canary_command,
        "Try a second version of a live adapter on a share of its sessions, or change the share.",
    )
    canary.add_argument(
        "wanted",
        type=wanted_canary,
        metavar="NAME=FOLDER|NAME@VERSION|NAME",
        help="a new adapter's folder, a version in the store, or the canary there is",
    )
    canary.add_argument(
        "--weight", type=share, required=True, metavar="W", help="its share of the sessions, such as 0.1"
    )
    canary.add_argument(
        "--drift",
        type=number,
        metavar="NUMBER",
        help="relative change of its holdout loss under the newest backbone, to run it on that one "
        "(default: it runs on the backbone it was trained on)",
    )
    promote = command("promote", commands.promote_command, "Make a domain's canary its live version.")
    drop = command("drop", commands.drop_command, "Take a domain's canary away; the live version stays.")
    for parser in (promote, drop):
        parser.add_argument("name", metavar="NAME", help="a domain with a canary")


def _add_refresh(command: AddCommand) -> None:
    refresh = command(
        "refresh",
        commands.refresh_command,
        "Move domains to the newest backbone where their measured validation loss is not worse by more "
        "than one "
        "standard error, or back to the backbones they were trained on.",
    )
    refresh.add_argument(
        "names",
        nargs="*",
        metavar="DOMAIN",
        help="which domains (default: every one that FILE has; --pin needs them named)",
    )
    how = refresh.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--losses",
        type=Path,
        metavar="FILE",
        help="losses by row under both backbones, as `crma-train refresh` measures them",
    )
    how.add_argument(
        "--pin", action="store_true", help="back to the backbone each was trained on; needs no losses"
    )


def _add_publishing(command: AddCommand) -> None:
    publish = command(
        "publish",
        commands.publish_command,
        "Make a release of new parts; what is not named stays as it is live.",
    )
    publish.add_argument(
        "--adapter",
        action="append",
        default=[],
        type=named_folder,
        metavar="NAME=FOLDER",
        help="an adapter: adapter.json and a LoRA (adapter_config.json, adapter_model.safetensors), a mixer "
        "(mixer.json, mixer.safetensors) or both (may be repeated)",
    )
    publish.add_argument("--backbone", type=Path, metavar="FOLDER", help="crma.json, crma.safetensors")
    publish.add_argument("--router", type=Path, metavar="FOLDER", help="router.json, router.safetensors")
    publish.add_argument(
        "--drift",
        action="append",
        default=[],
        type=named_number,
        metavar="NAME=NUMBER",
        help="relative change of NAME's holdout loss, measured under this release's newest backbone: NAME is "
        "moved to it (may be repeated; without it every adapter stays on the backbone it runs on)",
    )
    publish.add_argument("--note", default="", help="a line to keep with the release")
    rollback = command(
        "rollback", commands.rollback_command, "Publish an older release again, under a new number."
    )
    rollback.add_argument(
        "number",
        nargs="?",
        type=positive,
        metavar="N",
        help="the release (default: the one before the live one)",
    )
