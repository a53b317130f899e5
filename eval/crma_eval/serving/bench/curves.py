"""How cost grows with adapters in the store or in a batch, rank and prompt length, beside the first point."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from crma_adapters.errors import ConfigError
from crma_eval.plots import log_curve
from crma_eval.report import Image, Report, Section
from crma_eval.serving.bench.report import Cells, cells_of
from crma_eval.serving.bench.servers import COMPILE, Spec
from crma_eval.serving.bench.session import Job, Outcome
from crma_eval.serving.bench.stores import add_copies, add_of_rank, live_lora
from crma_eval.serving.bench.systems import (
    BASE,
    Plan,
    Subject,
    copy_names,
    deal,
    in_turns,
    lora_flags,
    max_rank,
    rotate,
)
from crma_eval.serving.bench.turns import Found, Turn

FLAT = 1.10
IN_STORE = (1, 10, 100, 1000)
IN_BATCH = (1, 2, 5, 8, 16, 32)
RANKS = (4, 8, 16, 32, 64)
PROMPTS = (32, 128, 512, 1024, 2048, 4096)
LONGEST = 4096 + 256  # the chat template and the answer too
MIXED, BARE = "mixed", "vllm"


@dataclass(frozen=True)
class Curve:
    """`cost`: which figure of a turn it shows, in ms. `bare`: of vLLM alone, to compare with."""

    key: str
    title: str
    axis: str
    points: tuple[int, ...]
    cost: str
    bare: bool = False


TOKEN, FIRST = "ms per output token", "TTFT, ms"
CURVES = (
    Curve("store", "Adapters in the store", "adapters in the store", IN_STORE, TOKEN),
    Curve("batch", "Adapters in a batch", "adapters in a batch of 32 requests", IN_BATCH, TOKEN),
    Curve("rank", "Rank", "rank", RANKS, TOKEN),
    Curve("prompt", "Prompt length", "prompt tokens", PROMPTS, FIRST),
    Curve("prompt-bare", "Prompt length, vLLM alone", "prompt tokens", PROMPTS, FIRST, bare=True),
)


def point_key(curve: str, point: int) -> str:
    """The name of a point among systems."""
    return f"{curve}-{point}"


def rank_name(rank: int) -> str:
    """The adapter of that rank."""
    return f"rank-{rank:03d}"


def curves_jobs(plan: Plan, questions: Sequence[str], subject: Subject, work: Path) -> tuple[Job, ...]:
    """Every point of every curve in each repeat; two jobs, one after the other, since all of their servers
    would take too much memory at a time. Each has half of the time."""
    every = [list(_repeat(plan, questions, repeat)) for repeat in range(plan.repeats)]
    specs = _specs(subject, work)
    groups = ({name for name in specs if name.startswith("store-")}, {MIXED, BARE})
    return tuple(_job(group, every, specs, questions, plan.minutes / len(groups)) for group in groups)


def _job(
    group: set[str], every: list[list[Turn]], specs: dict[str, Spec], questions: Sequence[str], minutes: float
) -> Job:
    turns = [[turn for turn in row if turn.server in group] for row in every]
    warm_ups = {
        turn.server: Turn(-1, turn.system, turn.server, 8, 4, rotate(turn.models, 8), deal(questions, 0, 8))
        for turn in turns[0]
    }
    return Job(
        specs={name: spec for name, spec in specs.items() if name in group},
        repeats=tuple(in_turns(row, repeat) for repeat, row in enumerate(turns)),
        warm_ups=tuple(warm_ups.values()),
        minutes=minutes,
    )


def _repeat(plan: Plan, questions: Sequence[str], repeat: int) -> Iterator[Turn]:
    tokens = plan.output_tokens
    some, many = deal(questions, 24 * repeat, 24), deal(questions, 64 * repeat, 64)
    for count in IN_STORE:
        models = rotate(copy_names(1), 24)
        yield Turn(repeat, point_key("store", count), f"store-{count}", 8, tokens, models, some)
    for count in IN_BATCH:
        models = rotate(copy_names(count), 64)
        yield Turn(repeat, point_key("batch", count), MIXED, 32, tokens, models, many)
    for rank in RANKS:
        models = rotate((rank_name(rank),), 24)
        yield Turn(repeat, point_key("rank", rank), MIXED, 8, tokens, models, some)
    for length in PROMPTS:
        for curve, server, name in (("prompt", MIXED, copy_names(1)[0]), ("prompt-bare", BARE, BASE)):
            yield Turn(repeat, point_key(curve, length), server, 1, 4, rotate((name,), 3), length)


def _specs(subject: Subject, work: Path) -> dict[str, Spec]:
    source = live_lora(subject.store, subject.domain)
    specs = {}
    for count in IN_STORE:
        store = work / f"store-{count}"
        add_copies([source], copy_names(count), store)
        flags = (*subject.flags, *lora_flags(max_rank(subject)))
        specs[f"store-{count}"] = Spec(f"store-{count}", flags, store=store)
    store = work / MIXED
    add_copies([source], copy_names(max(IN_BATCH)), store)
    for rank in RANKS:
        add_of_rank(source, rank, store / rank_name(rank))
    long = ("--max-model-len", str(LONGEST))
    slots = lora_flags(max(RANKS), max(IN_BATCH))
    specs[MIXED] = Spec(MIXED, (*subject.flags, *slots, *long, COMPILE), store=store)
    specs[BARE] = Spec(BARE, (*subject.flags, *long), stock=True)
    return specs


@dataclass(frozen=True)
class Point:
    """`cost_ms`: median over repeats. `relative`: to the first point of the curve in the same repeat."""

    x: int
    cost_ms: float
    relative: tuple[float, ...]
    peak_bytes: int

    @property
    def growth(self) -> float:
        return statistics.median(self.relative)


def points_of(curve: Curve, cells: Cells) -> tuple[Point, ...]:
    """Of the repeats that have the curve's first point; points nobody measured are left out."""
    made = []
    by = {(repeat, system): found for (repeat, system, _), found in cells.items()}
    for x in curve.points:
        pairs = [
            (found, by[repeat, first])
            for (repeat, system), found in sorted(by.items(), key=lambda item: item[0])
            if system == point_key(curve.key, x)
            and (repeat, first := point_key(curve.key, curve.points[0])) in by
        ]
        if pairs:
            costs = [_cost_ms(curve, found) for found, _ in pairs]
            relative = [cost / _cost_ms(curve, one) for cost, (_, one) in zip(costs, pairs, strict=True)]
            peak = max(found.peak_bytes for found, _ in pairs)
            made.append(Point(x, statistics.median(costs), tuple(relative), peak))
    return tuple(made)


def _cost_ms(curve: Curve, found: Found) -> float:
    return 1000 * found.ttft(50) if curve.cost == FIRST else 1000 / found.tokens_per_s


def in_words(points: Sequence[Point]) -> str:
    """What the curve does."""
    steep = next((place for place, point in enumerate(points) if point.growth > FLAT), None)
    if steep is None:
        return f"Flat: nowhere over 10 % above the first point, up to {points[-1].x:,}."
    last = points[-1]
    return (
        f"Within 10 % of the first point up to {points[max(steep - 1, 0)].x:,}, {last.growth:.2f} times it "
        f"at {last.x:,}."
    )


def curves_report(model: str, outcome: Outcome) -> Report:
    """Every curve that has a point. Raises `ConfigError` if none has."""
    cells = cells_of(outcome.found)
    measured = [(curve, points) for curve in CURVES if (points := points_of(curve, cells))]
    if not measured:
        raise ConfigError("no curve has a point; expected a repeat at least, give more --minutes")
    ready_s = {server.name: server.ready_s for server in outcome.servers}
    return Report(
        name="bench-curves",
        title=f"How the cost of serving grows: {model}",
        header=("what is varied", "what cost does"),
        rows=tuple((curve.title, in_words(points)) for curve, points in measured),
        figures={
            "ready_s": ready_s,
            "curves": {
                curve.key: [asdict(point) | {"growth": point.growth} for point in points]
                for curve, points in measured
            },
        },
        remarks=(
            "Medians over repeats; relative cost is to the curve's first point in the same repeat, "
            "the points of all curves taking turns. Store and rank: 8 requests at a time; "
            "batch: 32; prompt: 1. The adapters of the rank curve are random, on the modules of a real one.",
        ),
        sections=tuple(_section(curve, points, ready_s) for curve, points in measured),
    )


def _section(curve: Curve, points: Sequence[Point], ready_s: dict[str, float]) -> Section:
    started = curve.key == "store" and bool(ready_s)
    rows = []
    for point in points:
        low, high = min(point.relative), max(point.relative)
        row = [f"{point.x:,}", f"{point.cost_ms:.1f}", f"{point.growth:.3f} ({low:.3f} to {high:.3f})",
               f"{point.peak_bytes / 2**20:,.0f}"]  # fmt: skip
        if started:
            row.append(f"{ready_s[name]:.0f}" if (name := f"store-{point.x}") in ready_s else "-")
        rows.append(tuple(row))
    header = (curve.axis, curve.cost, "relative: median (extremes)", "peak memory, MiB")
    caption = f"{curve.title}: {curve.cost} over {curve.axis}, both axes logarithmic"
    relative = {point.x: point.relative for point in points}
    image = Image(
        f"bench-{curve.key}.png",
        caption,
        lambda path: log_curve(relative, curve.axis, f"{curve.cost}, relative", path),
    )
    return Section(
        curve.title,
        (*header, *(["start to ready, s"] if started else [])),
        tuple(rows),
        (f"{in_words(points)} Repeats: {len(points[0].relative)}.",),
        (image,),
    )
