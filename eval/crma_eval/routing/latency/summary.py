"""The report of `crma-eval router-latency`: tables, ratios, and the goal."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from crma_eval.report import Report, Section
from crma_eval.routing.latency.table import COLD, AskedSet, Measured
from crma_eval.routing.latency.timing import Quantiles
from crma_eval.routing.latency.under_load import IDLE_S, Compared, ratio

GOAL_P50_MS, GOAL_P99_MS = 5.0, 15.0


@dataclasses.dataclass(frozen=True)
class Setting:
    """What was measured where: the router's version and embedder, cores this process may use, and the load
    average before and after, which is 0 on a quiet machine before."""

    router: str
    embedder: str
    cores: int
    load_before: float
    load_after: float


def within_goal(found: Sequence[Measured]) -> bool:
    """Whether a lone caller's texts that were never seen meet both bounds at every length."""
    return all(
        one.timing.waited.p50 <= GOAL_P50_MS and one.timing.waited.p99 <= GOAL_P99_MS
        for one in _judged(found)
    )


def latency_report(
    setting: Setting, found: Sequence[Measured], compared: Compared | None, sets: Sequence[AskedSet] = ()
) -> Report:
    """The tables; `compared` is None when no server was asked, `sets` empty without a dataset."""
    sections = [_sets_section(sets)] if sets else []
    if compared:
        sections += [_side_section(compared), _service_section(compared)]
    return Report(
        name="router-latency",
        title="How long the router takes for a decision",
        header=("tokens", "asked before", "callers", *_waits("waited"), "CPU p50", "CPU p99", "decisions"),
        rows=tuple(_row(one) for one in found),
        figures=_figures(setting, found, compared, sets),
        remarks=_remarks(setting, found),
        sections=tuple(sections),
    )


def _judged(found: Sequence[Measured]) -> list[Measured]:
    return [one for one in found if one.cell.memory == COLD and one.cell.callers == 1]


def _figures(
    setting: Setting, found: Sequence[Measured], compared: Compared | None, sets: Sequence[AskedSet]
) -> dict[str, Any]:
    return {
        "setting": dataclasses.asdict(setting),
        "goal_ms": {"p50": GOAL_P50_MS, "p99": GOAL_P99_MS},
        "within_goal": within_goal(found),
        "alone": [dataclasses.asdict(one.cell) | dataclasses.asdict(one.timing) for one in found],
        "asked": [dataclasses.asdict(one) for one in sets],
        "under_load": dataclasses.asdict(compared) if compared else None,
    }


def _row(one: Measured) -> tuple[str, ...]:
    cell, timing = one.cell, one.timing
    asked = "no" if cell.memory == COLD else "yes"
    cpu = (_ms(timing.cpu.p50), _ms(timing.cpu.p99))
    return (str(cell.tokens), asked, str(cell.callers), *_three(timing.waited), *cpu, str(timing.decisions))


def _remarks(setting: Setting, found: Sequence[Measured]) -> tuple[str, ...]:
    worst = {
        name: max(getattr(getattr(one.timing, what), name) for one in _judged(found))
        for what, name in (("waited", "p50"), ("waited", "p99"))
    }
    cpu = max(one.timing.cpu.p50 for one in _judged(found))
    verdict = "met" if within_goal(found) else "missed"
    return (
        "Milliseconds, tokenization included. Waited: from asking the queue to the decision. CPU: of the "
        "router's thread, which other processes do not lengthen by making it wait. The texts of this table "
        "are embedded whole, also where their words alone would decide.",
        f"Router {setting.router}, embedder {setting.embedder}; {setting.cores} cores for this process; load "
        f"average {setting.load_before:.1f} before, {setting.load_after:.1f} after.",
        f"Goal: p50 at most {GOAL_P50_MS:g} ms and p99 at most {GOAL_P99_MS:g} ms for one caller's new text "
        f"of any of these lengths: {verdict} (slowest p50 {worst['p50']:.2f}, p99 {worst['p99']:.2f}; CPU "
        f"p50 {cpu:.2f}).",
    )


def _sets_section(sets: Sequence[AskedSet]) -> Section:
    rows = tuple(
        (one.name, f"{one.by_words:.0%}", *_three(one.timing.waited), str(one.timing.decisions))
        for one in sets
    )
    return Section(
        "Questions as people ask them",
        ("set", "asked before", *_waits("waited"), "decisions"),
        rows,
        ("Of the dataset's evaluation part, none asked before, one caller.",),
    )


def _side_section(compared: Compared) -> Section:
    rows = tuple(
        (str(one.tokens), *_against(one.rest.waited, one.loaded.waited), f"{_cpu_ratio(one):.2f}")
        for one in compared.side
    )
    return Section(
        "A process beside the server",
        ("tokens", *_waits("rest"), *_waits("load"), "p50 ratio", "p99 ratio", "CPU ratio"),
        rows,
        (
            f"New texts, embedded whole, one caller, {compared.decisions} decisions a row. At rest: the "
            f"engine has had no request for {IDLE_S:g} s; its processes poll for 1 s after each message. "
            f"{compared.streams} streams "
            f"decoded {compared.tokens_per_s:.0f} tokens/s meanwhile. Ratios: under load against at rest.",
        ),
    )


def _cpu_ratio(one: Any) -> float:
    return ratio(one.loaded.cpu.p50, one.rest.cpu.p50)


def _service_section(compared: Compared) -> Section:
    rows = tuple((str(one.tokens), *_against(one.rest, one.loaded)) for one in compared.service)
    return Section(
        "Inside the server",
        ("tokens", *_waits("rest"), *_waits("load"), "p50 ratio", "p99 ratio"),
        rows,
        (
            "`crma_router_seconds` of the server's own metrics, quantiles interpolated within its buckets: "
            f"conversation and queue included. At rest, {IDLE_S:g} s lie between two requests.",
        ),
    )


def _against(rest: Quantiles, loaded: Quantiles) -> tuple[str, ...]:
    ratios = (ratio(loaded.p50, rest.p50), ratio(loaded.p99, rest.p99))
    return (*_three(rest), *_three(loaded), *(f"{value:.2f}" for value in ratios))


def _waits(what: str) -> tuple[str, ...]:
    return tuple(f"{what} {name}" for name in ("p50", "p90", "p99"))


def _three(values: Quantiles) -> tuple[str, ...]:
    return _ms(values.p50), _ms(values.p90), _ms(values.p99)


def _ms(value: float) -> str:
    return f"{value:.2f}"
