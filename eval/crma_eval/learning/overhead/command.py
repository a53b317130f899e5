"""`crma-eval overhead`: training speed and memory of CRMA against a plain PEFT LoRA."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.learning.overhead.race import Race, Work
from crma_eval.learning.setup import BESIDE
from crma_eval.report import Goal, Report
from crma_eval.stats import bootstrap_interval
from crma_eval.task import Context, Result
from crma_training.data.dataset import domain_names
from crma_training.flags import add_options, config_from

GOAL = 0.95


@dataclass(frozen=True)
class Spread:
    """The median of paired ratios, its 95 % bootstrap interval, and the extremes."""

    median: float
    low: float
    high: float
    smallest: float
    largest: float

    def text(self) -> str:
        """For a table."""
        ends = f"{self.smallest:.3f} to {self.largest:.3f}"
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}], blocks {ends}"


@dataclass(frozen=True)
class Overhead:
    """CRMA + LoRA against LoRA alone: speed ratios by wall clock and by CPU time, memory ratio."""

    wall: Spread
    cpu: Spread
    memory: float


def overhead(found: Race) -> Overhead:
    """Ratios of speed are CRMA's tokens per second over the plain LoRA's: below 1 is slower."""
    return Overhead(
        wall=spread([pair.lora.wall_s / pair.crma.wall_s for pair in found.pairs]),
        cpu=spread([pair.lora.cpu_s / pair.crma.cpu_s for pair in found.pairs]),
        memory=found.crma.memory_bytes / found.lora.memory_bytes,
    )


def spread(ratios: Sequence[float], seed: int = 0) -> Spread:
    """Of paired ratios; the interval is over resampled pairs."""
    low, high = bootstrap_interval(np.median, ratios, seed=seed)
    return Spread(float(np.median(ratios)), low, high, min(ratios), max(ratios))


def overhead_report(task: Work, found: Race, warmup: int) -> Report:
    """The table of both arms and their ratio."""
    result = overhead(found)
    crma, lora = found.crma, found.lora
    rows = (
        ("tokens/s, wall clock", *_speeds(found, "wall_s"), result.wall.text()),
        ("tokens/s, CPU time", *_speeds(found, "cpu_s"), result.cpu.text()),
        (
            "peak memory, MiB",
            _mebibytes(lora.memory_bytes),
            _mebibytes(crma.memory_bytes),
            f"{result.memory:.3f}",
        ),
        ("trained parameters", f"{lora.parameters:,}", f"{crma.parameters:,}", ""),
    )
    return Report(
        name="overhead",
        title=f"CRMA's training overhead on {task.config.model}",
        header=("", "plain PEFT LoRA", "CRMA + LoRA", "CRMA / plain: median [95 %], range"),
        rows=rows,
        figures={
            "model": task.config.model,
            "domain": task.domain,
            "blocks": len(found.pairs),
            "steps_per_block": task.steps,
            "warmup_blocks": warmup,
            "goal": GOAL,
            **dataclasses.asdict(result),
            "arms": {"lora": dataclasses.asdict(lora), "crma": dataclasses.asdict(crma)},
            "pairs": [dataclasses.asdict(pair) for pair in found.pairs],
        },
        remarks=_words(task, found, warmup, result),
    )


def _speeds(found: Race, clock: str) -> tuple[str, str]:
    """Median tokens per second of the plain LoRA's and of CRMA's blocks."""
    arms = ([pair.lora for pair in found.pairs], [pair.crma for pair in found.pairs])
    plain, crma = (np.median([block.tokens / getattr(block, clock) for block in blocks]) for blocks in arms)
    return f"{plain:.1f}", f"{crma:.1f}"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f}"


def _words(task: Work, found: Race, warmup: int, result: Overhead) -> tuple[str, ...]:
    blocks, low, high = len(found.pairs), result.wall.low, result.wall.high
    verdict = "met" if result.wall.median >= GOAL else "missed"
    pairs = [block for pair in found.pairs for block in (pair.lora, pair.crma)]
    share = sum(block.cpu_s for block in pairs) / sum(block.wall_s for block in pairs)
    device, threads = found.crma.device, found.crma.threads
    where = f"{threads} thread{'s' if threads > 1 else ''}" if device == "cpu" else device
    busy = (
        f" The arms got {share:.2f} CPU seconds per second with {where}: where that is below the number of "
        "threads, other work ran on the machine and CPU time is the better measure."
        if device == "cpu"
        else ""
    )
    return (
        f"Goal: at least {GOAL} times the plain LoRA's tokens per second: {verdict} by the wall clock "
        f"({result.wall.median:.3f}), {result.cpu.median:.3f} by CPU time."
        + (" The interval holds the goal: more blocks would tell." if low <= GOAL <= high else ""),
        f"Both arms train on the same rows in the same order ({task.domain}, batches of "
        f"{task.config.batch_size}, rank {task.config.rank}, {task.config.dtype}), each in a process of its "
        f"own, {blocks} blocks of {task.steps} steps in turns (A B, B A, ...) after {warmup} that do not "
        "count; a ratio is of two blocks on the same rows, one right after the other. The plain LoRA is "
        "PEFT's, in the same loop (answer-only logits, shared prefix, clipping, metrics); CRMA's blocks "
        "include its projection and the spectral log of every step. Tokens include prompts, not padding."
        f"{busy}",
    )


BLOCKS, STEPS, WARMUP = 16, 2, 2
LEFT_OUT = ("epochs", "steps", *(name for name in BESIDE if name != "mode"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    parser.add_argument("--domain", help="whose rows to train on (default: the dataset's first)")
    for flag, default, meaning in (
        ("--blocks", BLOCKS, "timed blocks of each arm"),
        ("--block-steps", STEPS, "optimizer steps per block"),
        ("--warmup-blocks", WARMUP, "blocks of each arm before the timed ones"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{meaning} (default: {default})")
    add_options(parser, leave_out=LEFT_OUT)


def run(context: Context) -> Result:
    """Train in turns."""
    args = context.args
    from crma_adapters.models.base_model import resolve_base_model
    from crma_eval.learning.overhead.race import Work, race

    for flag, value, least in (
        ("--blocks", args.blocks, 2),
        ("--block-steps", args.block_steps, 1),
        ("--warmup-blocks", args.warmup_blocks, 0),
    ):
        if value < least:
            raise ConfigError(f"{flag} is {value}; give a number that is at least {least}")
    config = config_from(args)
    resolve_base_model(config.model)  # fetched and converted once, not by both arms at a time
    domain = args.domain or domain_names(args.data)[0]
    task = Work(args.data, domain, config, args.warmup_blocks + args.blocks, args.block_steps)
    with tqdm(total=task.blocks, desc="overhead", unit="pair", file=sys.stderr, dynamic_ncols=True) as bar:

        def measured() -> None:
            bar.update()

        found = race(task, args.warmup_blocks, measured)
    report = overhead_report(task, found, args.warmup_blocks)
    median = overhead(found).wall.median
    goal = Goal("tokens/s of the plain LoRA's, median", f"at least {GOAL:g}", f"{median:.3f}", median >= GOAL)
    return Result(report, (goal,))
