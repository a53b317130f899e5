"""`crma-eval bench`: crma-serve beside bare vLLM, under the same traffic, in one run."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import DEFAULT_BASE_MODEL, resolve_base_model
from crma_adapters.store.store import Store
from crma_eval.serving.bench import servers, turns
from crma_eval.serving.bench.curves import curves_jobs, curves_report
from crma_eval.serving.bench.kinds import kinds_report, measure_kinds
from crma_eval.serving.bench.report import Run, bench_report, verdicts
from crma_eval.serving.bench.session import Job, Outcome, Stage, place_of, run_job
from crma_eval.serving.bench.systems import (
    Plan,
    Subject,
    check_plan,
    choose_systems,
    loads_text,
    parse_loads,
    read_questions,
    side_by_side,
    systems,
)
from crma_eval.serving.bench.turns import Turn
from crma_eval.task import Context, Result

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
        base = resolve_base_model(args.model or DEFAULT_BASE_MODEL)
        return Result(kinds_report(base.name, measure_kinds(base.path, args.repeats)))
    if args.fresh and args.curves:
        raise ConfigError("--fresh and --curves are given; a curve's servers are started once: leave one out")
    subject = _subject(args)
    questions = read_questions(args.data, subject.domain)
    work = _work(args, "curves" if args.curves else "side-by-side", plan, subject)
    if args.curves:
        outcomes = [_measure(job, subject, work) for job in curves_jobs(plan, questions, subject, work)]
        return Result(curves_report(subject.base.name, Outcome.joined(outcomes)))
    chosen = choose_systems(systems(subject, plan.copies), args.systems)
    outcome = _measure(side_by_side(plan, chosen, questions, subject, work), subject, work)
    found = Run(plan, chosen, f"{subject.base.name}, questions of {subject.domain!r}", outcome)
    return Result(bench_report(found), tuple(verdict.goal for verdict in verdicts(found.cells)))


def _subject(args: argparse.Namespace) -> Subject:
    store = Store(args.adapters)
    release = store.live()
    if not release.adapters:
        raise ConfigError(f"{args.adapters}: the live release has no adapters; publish one first")
    domain = args.domain or next(iter(release.adapters))
    if domain not in release.adapters:
        raise ConfigError(f"--domain is {domain!r}; the release has {', '.join(release.adapters)}")
    base = resolve_base_model(args.model or release.base_model)
    return Subject(store, base, domain, (*shlex.split(args.serve_flags), *ALWAYS))


def _work(args: argparse.Namespace, name: str, plan: Plan, subject: Subject) -> Path:
    """Repeats and minutes may change: what was measured holds all the same."""
    facts = {
        "release": subject.store.live().number, "model": subject.base.fingerprint, "domain": subject.domain,
        "flags": subject.flags, "loads": plan.loads, "tokens": plan.output_tokens, "copies": plan.copies,
        "seed": plan.seed,
    } | ({"fresh": True} if plan.fresh else {})  # fmt: skip
    return place_of(args.work, name, facts)


def _measure(job: Job, subject: Subject, work: Path) -> Outcome:
    every = [turn for repeat in job.repeats for turn in repeat]
    journal = turns.Journal(work / "turns")
    left = [turn for turn in every if journal.read(turn) is None]
    print(_announcement(job, left, work), file=sys.stderr)
    with (
        turns.BenchClient(work / "client", subject.base.path, turns.COMMAND) as client,
        tqdm(total=len(every), desc="bench", unit="turn", file=sys.stderr, dynamic_ncols=True) as bar,
    ):

        def started(name: str) -> None:
            bar.set_description(f"starting {name}")

        def measured(turn: Turn) -> None:
            bar.set_description(f"repeat {turn.repeat + 1}, {turn.system}, {turn.concurrency} at a time")
            bar.update()

        stage = Stage(
            subject.base, work / "logs", journal, servers.COMMANDS, started=started, measured=measured
        )
        return run_job(job, client, stage)


def _announcement(job: Job, left: Sequence[Turn], work: Path) -> str:
    count = sum(len(repeat) for repeat in job.repeats)
    kept = f", {count - len(left)} of them measured before" if len(left) < count else ""
    tokens = sum(len(turn.models) * turn.output_tokens for turn in left)
    minutes = sum(_guess_s(turn) for turn in left) / 60
    again = ", anew in each repeat" if job.fresh else ""
    return (
        f"bench: {len({turn.server for turn in left})} servers to start{again}, {count} turns in "
        f"{len(job.repeats)} repeats{kept}; {tokens:,} output tokens to go, about {minutes:.0f} minutes with "
        f"the demo model on two CPU cores, starts not counted; no repeat begins that would probably end "
        f"after {job.minutes:g} minutes; kept in {work}"
    )


def _guess_s(turn: Turn) -> float:
    """As a small CPU takes with the demo model: 22 tokens/s for one request, 100 for 32 at a time."""
    tokens_per_s = 20 + 2.5 * min(turn.concurrency, 32)
    return 3 + len(turn.models) * turn.output_tokens / tokens_per_s
