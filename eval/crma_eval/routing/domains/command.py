"""`crma-eval routing-domains`: a router of hundreds of domains, and one more from a few questions."""

import argparse

from crma_eval.task import Context, Result

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

    from crma_eval.routing.domains.measure import FittedRouter, measure_added, measure_size
    from crma_eval.routing.domains.plain import PlainRouter
    from crma_eval.routing.domains.sources import many_domains
    from crma_eval.routing.domains.summary import domains_result
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
