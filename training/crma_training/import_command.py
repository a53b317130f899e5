"""`crma-train import`: a LoRA that was trained elsewhere becomes a routed domain of a release."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from crma_adapters.cli.argument_types import location
from crma_adapters.cli.command import run_command
from crma_adapters.errors import ConfigError
from crma_adapters.store.names import check_domain_name
from crma_adapters.store.release import Release
from crma_adapters.store.sources.opening import open_store
from crma_adapters.store.store import Store

DESCRIPTION = """\
Checks a LoRA as PEFT saves it against the store's base model, measures what it gains on your examples, fits
the router with their questions and publishes both as one release. `crma-adapters rollback` takes it back.
"""
MOST_MEASURED = 100  # rows; the router learns from all


def main(argv: list[str]) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="crma-train import",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="FOLDER|HUB_ID", help="a LoRA as PEFT saves it")
    parser.add_argument("--adapters", type=location, required=True, help="store to publish into")
    parser.add_argument("--domain", required=True, help="what the domain is to be called")
    parser.add_argument("--examples", type=Path, required=True, help="rows of the domain, with answers")
    parser.add_argument("--model", default="", help="base model, where the store has no release yet")
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    store = open_store(args.adapters)
    release = import_adapter(store, args.source, args.domain, args.examples, model=args.model)
    print(f"release {release.number} is live in {store.root}: {', '.join(sorted(release.adapters))}")
    return 0


def import_adapter(
    store: Store,
    source: str,
    name: str,
    examples: Path,
    *,
    model: str = "",
    say: Callable[[str], None] = print,
) -> Release:
    """The release that has the LoRA as domain `name`, beside all that is live.

    Raises:
        ConfigError: no base model is known, or the name is that of a plain adapter in the store.
        DataError: an example has no answer, or cannot be read.
        StoreError, IntegrityError, IncompatibleError: as `fetch_lora`.
        RouterError: too few examples to route by.
    """
    # Imported here: torch and transformers take seconds to load.
    from crma_adapters.lora.foreign import fetch_lora
    from crma_adapters.models.base_model import resolve_base_model
    from crma_training.adapter import at_work
    from crma_training.config import TrainConfig
    from crma_training.data.dataset import DomainData
    from crma_training.data.sources import read_rows
    from crma_training.foreign import card_of
    from crma_training.publication import RunOutputs, TrainedAdapter, publish
    from crma_training.routing import fit_release_router
    from crma_training.start import choose_start, live_release
    from crma_training.store_questions import StoreQuestions
    from crma_training.workbench import load_workbench

    check_domain_name(name)
    live = live_release(store)
    if live is None and not model:
        raise ConfigError(f"{store.root} has no release yet, so no base model is known: give --model")
    config = TrainConfig(model=model or (live.base_model if live else ""))
    base = resolve_base_model(config.model)
    start = choose_start(store, base, {name}, config)
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch_lora(source, Path(scratch) / "adapter", base)
        rows = tuple(read_rows(examples))
        domain = DomainData(name, rows, rows[:MOST_MEASURED], tuple(row.question for row in rows))
        questions = StoreQuestions.of(store, start.carried, None, ())
        router = Path(scratch) / "router"
        router.mkdir()
        fit_release_router([domain, *questions.domains], questions.out_of_domain, config.seed, router)
        bench = load_workbench(base, config)
        task = bench.task(domain)
        before = bench.loss(task.holdout)
        with at_work(bench.model, folder):
            after = bench.loss(task.holdout)
        say(f"{name}: loss on {len(task.holdout)} examples: base {before:.3f}, with the LoRA {after:.3f}")
        if after >= before:
            say(f"{name}: the LoRA answers these examples no better than its base; are they of its domain?")
        card = card_of(folder, base, task, before, after)
        trained = TrainedAdapter(task, folder, card, None)
        note = f"crma-adapters import {source}"
        return publish(store, RunOutputs(base, (trained,), None, {}, {}, router, note))
