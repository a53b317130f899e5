"""`crma-eval subdomains`: what is kept when the sub-domains of one field are learnt one after another."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.learning.setup import BESIDE
from crma_eval.learning.subdomains.split import Size, split_field
from crma_eval.report import Goal
from crma_eval.task import Context, Result
from crma_training.flags import add_options, config_from, names
from crma_training.methods.registry import methods_named

if TYPE_CHECKING:
    from crma_eval.learning.subdomains.protocol import Retention

METHODS = ("modular", "naive")
EPOCHS = 6
DESCRIPTION = """\
Cuts a field into four sub-domains, learns them one after another under each method, and asks the same probe
questions right after each was learnt and again at the end; scored by exact match. Whatever is finished in
WORK is not done again: give the same command again after a stop.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with the field as a domain")
    parser.add_argument("--work", type=Path, required=True, help="folder for training runs and measurements")
    parser.add_argument("--field", default="legal", help="domain to cut (default: %(default)s)")
    shown = ",".join(METHODS)
    parser.add_argument("--methods", type=names, default=METHODS, help=f"default: {shown}")
    for flag, default, meaning in (
        ("--facts", Size.facts, "facts trained per sub-domain"),
        ("--phrasings", Size.phrasings, "training rows per fact"),
        ("--probes", Size.probes, "facts probed per sub-domain"),
        ("--epochs", EPOCHS, "passes over each sub-domain's rows"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{meaning} (default: {default})")
    add_options(parser, leave_out=(*BESIDE, "epochs"))


def run(context: Context) -> Result:
    """Train, probe."""
    args = context.args
    size = _size(args)
    config = config_from(args)
    methods = methods_named(args.methods)
    parts = split_field(args.data, args.field, size)
    from crma_eval.learning.subdomains.protocol import run_methods
    from crma_eval.learning.subdomains.summary import OURS, subdomains_report

    total = len(methods) * len(parts)
    with tqdm(total=total, desc="subdomains", unit="stage", file=sys.stderr, dynamic_ncols=True) as bar:

        def learnt(method: str, part: str) -> None:
            bar.set_postfix_str(f"{method}: {part} learnt")
            bar.update()

        say = lambda line: tqdm.write(line, file=sys.stderr)  # noqa: E731
        found = run_methods(parts, size, config, methods, args.work, learnt=learnt, say=say)
    report = subdomains_report(args.field, parts, size, config, found)
    return Result(report, tuple(_goal(each) for each in found if each.method == OURS))


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
