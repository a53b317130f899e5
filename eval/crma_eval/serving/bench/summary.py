"""The benchmark's report: goals, figures by system and load, ratios, what a cold adapter costs."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crma_eval.report import Report, Section
from crma_eval.serving.bench.figures import Line, cold_of, line_of
from crma_eval.serving.bench.plan import RESIDENT, SLOTS, Plan, loads_text
from crma_eval.serving.bench.plots import plots_section
from crma_eval.serving.bench.ratios import Cells, Verdict, cells_of, concurrencies, paired, verdicts
from crma_eval.serving.bench.session import Outcome
from crma_eval.serving.bench.systems import System
from crma_eval.serving.bench.turn import Found

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
    """What was run, and what was found."""

    plan: Plan
    systems: tuple[System, ...]
    subject: str
    outcome: Outcome

    @property
    def found(self) -> tuple[Found, ...]:
        return self.outcome.found


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
    started = (
        "The servers are started anew for each repeat, run at once and wait"
        if run.plan.fresh
        else "All servers run at once and wait"
    )
    return (
        f"{len(judged) - missed} of {len(judged)} goals met, {missed} missed, each judged by the median of "
        f'{repeats} repeats at its concurrency.{short} "Repeats differ": some lie on the other side.',
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
        (system.key, system.title, KERNELS[system.server], _start(run.outcome, system.server))
        for system in run.systems
    )
    return Section("The systems", ("", "system", "LoRA kernel", "start to ready, s (CPU s)"), rows, (
        "On a CPU vLLM compiles the model only where LoRA is off, so (c-stock) runs uncompiled, (a-eager) "
        "for comparison. All others are compiled, crma-serve by its flag --compile, vLLM with this project's "
        "plugin by CRMA_CPU_COMPILE=1. A GPU's kernel is vLLM's own in all of them.",
        f"Waiting, the servers took {run.outcome.idle_cpu:.3f} CPU seconds per second together"
        + (", at most." if run.plan.fresh else "."),
        "(b) and (c) are one server, and so are (d) to (g). (c) and (d) serve the same bundle, LoRA and CRMA "
        "in one; (c-stock) serves that LoRA alone, since stock vLLM has no module for the CRMA.",
    ))  # fmt: skip


def _start(outcome: Outcome, name: str) -> str:
    own = [each for each in outcome.servers if each.name == name]
    if not own:
        return "-"
    ready, cpu = _range([each.ready_s for each in own]), _range([each.ready_cpu_s for each in own])
    return f"{ready} ({cpu})"


def _range(values: Sequence[float]) -> str:
    """`59`, or `59 to 75` where they differ."""
    ends = [f"{value:.0f}" for value in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


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
        "Median over repeats and the extremes. CPU time is of all the server's processes. Other work on the "
        "machine disturbs it less; but vLLM's processes wait for each other without sleeping, so some of it "
        "is waiting.",
    ))  # fmt: skip


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
        "starts": [
            {"server": each.name, "ready_s": each.ready_s, "ready_cpu_s": each.ready_cpu_s}
            for each in run.outcome.servers
        ],
        "idle_cpu": run.outcome.idle_cpu,
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
