"""`crma-train search`: rank and learning rate of domains' adapters, chosen on validation rows."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crma_adapters.cli.command import run_command
from crma_adapters.errors import ConfigError, DataError, TrainingError
from crma_adapters.models.base_model import resolve_base_model
from crma_training.config import TrainConfig, digest
from crma_training.data.dataset import load_dataset
from crma_training.flags import add_options, config_from, names

DESCRIPTION = """\
Trains each domain at every rank and learning rate, with early stopping, and measures its validation rows:
other phrasings of trained facts where rows say by `entry` what they are about (--validation-split).
Recommended is the smallest rank whose mean loss is not worse than the best one's by more than one standard
error of the paired difference over rows, at its best rate. What is finished in the run folder is not redone.
"""


@dataclass(frozen=True)
class Trial:
    """One rank and rate over all domains: every validation row's loss (nats per answer token), domain after
    domain; none if training diverged.
    """

    rank: int
    rate: float
    parameters: int
    losses: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over rows; infinite if training diverged."""
        return sum(self.losses) / len(self.losses) if self.losses else float("inf")


def main(argv: list[str]) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="crma-train search",
        description=DESCRIPTION,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--domains", type=names, help="comma-separated (default: all)")
    parser.add_argument("--ranks", type=_ranks, default=(4, 8, 16, 32), help="default: 4,8,16,32")
    parser.add_argument("--rates", type=_rates, default=(1e-3, 2e-3, 4e-3), help="default: 1e-3,2e-3,4e-3")
    parser.add_argument("--run", type=Path, help="run folder (default: runs/<digest of what it is>)")
    add_options(parser, leave_out=("rank", "mixing_rank", "learning_rate", "crma_learning_rate"))
    args = parser.parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    config = config_from(args)
    if not config.validation_share:
        config = dataclasses.replace(config, validation_share=0.2)
    trials = search(args.data, args.domains, config, args.ranks, args.rates, args.run)
    for trial in sorted(trials, key=lambda each: (each.rank, each.rate)):
        loss = f"{trial.mean:.4f} nats per answer token" if trial.losses else "diverged"
        print(f"rank {trial.rank:>3}, rate {trial.rate:g}, {trial.parameters:,} parameters: {loss}")
    best = choose(trials)
    print("recommended: " + " ".join(flags(config, best)))
    return 0


def search(
    data: Path,
    domains: tuple[str, ...] | None,
    config: TrainConfig,
    ranks: Sequence[int],
    rates: Sequence[float],
    run: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Trial]:
    """Every rank at every rate.

    Raises:
        DataError: a domain has fewer than two validation rows.
    """
    # Imported here: torch and transformers take seconds to load.
    from crma_training.run_folder import RunFolder
    from crma_training.workbench import load_workbench

    base = resolve_base_model(config.model)
    found = load_dataset(
        data,
        domains,
        validation_share=config.validation_share,
        validation_split=config.validation_split,
    )
    for domain in found.domains:
        if len(domain.validation) < 2:
            raise DataError(f"{domain.name} has {len(domain.validation)} validation rows; two are needed")
    bench = load_workbench(base, config)
    tasks = [bench.task(domain) for domain in found.domains]
    identity = {
        "searches": config.to_json(),
        "base_fingerprint": base.fingerprint,
        "data_sha256": found.sha256,
        "domains": [task.name for task in tasks],
    }
    trials = []
    with RunFolder(run or Path("runs") / digest(identity)[:12], identity) as folder:
        for rank in ranks:
            for rate in rates:
                stage = f"rank-{rank}-rate-{rate:g}"
                if folder.finished(stage) is None:
                    say(f"rank {rank}, rate {rate:g}")
                    tried = dataclasses.replace(bench, config=_sized(config, rank, rate))
                    with folder.stage(stage) as working:
                        trial = _trial(tried, tasks, rank, rate, working)
                        (working / "trial.json").write_text(json.dumps(dataclasses.asdict(trial)))
                values = json.loads((folder.path / stage / "trial.json").read_bytes())
                trials.append(Trial(**values | {"losses": tuple(values["losses"])}))
    return trials


def choose(trials: Sequence[Trial]) -> Trial:
    """The smallest rank, at its best rate, that is not worse than the best of all by more than one standard
    error. Raises `ConfigError` if all diverged.
    """
    sound = [trial for trial in trials if trial.losses]
    if not sound:
        raise ConfigError("every trial diverged; give smaller --rates")
    best = min(sound, key=lambda trial: trial.mean)
    for rank in sorted({trial.rank for trial in sound}):
        own = min((trial for trial in sound if trial.rank == rank), key=lambda trial: trial.mean)
        gap = np.array(own.losses) - np.array(best.losses)
        if gap.mean() <= gap.std(ddof=1) / np.sqrt(len(gap)):
            return own
    return best


def flags(config: TrainConfig, trial: Trial) -> list[str]:
    """What to give crma-train."""
    found = ["--adapter", config.adapter]
    if config.adapter != "mixer":
        found += ["--rank", str(trial.rank), "--lora-alpha", str(_sized(config, trial.rank, 1e-3).lora_alpha)]
        found += ["--learning-rate", f"{trial.rate:g}"]
    if config.adapter != "lora":
        found += ["--mixing-rank", str(trial.rank), "--crma-learning-rate", f"{trial.rate:g}"]
    return found


def _trial(bench: Any, tasks: Sequence[Any], rank: int, rate: float, working: Path) -> Trial:
    from crma_training.adapter import at_work
    from crma_training.fit import own_batches, steps_for
    from crma_training.learn import ADAPTER, learn_domain
    from crma_training.trainer.losses import row_losses

    losses: list[float] = []
    parameters = 0
    try:
        for task in tasks:
            steps, folder = steps_for(task, bench.config), working / task.name
            folder.mkdir()
            batches = own_batches(task, bench.config, steps)
            learnt = learn_domain(bench, task.name, batches, steps, folder, validation=task.validation)
            parameters = learnt.parameters
            with at_work(bench.model, folder / ADAPTER):
                size = 2 * bench.config.batch_size
                losses += row_losses(bench.model, task.validation, size, bench.pad_id)
    except TrainingError:
        return Trial(rank, rate, parameters, ())
    return Trial(rank, rate, parameters, tuple(losses))


def _sized(config: TrainConfig, rank: int, rate: float) -> TrainConfig:
    """A LoRA's alpha / rank stays."""
    return dataclasses.replace(
        config.with_rank(rank), mixing_rank=rank, learning_rate=rate, crma_learning_rate=rate
    )


def _ranks(text: str) -> tuple[int, ...]:
    return tuple(_numbers(text, int, "ranks", "4,8,16"))


def _rates(text: str) -> tuple[float, ...]:
    return tuple(_numbers(text, float, "rates", "1e-3,2e-3"))


def _numbers(text: str, kind: type[Any], what: str, example: str) -> list[Any]:
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--{what} {text!r}; give numbers separated by commas, as {example}") from error
    if min(found) <= 0 or len(set(found)) != len(found):
        raise ConfigError(f"--{what} {text!r}; give each once, above 0")
    return found
