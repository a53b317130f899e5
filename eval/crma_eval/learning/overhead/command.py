"""`crma-eval overhead`: how much slower and larger training with CRMA is than a plain PEFT LoRA."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.learning.setup import BESIDE
from crma_eval.report import Goal
from crma_eval.task import Context, Result
from crma_training.data.dataset import domain_names
from crma_training.flags import add_options, config_from

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
    from crma_eval.learning.overhead.arm import Work
    from crma_eval.learning.overhead.race import race
    from crma_eval.learning.overhead.summary import GOAL, overhead, overhead_report

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
