"""`crma-eval routing`: how well a release's router routes, and whether it knows what is not its own."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_adapters.store.store import Store
from crma_eval.report import Goal, Image, Report, Section
from crma_eval.routing.judged import FALLBACK, JudgedSet, inside_figures, outside_figures, risk_coverage
from crma_eval.routing.plot import draw
from crma_eval.task import Context, Result

PLOT = "routing.png"
_CURVE_POINTS = 20


@dataclass(frozen=True)
class Bound:
    """`figure` of the set `of` is to be `bound` or more, with `most` or less."""

    of: str
    figure: str
    bound: float
    most: bool = False

    def goal(self, value: float) -> Goal:
        """What was found against it."""
        met = value <= self.bound if self.most else value >= self.bound
        sign = "<=" if self.most else ">="
        return Goal(f"{self.of}: {self.figure}", f"{sign} {self.bound}", f"{value:.3f}", met)


BOUNDS = (
    Bound("in-domain", "macro_f1", 0.97),
    Bound("typos", "macro_f1", 0.93),
    Bound("far", "auroc", 0.98),
    Bound("everyday", "auroc", 0.98),
    Bound("near", "auroc", 0.85),
    Bound("in-domain", "ece", 0.03, most=True),
)


def routing_result(judged: Sequence[JudgedSet], title: str) -> Result:
    """The report and its goals; the first set is the in-domain one."""
    inside = {one.name: inside_figures(one) for one in judged if one.questions.inside}
    outside = {one.name: outside_figures(one, judged[0]) for one in judged if not one.questions.inside}
    figures = {name: asdict(one) for found in (inside, outside) for name, one in found.items()}
    goals = tuple(one.goal(figures[one.of][one.figure]) for one in BOUNDS if one.of in figures)
    report = Report(
        name="routing",
        title=title,
        header=("goal", "bound", "measured", ""),
        rows=goal_rows(goals),
        figures={
            "sets": figures,
            "confusion": {one.name: one.confusion() for one in judged if one.questions.inside},
            "risk_coverage": {one.name: _curve(one) for one in judged if one.questions.inside},
        },
        remarks=(_WORDS,),
        sections=(
            Section(
                "Questions of the domains",
                _INSIDE,
                tuple(_inside(name, f) for name, f in figures.items() if name in inside),
            ),
            Section(
                "Questions of none",
                _OUTSIDE,
                tuple(_outside(name, f) for name, f in figures.items() if name in outside),
            ),
            _fields({name: one.fields for name, one in outside.items()}),
            _confusion(judged[0]),
            Section("Plots", images=(Image(PLOT, _CAPTION, partial(draw, judged, title)),)),
        ),
    )
    return Result(report, goals)


def goal_rows(goals: Sequence[Goal]) -> tuple[tuple[str, ...], ...]:
    """A table of goals: what, bound, found, met or missed."""
    return tuple((one.what, one.bound, one.found, "met" if one.met else "missed") for one in goals)


_WORDS = (
    "macro-F1 and top-1 are of the leading domain; *routed* counts a fallback as a miss, *covered* is what "
    "is sent to any domain. AUROC and FPR@95TPR are of the out-of-domain distance against the in-domain set; "
    "*fallback* is what the router's own threshold leaves to the backbone. *holdout* is phrased like the "
    "training rows, *natural* are real queries sorted by words and sources, so some labels err. What is "
    "in each set: docs/router.md."
)
_CAPTION = "risk and coverage, reliability, what is taken for inside, confusion of in-domain texts"
_INSIDE = (
    "set",
    "rows",
    "top-1",
    "macro-F1",
    "routed macro-F1",
    "wrong domain",
    "covered",
    "ECE",
    "risk at 80 %",
)
_OUTSIDE = ("set", "rows", "AUROC", "FPR@95TPR", "fallback")


def _inside(name: str, figures: dict[str, float]) -> tuple[str, ...]:
    shown = ("top1", "macro_f1", "routed_f1", "wrong", "coverage", "ece", "risk80")
    return (name, str(figures["rows"]), *(f"{figures[figure]:.3f}" for figure in shown))


def _outside(name: str, figures: dict[str, float]) -> tuple[str, ...]:
    return (
        name,
        str(figures["rows"]),
        *(f"{figures[figure]:.3f}" for figure in ("auroc", "fpr95", "fallback")),
    )


def _fields(sets: dict[str, dict[str, float]]) -> Section:
    rows = tuple(
        (name, field, f"{value:.3f}") for name, fields in sets.items() for field, value in fields.items()
    )
    return Section("By field", ("set", "field", "AUROC") if rows else (), rows)


def _confusion(judged: JudgedSet) -> Section:
    counts = judged.confusion()
    columns = [*counts, FALLBACK]
    rows = tuple((name, *(str(own.get(column, "-")) for column in columns)) for name, own in counts.items())
    return Section("Where the in-domain set was sent", ("rows of \\ sent to", *columns), rows)


def _curve(judged: JudgedSet) -> list[tuple[float, float]]:
    """(coverage, risk) at twenty coverages."""
    coverage, risk = risk_coverage(judged.confidence, judged.right)
    places = [max(0, round(len(coverage) * (at + 1) / _CURVE_POINTS) - 1) for at in range(_CURVE_POINTS)]
    return [(round(float(coverage[at]), 4), round(float(risk[at]), 4)) for at in places]


DESCRIPTION = """\
Routes held-out questions of every domain, as written, mistyped, cut short, in conversations and misleadingly
introduced, and questions of none: of neighbouring fields, of others, in other languages. Status 1 if a goal
is missed.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the router and its questions are."""
    parser.add_argument("--data", type=Path, required=True, help="dataset folder, as given to crma-train")
    add_router_arguments(parser)


def add_router_arguments(parser: argparse.ArgumentParser) -> None:
    """`--adapters` or `--router`; `router_folder` reads them."""
    router = parser.add_mutually_exclusive_group(required=True)
    router.add_argument(
        "--adapters", type=Path, metavar="STORE", help="store whose live release's router is asked"
    )
    router.add_argument("--router", type=Path, metavar="DIR", help="folder of a router by itself")


def router_folder(args: argparse.Namespace) -> Path:
    """The folder of the router that was given. Raises ConfigError if the live release has none."""
    if args.router is not None:
        return Path(args.router)
    store = Store(args.adapters)
    release = store.live()
    if release.router is None:
        raise ConfigError(
            f"{args.adapters}: release {release.number} has no router; fit one, or give --router DIR"
        )
    return store.router_dir(release.router.version)


def check_domains(asked: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raises ConfigError where questions are of a domain that the router does not know."""
    if unknown := sorted(set(asked) - set(known)):
        raise ConfigError(
            f"{where} has questions of {', '.join(unknown)}, the router knows {', '.join(known)}; "
            "give the data of the router's domains"
        )


def run(context: Context) -> Result:
    """Route every set."""
    from crma_eval.routing.embeddings import kept
    from crma_eval.routing.judged import judge
    from crma_eval.routing.sets.held_out import load_sets
    from crma_router.classifier.artifact import load_model
    from crma_router.router import Router

    folder = router_folder(context.args)
    router = Router.load(folder, kept(load_model(folder).embedder))
    sets = load_sets(context.args.data)
    asked = {label for one in sets if one.inside for label in one.labels}
    check_domains(asked, router.domains, str(context.args.data))
    return routing_result(judge(router, sets), "Routing: how well, and whether it knows what is not its own")
