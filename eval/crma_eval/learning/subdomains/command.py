"""`crma-eval subdomains`: what is learnt and kept when sub-domains are learnt one after another."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.learning.setup import BESIDE, SEEDS, rates
from crma_eval.learning.subdomains.split import WIDE, Size, split_field
from crma_eval.report import Goal
from crma_eval.task import Context, Result
from crma_training.config import TrainConfig
from crma_training.flags import add_options, config_from, names
from crma_training.methods.registry import methods_named

if TYPE_CHECKING:
    from crma_eval.learning.subdomains.protocol import Retention

METHODS = ("modular", "naive")
EPOCHS = 6
DESCRIPTION = """\
Cuts a field into four sub-domains, learns them one after another under each method, and asks the same probe
questions right after each was learnt and again at the end; scored by exact match. With --fields sub-domains
of several fields are learnt from few rows each, over sizes, seeds and orders: forward transfer, judged by a
rule set beforehand. Whatever is finished in WORK, or in the journal, is not done again.
"""
TRANSFER_METHODS = (
    "naive",
    "frozen",
    "frozen-matched",
    "frozen-4x",
    "warm-previous",
    "warm-mean",
    "warm-nearest",
    "shared-lora",
    "mixer-16",
    "modular",
    "modular-unpinned",
    "modular-identity",
    "modular-free",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with the field as a domain")
    parser.add_argument("--work", type=Path, required=True, help="folder for training runs and measurements")
    parser.add_argument("--field", default="legal", help="domain to cut (default: %(default)s)")
    parser.add_argument("--journal", type=Path, help="folder of finished cells, as crma-eval forgetting's")
    shown, many = ",".join(METHODS), ",".join(TRANSFER_METHODS)
    parser.add_argument("--methods", type=names, help=f"default: {shown}; with --fields: {many}")
    for flag, default, meaning in (
        ("--facts", Size.facts, "facts trained per sub-domain"),
        ("--phrasings", Size.phrasings, "training rows per fact"),
        ("--probes", Size.probes, "facts probed per sub-domain"),
        ("--epochs", EPOCHS, "passes over each sub-domain's rows"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{meaning} (default: {default})")
    wide = parser.add_argument_group("forward transfer over several fields")
    wide.add_argument("--fields", type=names, help=f"domains to cut in three each, as {','.join(WIDE)}")
    wide.add_argument(
        "--rows", type=_numbers, default=(6, 18, 54), help="training rows a sub-domain (default: 6,18,54)"
    )
    wide.add_argument("--seeds", type=_numbers, default=SEEDS, help="default: 0,42,1234")
    wide.add_argument("--orders", type=int, default=2, help="orders of learning (default: 2)")
    wide.add_argument("--grid", type=rates, default=(), help="learning rates to tune each method over")
    wide.add_argument(
        "--grid-domains", type=int, default=5, help="sub-domains to tune on, the first ones (default: 5)"
    )
    add_options(parser, leave_out=(*BESIDE, "epochs"))


def run(context: Context) -> Result:
    """Train, probe."""
    args = context.args
    config = config_from(args)
    if args.fields:
        return _transfer(args, config)
    size = _size(args)
    methods = methods_named(args.methods or METHODS)
    parts = split_field(args.data, args.field, size)
    from crma_eval.learning.subdomains.protocol import run_methods
    from crma_eval.learning.subdomains.summary import OURS, subdomains_report

    total = len(methods) * len(parts)
    with tqdm(total=total, desc="subdomains", unit="stage", file=sys.stderr, dynamic_ncols=True) as bar:

        def learnt(method: str, part: str) -> None:
            bar.set_postfix_str(f"{method}: {part} learnt")
            bar.update()

        found = run_methods(
            parts, size, config, methods, args.work, learnt=learnt, say=_say, journal=args.journal
        )
    report = subdomains_report(args.field, parts, size, config, found)
    return Result(report, tuple(_goal(each) for each in found if each.method == OURS))


def _transfer(args: argparse.Namespace, config: TrainConfig) -> Result:
    """Every size, order and seed."""
    from crma_eval.learning.subdomains.transfer import Plan, run_size
    from crma_eval.learning.subdomains.transfer_report import transfer_report

    if unknown := [name for name in args.fields if name not in WIDE]:
        raise ConfigError(
            f"--fields {', '.join(unknown)}: no sub-domains known; choose among {', '.join(WIDE)}"
        )
    plan = Plan(
        data=args.data,
        work=args.work,
        config=config,
        fields=args.fields,
        methods=methods_named(args.methods or TRANSFER_METHODS),
        rows=args.rows,
        seeds=args.seeds,
        orders=args.orders,
        journal=args.journal,
        grid=args.grid,
        grid_domains=args.grid_domains,
    )
    total = len(plan.methods) * len(plan.seeds) * plan.orders * len(plan.rows)
    with tqdm(total=total, desc="transfer", unit="cell", file=sys.stderr, dynamic_ncols=True) as bar:

        def learnt(method: str) -> None:
            bar.set_postfix_str(f"{method} learnt")
            bar.update()

        results = [run_size(plan, rows, learnt, _say) for rows in plan.rows]
    return Result(transfer_report(plan, results))


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{text!r}: give whole numbers separated by commas") from error


def _goal(found: "Retention") -> Goal:
    kept = f"{found.retained} of {found.learnt}"
    return Goal(f"probes kept that {found.method} had learnt", "all", kept, found.retained == found.learnt)


def _size(args: argparse.Namespace) -> Size:
    for flag, value in (("--facts", args.facts), ("--phrasings", args.phrasings), ("--probes", args.probes)):
        if value < 1:
            raise ConfigError(f"{flag} is {value}; give a number that is at least 1")
    if args.probes > args.facts:
        raise ConfigError(f"--probes is {args.probes}, --facts {args.facts}; only trained facts are probed")
    return Size(args.facts, args.phrasings, args.probes)
