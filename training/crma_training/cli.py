"""`crma-train`: the command line of training.

Owns: flags (derived from `TrainConfig`) and what is printed at the end. Knows nothing of how training is
done.
"""

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from crma_adapters.command import run_command
from crma_adapters.errors import ConfigError
from crma_training.config import TrainConfig

DESCRIPTION = """\
Trains one LoRA per domain, in sequence, on a CRMA backbone that keeps training, fits the
router on the same data and publishes one release into the store. A run that was stopped goes on at the last
finished domain: give the same command again. `crma-train demo-data DIR` builds the demo dataset.
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point of `crma-train`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["demo-data"]:
        from crma_training.demo_data.cli import main as demo_data

        return demo_data(arguments[1:])
    return run_command(lambda: _train(arguments))


def _train(arguments: list[str]) -> int:
    options = vars(_parser().parse_args(arguments))
    # OpenMP threads that wait by spinning take the core from the one they wait for as soon as anything else
    # runs: a third of the speed on two busy cores. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Imported after the flags are known to be good: torch and transformers take seconds to load.
    from crma_training.sequence import Job, train_sequence

    job = Job(
        data=options.pop("data"),
        adapters=options.pop("adapters"),
        run=options.pop("run"),
        domains=options.pop("domains"),
        config=TrainConfig(**options),
    )
    try:
        release = train_sequence(job)
    except KeyboardInterrupt:
        print("\nstopped; finished domains are kept, give the same command again to go on", file=sys.stderr)
        return 130
    print(f"release {release.number} is live in {job.adapters}: {', '.join(sorted(release.adapters))}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="crma-train",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--adapters", type=Path, required=True, help="store to publish into")
    parser.add_argument("--domains", type=_names, help="comma-separated, in training order (default: all)")
    parser.add_argument(
        "--run", type=Path, help="run folder (default: runs/<digest of configuration and data>)"
    )
    for option in dataclasses.fields(TrainConfig):
        parser.add_argument("--" + option.name.replace("_", "-"), **_flag(option))
    return parser


def _flag(option: dataclasses.Field[Any]) -> dict[str, Any]:
    """argparse's keywords for one field of `TrainConfig`."""
    shown = ",".join(option.default) if isinstance(option.default, tuple) else option.default
    settings: dict[str, Any] = {"default": option.default, "help": option.metadata["help"]}
    if isinstance(option.default, bool):
        return {**settings, "action": argparse.BooleanOptionalAction}
    if shown != "":
        settings["help"] += f" (default: {shown})"
    kind = _names if isinstance(option.default, tuple) else type(option.default)
    return {**settings, "type": kind, "choices": option.metadata["choices"] or None}


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"{text!r} has an empty name; separate names with single commas")
    return names
