"""`crma-eval bench`: crma-serve beside bare vLLM, under the same traffic, in one run."""

import argparse
import shlex
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_eval.report import Goal
from crma_eval.serving.bench.plan import Plan, check_plan, loads_text, parse_loads
from crma_eval.task import Context, Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crma_eval.serving.bench.session import Job, Outcome
    from crma_eval.serving.bench.systems import Subject
    from crma_eval.serving.bench.turn import Turn

DEFAULTS = Plan()
# float32: without AVX-512 a CPU emulates bfloat16. A small cache: all servers are in memory at once.
FLAGS = "--dtype float32 --max-model-len 1024 --kv-cache-memory-bytes 268435456"
# So that no turn gains from another's prompts.
ALWAYS = ("--no-enable-prefix-caching",)
DESCRIPTION = """\
Starts bare vLLM (LoRA off; on but idle; one LoRA by name) and crma-serve (by name; auto; domains mixed;
CRMA on and off mixed; 1,000 adapters in 8 slots), drives them in turns with vLLM's own benchmark client on
the same questions, and reports figures and ratios with their spread. Every server stays in memory (about
3 GB each with the demo model). A stopped run goes on where it was. Exit status 1: a goal was missed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    parser.add_argument("--adapters", type=Path, default=Path("adapters"), help="store (default: ./adapters)")
    parser.add_argument("--data", type=Path, default=Path("data/demo"),
                        help="folder made by crma-train demo-data (default: %(default)s)")  # fmt: skip
    parser.add_argument("--domain", help="whose questions are asked (default: the release's first)")
    parser.add_argument("--model", help="base model, if not the release's own")
    parser.add_argument("--systems", help="only these, by their letters: a,c,d (default: all but a-eager)")
    for flag, default, meaning in (
        ("--repeats", DEFAULTS.repeats, "turns of each system under each load"),
        ("--output-tokens", DEFAULTS.output_tokens, "of each answer"),
        ("--copies", DEFAULTS.copies, "adapters in the store of (h)"),
        ("--seed", DEFAULTS.seed, "of what (h) draws"),
    ):
        parser.add_argument(flag, type=int, default=default, help=f"{meaning} (default: {default})")
    loads = loads_text(DEFAULTS.loads)
    parser.add_argument(
        "--loads", default=loads,
        help="requests at a time, and how many in all: CONCURRENCY:REQUESTS,... (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=DEFAULTS.minutes,
        help="begin no repeat that would probably end later than this (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--fresh", action="store_true",
                        help="start the servers anew in each repeat: each start has its speed")  # fmt: skip
    parser.add_argument("--serve-flags", default=FLAGS,
                        help="flags of every server, as one argument (default: '%(default)s')")  # fmt: skip
    parser.add_argument("--curves", action="store_true",
                        help="how cost grows instead: adapters stored, in a batch; rank; prompt")  # fmt: skip
    parser.add_argument("--kinds", action="store_true",
                        help="a domain as a mixer and as a LoRA instead; random adapters")  # fmt: skip
    parser.add_argument("--work", type=Path, default=Path("runs/bench"),
                        help="keeps what was measured, stores and logs (default: %(default)s)")  # fmt: skip


def run(context: Context) -> Result:
    """Start, take turns, judge."""
    args = context.args
    plan = Plan(
        args.repeats, parse_loads(args.loads), args.output_tokens, args.copies, args.minutes, args.seed,
        args.fresh,
    )  # fmt: skip
    check_plan(plan)
    if args.kinds:
        return _kinds(args)
    if args.fresh and args.curves:
        raise ConfigError("--fresh and --curves are given; a curve's servers are started once: leave one out")
    subject = _subject(args)
    return _curves(args, plan, subject) if args.curves else _side_by_side(args, plan, subject)


def _kinds(args: argparse.Namespace) -> Result:
    from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, resolve_base_model
    from crma_eval.serving.bench.kinds import kinds_report, measure_kinds

    base = resolve_base_model(args.model or DEFAULT_BASE_MODEL)
    return Result(kinds_report(base.name, measure_kinds(base.path, args.repeats)))


def _subject(args: argparse.Namespace) -> "Subject":
    from crma_adapters.models.base_model import resolve_base_model
    from crma_adapters.store.store import Store
    from crma_eval.serving.bench.systems import Subject

    store = Store(args.adapters)
    release = store.live()
    if not release.adapters:
        raise ConfigError(f"{args.adapters}: the live release has no adapters; publish one first")
    domain = args.domain or next(iter(release.adapters))
    if domain not in release.adapters:
        raise ConfigError(f"--domain is {domain!r}; the release has {', '.join(release.adapters)}")
    base = resolve_base_model(args.model or release.base_model)
    return Subject(store, base, domain, (*shlex.split(args.serve_flags), *ALWAYS))


def _side_by_side(args: argparse.Namespace, plan: Plan, subject: "Subject") -> Result:
    from crma_eval.serving.bench.job import side_by_side
    from crma_eval.serving.bench.summary import Run, bench_report
    from crma_eval.serving.bench.systems import choose_systems, systems
    from crma_eval.serving.bench.traffic import read_questions

    chosen = choose_systems(systems(subject, plan.copies), args.systems)
    questions = read_questions(args.data, subject.domain)
    work = _work(args, "side-by-side", plan, subject)
    outcome = _measure(side_by_side(plan, chosen, questions, subject, work), subject, work)
    title = f"{subject.base.name}, questions of {subject.domain!r}"
    report = bench_report(Run(plan, chosen, title, outcome))
    return Result(report, tuple(_goal(verdict) for verdict in report.figures["goals"]))


def _goal(verdict: "Mapping[str, Any]") -> Goal:
    return Goal(
        f"{verdict['figure']}, {verdict['system']} / {verdict['against']}, {verdict['concurrency']} at once",
        f"{'at least' if verdict['at_least'] else 'at most'} {verdict['bound']:g}",
        f"{statistics.median(verdict['ratios']):.3f}",
        verdict["met"],
    )


def _curves(args: argparse.Namespace, plan: Plan, subject: "Subject") -> Result:
    from crma_eval.serving.bench.curves import curves_jobs
    from crma_eval.serving.bench.curves_report import curves_report
    from crma_eval.serving.bench.session import joined
    from crma_eval.serving.bench.traffic import read_questions

    work = _work(args, "curves", plan, subject)
    questions = read_questions(args.data, subject.domain)
    outcomes = [_measure(job, subject, work) for job in curves_jobs(plan, questions, subject, work)]
    report = curves_report(subject.base.name, joined(outcomes))
    return Result(report)


def _work(args: argparse.Namespace, name: str, plan: Plan, subject: "Subject") -> Path:
    """Repeats and minutes may change: what was measured holds all the same."""
    from crma_eval.serving.bench.place import place_of

    facts = {
        "release": subject.store.live().number, "model": subject.base.fingerprint, "domain": subject.domain,
        "flags": subject.flags, "loads": plan.loads, "tokens": plan.output_tokens, "copies": plan.copies,
        "seed": plan.seed,
    } | ({"fresh": True} if plan.fresh else {})  # fmt: skip
    return place_of(args.work, name, facts)


def _measure(job: "Job", subject: "Subject", work: Path) -> "Outcome":
    from crma_eval.serving.bench import client as bench_client
    from crma_eval.serving.bench import servers
    from crma_eval.serving.bench.session import Stage, run_job
    from crma_eval.serving.bench.turn import Journal

    turns = [turn for repeat in job.repeats for turn in repeat]
    journal = Journal(work / "turns")
    left = [turn for turn in turns if journal.read(turn) is None]
    print(_announcement(job, left, work), file=sys.stderr)
    with (
        bench_client.BenchClient(work / "client", subject.base.path, bench_client.COMMAND) as client,
        tqdm(total=len(turns), desc="bench", unit="turn", file=sys.stderr, dynamic_ncols=True) as bar,
    ):

        def started(name: str) -> None:
            bar.set_description(f"starting {name}")

        def measured(turn: "Turn") -> None:
            bar.set_description(f"repeat {turn.repeat + 1}, {turn.system}, {turn.concurrency} at a time")
            bar.update()

        stage = Stage(
            subject.base, work / "logs", journal, servers.COMMANDS, started=started, measured=measured
        )
        return run_job(job, client, stage)


def _announcement(job: "Job", left: "Sequence[Turn]", work: Path) -> str:
    turns = sum(len(repeat) for repeat in job.repeats)
    kept = f", {turns - len(left)} of them measured before" if len(left) < turns else ""
    tokens = sum(len(turn.models) * turn.output_tokens for turn in left)
    minutes = sum(_guess_s(turn) for turn in left) / 60
    again = ", anew in each repeat" if job.fresh else ""
    return (
        f"bench: {len({turn.server for turn in left})} servers to start{again}, {turns} turns in "
        f"{len(job.repeats)} repeats{kept}; {tokens:,} output tokens to go, about {minutes:.0f} minutes with "
        f"the demo model on two CPU cores, starts not counted; no repeat begins that would probably end "
        f"after {job.minutes:g} minutes; kept in {work}"
    )


def _guess_s(turn: "Turn") -> float:
    """As a small CPU takes with the demo model: 22 tokens/s for one request, 100 for 32 at a time."""
    tokens_per_s = 20 + 2.5 * min(turn.concurrency, 32)
    return 3 + len(turn.models) * turn.output_tokens / tokens_per_s
