"""`crma-train refresh`: what each domain of a store loses or gains under the newest backbone, by row."""

import argparse
from pathlib import Path

from crma_adapters.cli.argument_types import location
from crma_adapters.cli.command import run_command
from crma_adapters.errors import ConfigError
from crma_adapters.io.document import render_document
from crma_adapters.io.durable import write_durably
from crma_adapters.models.base_model import resolve_base_model
from crma_adapters.store.refresh import LOSSES_FORMAT, MIN_ROWS, MeasuredLosses, PairedLosses
from crma_adapters.store.sources.opening import open_store
from crma_adapters.store.store import Store
from crma_training.config import TrainConfig
from crma_training.data.dataset import load_domain
from crma_training.data.split import VALIDATION_SPLITS, ValidationSplit
from crma_training.flags import names

DESCRIPTION = """\
Measures each domain's loss on its validation rows (validation.jsonl, or the rows that crma-train set aside
with the same --validation-share) under the backbone it was trained on and under the newest one, and writes
both by row. `crma-adapters refresh --losses FILE` then moves the domains whose loss is not worse by more
than one standard error.
"""


def main(argv: list[str]) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="crma-train refresh",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--adapters", type=location, required=True, help="store whose live release is measured"
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    parser.add_argument("--losses", type=Path, required=True, metavar="FILE", help="where the losses go")
    parser.add_argument("--domains", type=names, help="comma-separated (default: all of the release)")
    parser.add_argument("--validation-share", type=float, default=0.0, help="as given to crma-train")
    parser.add_argument("--validation-split", choices=VALIDATION_SPLITS, default=VALIDATION_SPLITS[0])
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    store = open_store(args.adapters)
    measured = measure(store, args.data, args.domains, args.validation_share, args.validation_split)
    args.losses.parent.mkdir(parents=True, exist_ok=True)
    write_durably(args.losses.parent, args.losses, render_document(measured, format=LOSSES_FORMAT))
    for name, losses in measured.adapters.items():
        own, newest = (sum(rows) / len(rows) for rows in (losses.own, losses.newest))
        print(f"{name}: {own:.4f} -> {newest:.4f} nats per answer token over {len(losses.own)} rows")
    print(f"move them: crma-adapters refresh --adapters {args.adapters} --losses {args.losses}")
    return 0


def measure(
    store: Store,
    data: Path,
    domains: tuple[str, ...] | None = None,
    share: float = 0.0,
    how: ValidationSplit = "phrasings",
) -> MeasuredLosses:
    """The losses of the live release's domains; those trained on the newest backbone are left out.

    Raises:
        ConfigError: the release has no backbone, no such domain, or a domain has too few validation rows.
        DataError: as `load_domain`.
    """
    # Imported here: torch and transformers take seconds to load.
    from crma_training.methods.modular import losses_under
    from crma_training.workbench import load_workbench

    live = store.live().placed()
    if live.backbone is None:
        raise ConfigError(f"{store.root}: release {live.number} has no backbone, so there is none to move to")
    if unknown := sorted(set(domains or ()) - live.adapters.keys()):
        raise ConfigError(
            f"--domains {', '.join(unknown)}: release {live.number} has {', '.join(live.adapters)}"
        )
    bench = load_workbench(resolve_base_model(live.base_model), TrainConfig(model=live.base_model))
    newest, found = live.backbone.version, {}
    for name in domains or sorted(live.adapters):
        entry = live.adapters[name]
        if entry.trained_on_backbone == newest:
            continue
        rows = bench.task(load_domain(data, name, share, validation_split=how)).validation
        if len(rows) < MIN_ROWS:
            raise ConfigError(
                f"{name} has {len(rows)} validation rows, {MIN_ROWS} are needed; "
                f"add {data / name}/validation.jsonl, or give the --validation-share it was trained with"
            )
        adapter = store.adapter_dir(name, entry.part.version)
        own, moved = (
            losses_under(bench, adapter, None if version is None else store.backbone_dir(version), rows)
            for version in (entry.trained_on_backbone, newest)
        )
        found[name] = PairedLosses(entry.part.version, own, moved)
    return MeasuredLosses(newest, found)
