"""The benchmark's report: goals, figures by system and load, paired ratios, what a cold adapter costs."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crma_eval.plots import bars, ranges
from crma_eval.report import Goal, Image, Report, Section
from crma_eval.serving.bench.session import Outcome
from crma_eval.serving.bench.systems import RESIDENT, SLOTS, Plan, System, loads_text
from crma_eval.serving.bench.turns import Found
from crma_eval.stats import percentile

Cells = Mapping[tuple[int, str, int], Found]
# Of requests whose adapter was in memory, where that is known.
FIGURES: dict[str, Callable[[Found], float]] = {
    "tokens/s": lambda found: found.tokens_per_s,
    "tokens per CPU s": lambda found: found.tokens_per_cpu_s,
    "TTFT p99": lambda found: found.ttft(99, resident=None if found.resident is None else True),
    "ITL p99": lambda found: found.itl(99, resident=None if found.resident is None else True),
}
COMPARED = (
    ("a-eager", "a"), ("b", "a"), ("c", "a"), ("c-stock", "c"), ("d", "c"), ("e", "c"), ("e", "d"),
    ("f", "a"), ("f", "d"), ("g", "a"), ("g", "d"), ("h", "f"),
)  # fmt: skip


@dataclass(frozen=True)
class Bound:
    """The ratio of `figure`, `system` over `against`, is to be at least (or at most) `bound`."""

    system: str
    against: str
    figure: str
    bound: float
    at_least: bool = True

    def met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def text(self) -> str:
        """For a table."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


BOUNDS = (
    Bound("b", "a", "tokens/s", 0.98),
    Bound("d", "c", "tokens/s", 0.99),
    Bound("e", "c", "tokens/s", 0.97),
    Bound("f", "a", "tokens/s", 0.85),
    Bound("g", "a", "tokens/s", 0.85),
    Bound("h", "f", "TTFT p99", 1.2, at_least=False),
    Bound("h", "f", "ITL p99", 1.2, at_least=False),
)


@dataclass(frozen=True)
class Verdict:
    """What became of a bound at one concurrency. `ratios`: in order of repeats, each of two turns of one
    repeat. `certain`: every repeat is on the same side of the bound.
    """

    bound: Bound
    concurrency: int
    ratios: tuple[float, ...]

    @property
    def met(self) -> bool:
        return self.bound.met(statistics.median(self.ratios))

    @property
    def certain(self) -> bool:
        return len({self.bound.met(value) for value in self.ratios}) == 1

    @property
    def name(self) -> str:
        return f"{self.bound.figure}, {self.bound.system} / {self.bound.against}"

    @property
    def goal(self) -> Goal:
        bound = f"{'at least' if self.bound.at_least else 'at most'} {self.bound.bound:g}"
        what = f"{self.name}, {self.concurrency} at once"
        return Goal(what, bound, f"{statistics.median(self.ratios):.3f}", self.met)


@dataclass(frozen=True)
class Run:
    """What was run, and what was found."""

    plan: Plan
    systems: tuple[System, ...]
    subject: str
    outcome: Outcome

    @property
    def cells(self) -> Cells:
        return cells_of(self.outcome.found)


def cells_of(found: Sequence[Found]) -> Cells:
    """By repeat, system and concurrency."""
    return {(each.repeat, each.system, each.concurrency): each for each in found}


def concurrencies(cells: Cells) -> list[int]:
    """Those measured, rising."""
    return sorted({at for _, _, at in cells})


def paired(cells: Cells, system: str, against: str, concurrency: int, figure: str) -> tuple[float, ...]:
    """`system` over `against`, a ratio for each repeat that has both, with a number."""
    values = []
    for repeat, key, at in cells:
        other = cells.get((repeat, against, concurrency))
        if (key, at) == (system, concurrency) and other is not None:
            ratio = FIGURES[figure](cells[repeat, key, at]) / FIGURES[figure](other)
            if math.isfinite(ratio):
                values.append(ratio)
    return tuple(values)


def spread(values: Sequence[float]) -> str:
    """Median and extremes, for a table."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else "-"


def verdicts(cells: Cells) -> list[Verdict]:
    """Every bound at every concurrency at which both of its systems were measured."""
    return [
        Verdict(bound, at, ratios)
        for bound in BOUNDS
        for at in concurrencies(cells)
        if (ratios := paired(cells, bound.system, bound.against, at, bound.figure))
    ]


@dataclass(frozen=True)
class Line:
    """One system under one load, over all repeats. Times in ms; throughput is over all repeats together,
    percentiles over all of their requests."""

    system: str
    concurrency: int
    requests: int
    tokens_per_s: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    cpu_ms_per_token: float
    peak_mib: float


def line_of(turns: Sequence[Found]) -> Line:
    """Of turns of one system under one load."""
    ttft = [value for turn in turns for value in turn.ttft_s]
    itl = [value for turn in turns for row in turn.itl_s for value in row]
    tokens = sum(turn.output_tokens for turn in turns)
    return Line(
        turns[0].system,
        turns[0].concurrency,
        len(ttft),
        tokens / sum(turn.duration_s for turn in turns),
        1000 * percentile(ttft, 50),
        1000 * percentile(ttft, 99),
        1000 * percentile(itl, 50),
        1000 * percentile(itl, 99),
        1000 * sum(turn.cpu_s for turn in turns) / tokens,
        max(turn.peak_bytes for turn in turns) / 2**20,
    )


def lines_of(run: Run) -> list[Line]:
    """Every system at every concurrency measured, systems in the order given."""
    return [
        line_of(turns)
        for at in concurrencies(run.cells)
        for system in run.systems
        if (turns := [f for f in run.outcome.found if (f.system, f.concurrency) == (system.key, at)])
    ]


@dataclass(frozen=True)
class Cold:
    """What a request waits whose adapter is not in memory, against those whose is. Median TTFT in ms."""

    concurrency: int
    resident: int
    cold: int
    resident_ms: float
    cold_ms: float


def cold_of(found: Sequence[Found]) -> list[Cold]:
    """By concurrency, from the turns in which residency was followed."""
    by: dict[int, tuple[list[float], list[float]]] = {}
    for turn in sorted(found, key=lambda turn: turn.concurrency):
        for known, ttft in zip(turn.resident or (), turn.ttft_s, strict=turn.resident is not None):
            by.setdefault(turn.concurrency, ([], []))[not known].append(1000 * ttft)
    return [
        Cold(at, len(there), len(cold), percentile(there, 50), percentile(cold, 50))
        for at, (there, cold) in by.items()
    ]


def bench_report(run: Run) -> Report:
    """Goals first."""
    cells, lines = run.cells, lines_of(run)
    judged = verdicts(cells)
    return Report(
        name="bench",
        title=f"crma-serve beside bare vLLM: {run.subject}",
        header=("goal", "at a time", "ratio: median (extremes)", "is to be", "verdict"),
        rows=tuple(
            (each.name, str(each.concurrency), spread(each.ratios), each.bound.text(), _said(each))
            for each in judged
        ),
        figures=_figures(run, lines, judged),
        remarks=_remarks(run),
        sections=(
            _systems_section(run),
            *(_lines_section(lines, at) for at in concurrencies(cells)),
            _ratios_section(cells),
            *_cold_sections(run),
            _plots_section(lines, {system.key: system.title for system in run.systems}, judged),
        ),
    )


def _said(verdict: Verdict) -> str:
    return ("met" if verdict.met else "missed") + ("" if verdict.certain else " (repeats differ)")


def _remarks(run: Run) -> tuple[str, ...]:
    repeats = len({found.repeat for found in run.outcome.found})
    short = (
        f" {run.plan.repeats} repeats were asked for; the limit of {run.plan.minutes:g} minutes came first."
        if repeats < run.plan.repeats
        else ""
    )
    started = (
        "The servers are started anew for each repeat, run at once and wait"
        if run.plan.fresh
        else "All servers run at once and wait"
    )
    return (
        f"A goal is judged by the median of {repeats} repeats at its concurrency.{short} "
        '"Repeats differ": some lie on the other side.',
        "Every ratio is of two turns of one repeat, on the same questions in the same order, "
        f"{run.plan.output_tokens} output tokens each (temperature 0, end of sequence ignored). "
        f"{started}; one has a turn at a time, forwards through the list in one repeat and "
        "backwards in the next. The prefix cache is off everywhere, so no turn gains from another's prompts. "
        "The traffic is made by vLLM's own benchmark client over the chat API.",
        "TTFT: time to first token. ITL: time between tokens. In (h), a goal's p99 is of the requests whose "
        "adapter was in memory; the tables show all.",
    )


def _systems_section(run: Run) -> Section:
    rows = tuple(
        (system.key, system.title, system.kernel, _start(run.outcome, system.server))
        for system in run.systems
    )
    return Section("The systems", ("", "system", "LoRA kernel", "start to ready, s (CPU s)"), rows, (
        "On a CPU vLLM compiles the model only where LoRA is off, so (c-stock) runs uncompiled, (a-eager) "
        "for comparison. All others are compiled, crma-serve by its flag --compile, vLLM with this project's "
        "plugin by CRMA_CPU_COMPILE=1. A GPU's kernel is vLLM's own in all of them.",
        "(b) and (c) are one server, and so are (d) to (g). (c) and (d) serve the same bundle, LoRA and CRMA "
        "in one; (c-stock) serves that LoRA alone, since stock vLLM has no module for the CRMA.",
    ))  # fmt: skip


def _start(outcome: Outcome, name: str) -> str:
    """`59 (70)`, or `59 to 75 (70 to 81)` where the starts differ."""
    own = [each for each in outcome.servers if each.name == name]
    if not own:
        return "-"
    ready, cpu = [each.ready_s for each in own], [each.ready_cpu_s for each in own]
    texts = [dict.fromkeys(f"{value:.0f}" for value in (min(row), max(row))) for row in (ready, cpu)]
    return f"{' to '.join(texts[0])} ({' to '.join(texts[1])})"


def _lines_section(lines: Sequence[Line], at: int) -> Section:
    rows = tuple(
        (
            line.system,
            f"{line.tokens_per_s:.1f}",
            f"{line.ttft_p50_ms:.0f} / {line.ttft_p99_ms:.0f}",
            f"{line.itl_p50_ms:.1f} / {line.itl_p99_ms:.1f}",
            f"{line.cpu_ms_per_token:.1f}",
            f"{line.peak_mib:,.0f}",
            str(line.requests),
        )
        for line in lines
        if line.concurrency == at
    )
    header = ("", "output tokens/s", "TTFT p50 / p99, ms", "ITL p50 / p99, ms", "CPU ms per token",
              "peak memory, MiB", "requests")  # fmt: skip
    return Section(f"{at} request{'' if at == 1 else 's'} at a time", header, rows)


def _ratios_section(cells: Cells) -> Section:
    rows = tuple(
        (f"{system} / {against}", str(at), spread(ratios),
         spread(paired(cells, system, against, at, "tokens per CPU s")))
        for system, against in COMPARED
        for at in concurrencies(cells)
        if (ratios := paired(cells, system, against, at, "tokens/s"))
    )  # fmt: skip
    return Section("Ratios", ("", "at a time", "tokens/s", "tokens per CPU s"), rows, (
        "Median over repeats and the extremes. CPU time is of all the server's processes. Other work on the "
        "machine disturbs it less; but vLLM's processes wait for each other without sleeping, so some of it "
        "is waiting.",
    ))  # fmt: skip


def _cold_sections(run: Run) -> tuple[Section, ...]:
    colds = cold_of(run.outcome.found)
    rows = tuple(
        (
            *map(str, (c.concurrency, c.resident, c.cold)),
            *map(_ms, (c.resident_ms, c.cold_ms, c.cold_ms - c.resident_ms)),
        )
        for c in colds
    )
    header = ("at a time", "resident", "cold", "TTFT resident, ms", "TTFT cold, ms", "a cold one costs, ms")
    remark = (
        f"(h) keeps {RESIDENT} of {run.plan.copies:,} adapters in memory and {SLOTS} in slots. Which are in "
        "memory follows from the order of requests (least recently used go). Medians. An adapter in memory "
        "may still wait for a slot: with more than the slots' number of different adapters at a time, "
        "requests queue, resident or not. The files of cold ones are in the page cache of the machine."
    )
    return (Section("Cold adapters", header, rows, (remark,)),) if colds else ()


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"


def _plots_section(lines: Sequence[Line], titles: Mapping[str, str], judged: Sequence[Verdict]) -> Section:
    """To be drawn when the report is written."""

    def by_load(figure: str) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for line in lines:
            row = found.setdefault(f"{titles[line.system]} ({line.system})", {})
            row[f"{line.concurrency} at a time"] = getattr(line, figure)
        return found

    rows = [
        (f"{v.name} {v.bound.text()}, {v.concurrency} at a time", v.ratios, v.bound.bound, v.met)
        for v in judged
    ]
    images = [
        Image(
            "bench-throughput.png",
            "Output tokens per second by system, one bar per number of requests at a time",
            lambda path: bars(by_load("tokens_per_s"), "output tokens per second", path),
        ),
        Image(
            "bench-latency.png",
            "99th percentile of the time between tokens by system, one bar per number of requests at a time",
            lambda path: bars(by_load("itl_p99_ms"), "time between tokens, p99 (ms)", path),
        ),
        Image(
            "bench-goals.png",
            "Every goal's ratio: a dot at the median of the repeats, a line between their extremes, a tick "
            "at the goal",
            lambda path: ranges(rows, "ratio (dot: met, cross: missed; tick: the goal)", path),
        ),
    ]
    return Section("Plots", images=tuple(images if judged else images[:2]))


def _figures(run: Run, lines: Sequence[Line], judged: Sequence[Verdict]) -> dict[str, Any]:
    cells = run.cells
    return {
        "plan": asdict(run.plan) | {"loads": loads_text(run.plan.loads)},
        "systems": {system.key: system.title for system in run.systems},
        "starts": [
            {"server": each.name, "ready_s": each.ready_s, "ready_cpu_s": each.ready_cpu_s}
            for each in run.outcome.servers
        ],
        "lines": [asdict(line) for line in lines],
        "goals": [
            asdict(each.bound) | {"concurrency": each.concurrency, "ratios": each.ratios, "met": each.met}
            for each in judged
        ],
        "ratios": [
            {"system": system, "against": against, "concurrency": at, "figure": figure, "values": values}
            for system, against in COMPARED
            for at in concurrencies(cells)
            for figure in FIGURES
            if (values := paired(cells, system, against, at, figure))
        ],
        "cold": [asdict(cold) for cold in cold_of(run.outcome.found)],
    }
