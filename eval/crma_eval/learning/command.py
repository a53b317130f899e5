"""`crma-eval forgetting`: what each method of learning domains one after another forgets."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.learning.setup import BESIDE, SEEDS, Protocol, Sizes, rates
from crma_training.flags import add_options, config_from, names
from crma_training.methods.registry import COMPARISONS, CORE, METHODS, methods_named

DESCRIPTION = """\
Trains the domains of DATA in sequence under every method, on identical rows, order, steps and seeds; measures
every domain after every stage (answer-token loss on holdout rows, exact match on held-out short-answer
questions); writes the forgetting table with plots. Whatever is finished in WORK is not done again: give the
same command again after a stop. Several processes may share WORK if their methods or seeds differ.
"""


def add_command(commands: Any) -> None:
    """Add `forgetting` to the subcommands of `crma-eval`."""
    parser = commands.add_parser(
        "forgetting",
        help="the forgetting table: methods x seeds x domains",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    core, others = (",".join(method.name for method in group) for group in (CORE, COMPARISONS))
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="dataset folder, as given to crma-train")
    source.add_argument(
        "--benchmark",
        type=Path,
        metavar="DIR",
        help="a folder of tasks whose holdout rows have short answers, scored by exact match over --orders",
    )
    parser.add_argument(
        "--orders", type=int, default=2, help="with --benchmark: orders of learning (default: 2)"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for training runs and measurements")
    parser.add_argument(
        "--journal",
        type=Path,
        help="folder of finished cells: what it has is not trained again, even with another WORK",
    )
    parser.add_argument("--report", type=Path, help="folder to write forgetting.{json,md} and plots into")
    parser.add_argument("--methods", type=names, help=f"run with every seed (default: {core})")
    parser.add_argument(
        "--baselines", type=names, help=f"run with --baseline-seeds (default: {others}; with --methods: none)"
    )
    parser.add_argument("--seeds", type=_seeds, default=SEEDS, help="default: 0,42,1234")
    parser.add_argument("--baseline-seeds", type=_seeds, default=SEEDS[:1], help="default: 0")
    parser.add_argument("--domains", type=names, help="comma-separated, in learning order (default: all)")
    for flag, default, meaning in (
        ("train", Sizes.train, "training rows"),
        ("holdout", Sizes.holdout, "holdout rows"),
        ("short-answer", Sizes.short_answer, "short-answer questions"),
    ):
        text = f"{meaning} per domain (default: {default})"
        name = f"rows_{flag.replace('-', '_')}"
        parser.add_argument(f"--{flag}-rows", dest=name, type=int, default=default, help=text)
    parser.add_argument(
        "--validation-rows",
        dest="rows_validation",
        type=int,
        default=0,
        help="training rows that no method trains on and modular-refreshed chooses by (default: 0)",
    )
    parser.add_argument(
        "--grid",
        type=rates,
        default=(),
        help="learning rates, as 1e-3,2e-3,4e-3: each method at each of them on validation rows at the first "
        "seed, then every seed at its best",
    )
    parser.add_argument("--grid-domains", type=names, help="domains to tune on (default: all)")
    parser.add_argument(
        "--split",
        choices=("holdout", "validation"),
        default="holdout",
        help="validation: measure on training rows that are not trained on, to tune on (default: holdout)",
    )
    parser.add_argument(
        "--routed",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the main methods with a router choosing too (default: yes)",
    )
    parser.add_argument(
        "--generic",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure what one model for all domains does to answers to small talk (default: yes)",
    )
    add_options(parser, leave_out=(*BESIDE, "seed"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tune, train, measure, report."""
    if args.benchmark:
        return _benchmark(args)
    from crma_eval.learning.grid import grid_figures, grid_section, rate_of
    from crma_eval.learning.journal import cell_figures
    from crma_eval.learning.protocol import Cell, Experiment
    from crma_eval.learning.routed import routed_section
    from crma_eval.learning.summary import write_report

    protocol = Protocol(
        args.data,
        config_from(args),
        Sizes(args.rows_train, args.rows_holdout, args.rows_short_answer, args.rows_validation),
        args.domains,
        args.split,
    )
    methods, baselines = _chosen(args)
    tried = _tried(args, protocol, (*methods, *baselines))
    pairs = [(method, seed) for seed in args.seeds for method in methods]
    pairs += [(method, seed) for seed in args.baseline_seeds for method in baselines]
    cells = [Cell(method, seed, rate_of(method, tried) if tried else None) for method, seed in pairs]
    experiment = Experiment(protocol, args.work, _say, args.journal, generic=args.generic)
    found = []
    total = len(cells) * len(experiment.domains)
    with tqdm(total=total, desc="forgetting", unit="domain", file=sys.stderr, dynamic_ncols=True) as bar:
        for cell in cells:
            bar.set_postfix_str(f"{cell.method.name}, seed {cell.seed}")
            found.append(experiment.result(cell, lambda _name: _advance(bar)))
    if args.routed:
        found = _routed(experiment, cells, found)
    routed = [result.routed for result in found if result.routed]
    figures = protocol.describe() | {
        "trainable_parameters": {result.run.method: result.parameters for result in found},
        "cells": [cell_figures(result) for result in found],
        "grid": grid_figures(tried),
        "routed": routed,
    }
    more = [grid_section(tried, args.rows_holdout)] if tried else []
    more += [routed_section(routed)] if routed else []
    write_report([result.run for result in found], figures, args.report, more)
    return 0


def _benchmark(args: argparse.Namespace) -> int:
    """The tasks of a public benchmark, over orders and seeds."""
    from crma_eval.learning.subdomains.transfer import Plan, run_benchmark
    from crma_eval.learning.subdomains.transfer_report import transfer_report

    methods, baselines = _chosen(args)
    plan = Plan(
        data=args.benchmark,
        work=args.work,
        config=config_from(args),
        fields=(),
        methods=(*methods, *baselines),
        seeds=args.seeds,
        orders=args.orders,
        journal=args.journal,
        grid=args.grid,
    )
    sizes = Sizes(args.rows_train, args.rows_holdout, args.rows_holdout)
    total = len(plan.methods) * len(plan.seeds) * plan.orders
    with tqdm(total=total, desc="benchmark", unit="cell", file=sys.stderr, dynamic_ncols=True) as bar:
        result = run_benchmark(plan, sizes, lambda _method: _advance(bar), _say)
    report = transfer_report(plan, [result])
    print(report.markdown())
    if args.report is not None:
        report.write(args.report)
    return 0


def _tried(args: argparse.Namespace, protocol: Protocol, methods: Sequence[Any]) -> dict[str, Any]:
    """Every method over the grid of learning rates, at the first seed; nothing without --grid."""
    from crma_eval.learning.grid import try_rates, tuned
    from crma_eval.learning.protocol import Experiment

    if not args.grid:
        return {}
    tuning = dataclasses.replace(protocol, split="validation", domains=args.grid_domains or args.domains)
    experiment = Experiment(tuning, args.work / "grid", _say, args.journal)
    total = len(tuned(methods)) * len(args.grid) * len(experiment.domains)
    with tqdm(total=total, desc="grid", unit="domain", file=sys.stderr, dynamic_ncols=True) as bar:
        return try_rates(experiment, methods, args.grid, args.seeds[0], lambda _name: _advance(bar), say=_say)


def _routed(experiment: Any, cells: Sequence[Any], found: Sequence[Any]) -> list[Any]:
    """The results with the main methods' figures through a router, where they are not known yet."""
    from crma_eval.learning.routed import experiment_router, routed_figures, routed_run, routes_matter
    from crma_training.methods.consolidated import Consolidated

    results, router = list(found), None
    for index, cell in enumerate(tqdm(cells, desc="through the router", unit="run", file=sys.stderr)):
        backed = isinstance(cell.method, Consolidated)
        if not (cell.method in CORE or backed) or results[index].routed is not None:
            continue
        if not experiment.complete(cell):
            _say(f"{cell.method.name}, seed {cell.seed}: not routed, it is in the journal and not in --work")
        elif backed or routes_matter(experiment, cell):
            router = router or experiment_router(experiment)
            if backed:
                below = dataclasses.replace(cell, method=METHODS[cell.method.basis])
                run = routed_run(experiment, below, router, experiment.servings(cell)[0])
                run = dataclasses.replace(run, method=f"{run.method}, fallback {cell.method.name}")
            else:
                run = routed_run(experiment, cell, router)
            figures = routed_figures(run)
            results[index] = experiment.keep(dataclasses.replace(results[index], routed=figures))
    return results


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _advance(bar: Any) -> None:
    bar.update()


def _chosen(args: argparse.Namespace) -> tuple[Any, Any]:
    methods = CORE if args.methods is None else methods_named(args.methods)
    default = COMPARISONS if args.methods is None else ()
    return methods, default if args.baselines is None else methods_named(args.baselines)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"seeds {text!r}; give whole numbers separated by commas, as 0,42,1234") from error
    if len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ConfigError(f"seeds {text!r}; give each once, 0 or more")
    return seeds
