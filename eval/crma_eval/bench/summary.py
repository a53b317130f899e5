"""The benchmark's report: goals, figures by system and load, ratios, what a cold adapter costs.

Owns: tables and sentences. Knows nothing of processes.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crma_eval.bench.plan import RESIDENT, SLOTS, Plan, loads_text
from crma_eval.bench.plots import plots_section
from crma_eval.bench.ratios import Cells, Verdict, cells_of, concurrencies, paired, verdicts
from crma_eval.bench.systems import System
from crma_eval.bench.turn import Found, percentile
from crma_eval.report import Report, Section

KERNELS = {
    "vllm": "none: LoRA is off, no plugin",
    "vllm-eager": "none: LoRA is off, no plugin",
    "vllm-stock": "vLLM's own, no plugin",
    "vllm-lora": "this project's plugin",
    "crma": "this project's plugin",
    "crma-many": "this project's plugin",
}
COMPARED = (
    ("a-eager", "a"), ("b", "a"), ("c", "a"), ("c-stock", "c"), ("d", "c"), ("e", "c"), ("e", "d"),
    ("f", "a"), ("f", "d"), ("g", "a"), ("g", "d"), ("h", "f"),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What was run and found. `ready_s` by server, of those started this time."""

    plan: Plan
    systems: tuple[System, ...]
    subject: str
    found: tuple[Found, ...]
    ready_s: Mapping[str, float]


@dataclass(frozen=True)
class Line:
    """One system under one load, over all repeats. Times in ms."""

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
    """Throughput is over all repeats together, percentiles over all of their requests."""
    ttft = [value for turn in turns for value in turn.ttft_s]
    itl = [value for turn in turns for row in turn.itl_s for value in row]
    tokens = sum(turn.output_tokens for turn in turns)
    return Line(
        turns[0].system,
        turns[0].concurrency,
        len(ttft),
        tokens / sum(turn.duration_s for turn in turns),
        *(1000 * percentile(values, p) for values in (ttft, itl) for p in (50, 99)),
        1000 * sum(turn.cpu_s for turn in turns) / tokens,
        max(turn.peak_bytes for turn in turns) / 2**20,
    )


def lines_of(run: Run) -> list[Line]:
    """Every system at every concurrency measured, systems in the order given."""
    cells = cells_of(run.found)
    return [
        line_of(turns)
        for at in concurrencies(cells)
        for system in run.systems
        if (turns := [f for f in run.found if (f.system, f.concurrency) == (system.key, at)])
    ]


def bench_report(run: Run) -> Report:
    """Goals first."""
    cells = cells_of(run.found)
    judged = verdicts(cells)
    lines = lines_of(run)
    sections = (
        _systems_section(run),
        *(_lines_section(lines, at) for at in concurrencies(cells)),
        _ratios_section(cells),
        *([cold] if (cold := _cold_section(run)) else []),
        plots_section(lines, {system.key: system.title for system in run.systems}, judged),
    )
    return Report(
        name="bench",
        title=f"crma-serve beside bare vLLM: {run.subject}",
        header=("goal", "at a time", "ratio: median (extremes)", "is to be", "verdict"),
        rows=tuple(_goal_row(verdict) for verdict in judged),
        figures=_figures(run, lines, judged, cells),
        remarks=_remarks(run, judged),
        sections=sections,
    )


def _goal_row(verdict: Verdict) -> tuple[str, ...]:
    goal = verdict.goal
    said = ("met" if verdict.met else "missed") + ("" if verdict.certain else " (repeats differ)")
    return (
        f"{goal.figure}, {goal.system} / {goal.against}",
        str(verdict.concurrency),
        verdict.ratio.text(),
        goal.text(),
        said,
    )


def _remarks(run: Run, judged: Sequence[Verdict]) -> tuple[str, ...]:
    repeats = len({found.repeat for found in run.found})
    missed = sum(not verdict.met for verdict in judged)
    short = (
        f" {run.plan.repeats} were asked for; the limit of {run.plan.minutes:g} minutes came first."
        if repeats < run.plan.repeats
        else ""
    )
    return (
        f"{len(judged) - missed} of {len(judged)} goals met, {missed} missed, each judged by the median of "
        f'{repeats} repeats at its concurrency.{short} "Repeats differ": some lie on the other side.',
        "Every ratio is of two turns of one repeat, on the same questions in the same order, "
        f"{run.plan.output_tokens} output tokens each (temperature 0, end of sequence ignored). All servers "
        "run at once and wait; one has a turn at a time, forwards through the list in one repeat and "
        "backwards in the next. The prefix cache is off everywhere, so no turn gains from another's prompts. "
        "The traffic is made by vLLM's own benchmark client over the chat API.",
        "TTFT: time to first token. ITL: time between tokens. In (h), a goal's p99 is of the requests whose "
        "adapter was in memory; the tables show all.",
    )


def _systems_section(run: Run) -> Section:
    rows = tuple(
        (system.key, system.title, KERNELS[system.server], _seconds(run.ready_s.get(system.server)))
        for system in run.systems
    )
    return Section("The systems", ("", "system", "LoRA kernel", "start to ready, s"), rows, (
        "On a CPU vLLM compiles the model only where LoRA is off: (a) is compiled, (a-eager) is the same "
        "without, and every system with LoRA on runs uncompiled, whichever kernel it has. A GPU's kernel is "
        "vLLM's own in all of them.",
        "(b) and (c) are one server, and so are (d) to (g). (c) and (d) serve the same bundle, LoRA and CRMA "
        "in one; (c-stock) serves that LoRA alone, since stock vLLM has no module for the CRMA.",
    ))  # fmt: skip


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


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
    plural = "" if at == 1 else "s"
    return Section(f"{at} request{plural} at a time", header, rows)


def _ratios_section(cells: Cells) -> Section:
    rows = []
    for system, against in COMPARED:
        for at in concurrencies(cells):
            found = [
                paired(cells, system, against, at, figure) for figure in ("tokens/s", "tokens per CPU s")
            ]
            if found[0] is not None:
                texts = [ratio.text() if ratio else "-" for ratio in found]
                rows.append((f"{system} / {against}", str(at), *texts))
    return Section("Ratios", ("", "at a time", "tokens/s", "tokens per CPU s"), tuple(rows), (
        "Median over repeats and the extremes. CPU time is of all the server's processes; it does not see "
        "waiting, and other work on the machine disturbs it less.",
    ))  # fmt: skip


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
    followed = [turn for turn in found if turn.resident is not None]
    made = []
    for at in sorted({turn.concurrency for turn in followed}):
        by: dict[bool, list[float]] = {True: [], False: []}
        for turn in followed:
            if turn.concurrency == at:
                for known, ttft in zip(turn.resident or (), turn.ttft_s, strict=True):
                    by[known].append(1000 * ttft)
        made.append(
            Cold(at, len(by[True]), len(by[False]), percentile(by[True], 50), percentile(by[False], 50))
        )
    return made


def _cold_section(run: Run) -> Section | None:
    colds = cold_of(run.found)
    if not colds:
        return None
    rows = tuple(
        (str(c.concurrency), str(c.resident), str(c.cold), _ms(c.resident_ms), _ms(c.cold_ms),
         _ms(c.cold_ms - c.resident_ms))
        for c in colds
    )  # fmt: skip
    header = ("at a time", "resident", "cold", "TTFT resident, ms", "TTFT cold, ms", "a cold one costs, ms")
    return Section("Cold adapters", header, rows, (
        f"(h) keeps {RESIDENT} of {run.plan.copies:,} adapters in memory and {SLOTS} in slots. Which are in "
        "memory follows from the order of requests (least recently used go). Medians. An adapter in memory "
        "may still wait for a slot: with more than the slots' number of different adapters at a time, "
        "requests queue, resident or not. The files of cold ones are in the page cache of the machine.",
    ))  # fmt: skip


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"


def _figures(run: Run, lines: Sequence[Line], judged: Sequence[Verdict], cells: Cells) -> dict[str, Any]:
    return {
        "plan": dataclasses.asdict(run.plan) | {"loads": loads_text(run.plan.loads)},
        "systems": {system.key: system.title for system in run.systems},
        "ready_s": dict(run.ready_s),
        "lines": [dataclasses.asdict(line) for line in lines],
        "goals": [
            dataclasses.asdict(verdict.goal)
            | {"concurrency": verdict.concurrency, "ratios": verdict.ratio.values, "met": verdict.met}
            for verdict in judged
        ],
        "ratios": [
            {
                "system": system,
                "against": against,
                "concurrency": at,
                "figure": figure,
                "values": ratio.values,
            }
            for system, against in COMPARED
            for at in concurrencies(cells)
            for figure in ("tokens/s", "tokens per CPU s", "TTFT p99", "ITL p99")
            if (ratio := paired(cells, system, against, at, figure)) is not None
        ],
        "cold": [dataclasses.asdict(cold) for cold in cold_of(run.found)],
    }
