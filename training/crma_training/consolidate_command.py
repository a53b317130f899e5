"""`crma-train consolidate`: a consolidated backbone for a store that is there already."""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crma_adapters.cli.argument_types import location
from crma_adapters.cli.command import run_command
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import Release
from crma_adapters.store.sources.opening import open_store
from crma_adapters.store.store import Store
from crma_training.config import TrainConfig, digest
from crma_training.flags import add_options, config_from
from crma_training.processes import refuse_several

DESCRIPTION = """\
Teaches one CRMA all domains of the live release: every bundle answers its domain's questions as the router
keeps them, the bare base model answers generic ones, and the CRMA is distilled from these answers. It is
published as the newest backbone (what `backbone` and the fallback serve) if it passes its gate; no adapter
moves. A command that was stopped asks no teacher twice: give it again.
"""
OPTIONS = (
    "consolidation_epochs", "consolidation_questions", "mixing_rank", "backbone_rank", "mode",
    "crma_learning_rate", "crma_weight_decay", "crma_dropout", "batch_size", "max_length",
    "seed", "dtype", "note",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Entry point; returns the exit status: 1 if the gate was not passed."""
    parser = argparse.ArgumentParser(
        prog="crma-train consolidate",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--adapters", type=location, required=True, help="store whose live release gets it")
    parser.add_argument("--run", type=Path, help="run folder (default: runs/<digest of what it is>)")
    known = [option.name for option in dataclasses.fields(TrainConfig)]
    add_options(parser, leave_out=[name for name in known if name not in OPTIONS])
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    refuse_several("crma-train consolidate")
    release = consolidate_store(open_store(args.adapters), config_from(args), args.run)
    if release is None:
        return 1
    print(f"release {release.number} is live in {args.adapters}")
    return 0


def consolidate_store(
    store: Store, config: TrainConfig, run: Path | None = None, say: Callable[[str], None] = print
) -> Release | None:
    """The release with the new backbone; None if it did not pass its gate.

    Raises:
        ConfigError: the router has not kept the questions of a domain.
    """
    # Imported here: torch and transformers take seconds to load.
    from crma_training.consolidate import STAGE
    from crma_training.data.tokens import end_ids
    from crma_training.learn import BACKBONE
    from crma_training.run_folder import RunFolder
    from crma_training.sequence import consolidated
    from crma_training.store_questions import StoreQuestions
    from crma_training.workbench import load_workbench, resolved

    live = store.live()
    base = resolve_base_model(live.base_model)
    config = resolved(dataclasses.replace(config, model=live.base_model))
    identity: dict[str, Any] = {
        "consolidates": sorted(f"{name}@{entry.part.version}" for name, entry in live.adapters.items()),
        "config": config.identity(),
        "base_fingerprint": base.fingerprint,
    }
    questions = StoreQuestions.of(store, sorted(live.adapters), None, ())
    bench = load_workbench(base, config)
    with RunFolder(run or Path("runs") / digest(identity)[:12], identity) as folder:
        teachers = questions.teachers(bench, store)
        ends = end_ids(bench.chat)
        result = consolidated(folder, bench, teachers, ends, start_from=None, say=say)
        if not result.passes:
            return None
        note = config.note or "crma-train consolidate"
        return publish_parts(store, Publication(backbone=folder.path / STAGE / BACKBONE, note=note))
