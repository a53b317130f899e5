"""CRMA's overhead in figures and words."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crma_eval.learning.overhead.arm import Work
from crma_eval.learning.overhead.race import Race
from crma_eval.report import Report
from crma_eval.stats import bootstrap_interval

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
