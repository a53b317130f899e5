"""`crma-eval routing-domains`: a router of hundreds of domains."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from crma_eval.report import Goal, Report, Section
from crma_eval.routing.command import goal_rows
from crma_eval.routing.domains.measure import Added, Sized
from crma_eval.task import Context, Result

_WORDS = (
    "The first 22 domains are forums and query sets, whose questions are titles and queries of real users; "
    "the others are tasks of two collections, one of every family first, then members of a family, which "
    "overlap. *Led*: the right domain leads; *sent*: the question is sent there; *wrong*: sent to another; "
    "*left alone*: questions of everyday life, left to the backbone. Memory: what the process needed more."
)
_ADDED = (
    "A forum added to the others by a fit on all questions; *reach it*: its held-out questions that are sent "
    "to it; the others' share is of their own held-out questions, before and after."
)
_SLOWER, _REACHED, _CPU_S = 1.5, 0.8, 20.0


def domains_result(
    sizes: Sequence[Sized], added: Sequence[Added], encoder: str, *, plain: bool = False
) -> Result:
    """Goals: most domains' decision time against fewest, and what is added from twenty questions."""
    goals = tuple(_goals(sizes, added))
    report = Report(
        name="routing-domains-plain" if plain else "routing-domains",
        title=f"Many domains, {'plain logistic regression' if plain else 'our router'} on {encoder}",
        header=("goal", "bound", "measured", ""),
        rows=goal_rows(goals),
        figures={
            "encoder": encoder,
            "sizes": [asdict(one) for one in sizes],
            "added": [asdict(one) for one in added],
        },
        remarks=(_WORDS,),
        sections=(_sizes(sizes), _added(added)),
    )
    return Result(report, goals)


def _goals(sizes: Sequence[Sized], added: Sequence[Added]) -> Iterator[Goal]:
    least, most = min(sizes, key=lambda one: one.domains), max(sizes, key=lambda one: one.domains)
    ratio = most.p50_ms / least.p50_ms
    what = f"p50 with {most.domains} domains, of that with {least.domains}"
    yield Goal(what, f"<= {_SLOWER}", f"{ratio:.2f}", ratio <= _SLOWER)
    for one in (one for one in added if one.examples == 20):
        what, reached = f"{one.name} from 20 beside {one.domains}", one.reached or 0.0
        yield Goal(f"{what}: reach it", f">= {_REACHED}", f"{reached:.2f}", reached >= _REACHED)
        yield Goal(f"{what}: CPU, s", f"<= {_CPU_S:g}", f"{one.cpu_s:.1f}", one.cpu_s <= _CPU_S)


def _sizes(sizes: Sequence[Sized]) -> Section:
    header = (
        "domains",
        "fitted on",
        "asked",
        "led",
        "sent",
        "wrong",
        "left alone",
        "fit, s",
        "CPU, s",
        "p50, ms",
        "p99, ms",
        "MiB",
    )
    rows = tuple(
        (
            str(one.domains),
            str(one.fitted),
            str(one.asked),
            *(f"{share:.3f}" for share in (one.led, one.sent, one.wrong, one.left)),
            *(f"{time:.1f}" for time in (one.fit_s, one.fit_cpu_s, one.p50_ms, one.p99_ms)),
            f"{one.memory_mib:.0f}",
        )
        for one in sizes
    )
    return Section("By number of domains", header, rows)


def _added(added: Sequence[Added]) -> Section:
    header = ("added", "beside", "questions", "reach it", "others before", "others after", "CPU, s")
    rows = tuple(
        (
            one.name,
            str(one.domains),
            str(one.examples),
            "refused" if one.reached is None else f"{one.reached:.3f}",
            *(f"{share:.3f}" for share in (one.others_before, one.others_after)),
            f"{one.cpu_s:.1f}",
        )
        for one in added
    )
    return Section("One more domain", header, rows, (_ADDED,))


DESCRIPTION = """\
Fits a router on 5, 50, 200 and 500 domains from published packages (forums' titles, query sets, tasks)
and asks it held-out questions: how many are sent right, how long a fit and a decision take, what memory.
Then adds a forum to 5 and to 50 others from 5, 20 and 100 questions. The packages (0.6 GB) are fetched once.
Status 1 if a goal is missed.
"""
ADDED = ("cqadupstack-gis", "fiqa")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Sizes and the encoder."""
    parser.add_argument("--sizes", type=_numbers, default=(5, 50, 200, 500), help="default: 5,50,200,500")
    parser.add_argument("--beside", type=_numbers, default=(5, 50), help="sizes to add a domain to: 5,50")
    parser.add_argument("--embedder", help="encoder, as for crma-train; default: that of crma-train")
    parser.add_argument(
        "--plain", action="store_true", help="plain logistic regression instead of our router"
    )


def run(context: Context) -> Result:
    """Fit and ask."""
    from tqdm import tqdm

    from crma_eval.routing.domains.measure import FittedRouter, PlainRouter, measure_added, measure_size
    from crma_eval.routing.domains.sources import many_domains
    from crma_router.encoders.base import DEFAULT_EMBEDDER, open_embedder
    from crma_router.router import RouterData, fit_router

    args = context.args
    embedder = open_embedder(args.embedder or DEFAULT_EMBEDDER)
    many = many_domains()

    def fit(data: RouterData) -> FittedRouter:
        return PlainRouter(data, embedder) if args.plain else fit_router(data, embedder)

    sizes = [measure_size(many, size, fit) for size in tqdm(args.sizes, desc="sizes", unit="size")]
    tasks = [(count, name) for count in args.beside for name in ADDED]
    added = [
        one
        for count, name in tqdm(tasks, desc="adding", unit="domain")
        for one in measure_added(many, count, name, fit)
    ]
    return domains_result(sizes, added, embedder.name, plain=args.plain)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        found = tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers with commas, such as 5,50") from error
    if min(found) < 2:
        raise argparse.ArgumentTypeError(f"{text!r}; expected numbers of two or more")
    return found
