"""The report of forward transfer, and whether a shared backbone earns its place by the rule."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from crma_eval.learning.bootstrap import BootstrapConfig, Interval
from crma_eval.learning.grid import grid_section
from crma_eval.learning.subdomains.transfer import (
    PHRASINGS,
    Outcomes,
    Plan,
    SizeResult,
    difference,
    figures_of,
)
from crma_eval.report import Report, Section

OURS = "modular"
MUST_BEAT = ("frozen-matched", "frozen-4x")
WARM = ("warm-previous", "warm-mean", "warm-nearest")
FORM, FREE = "shared-lora", "modular-free"
RULE = (
    "Set before the runs: the shared backbone earns its place if at every size its loss when learnt is below "
    "that of FROZEN-matched and of FROZEN at four times the steps (95 % interval without 0) and not above "
    "that of the best warm start (interval not wholly above 0), and if it gives something that a warm start "
    "does not; its form earns it against a shared LoRA, its doubly stochastic M against an unconstrained one."
)


def transfer_report(
    plan: Plan, results: Sequence[SizeResult], config: BootstrapConfig | None = None
) -> Report:
    """What each method learnt and kept at every size (a benchmark, a plan without fields, has one), and the
    verdict.
    """
    config = config or BootstrapConfig()
    domains = results[0].domains
    sentences = [sentence for result in results for sentence in verdicts(result, config)]
    sentences += _overall(earns_its_place(results, config))
    header = ("training rows", "method", "parameters", *_COLUMNS)
    rows = tuple(_row(result, each) for result in results for each in result.methods.values())
    sizes = ", ".join(str(result.rows) for result in results)
    kind = f"sub-domains of {len(plan.fields)} fields" if plan.fields else "tasks of a public benchmark"
    return Report(
        name="transfer" if plan.fields else "benchmark",
        title=f"Learning {len(domains)} {kind} one after another, {sizes} training rows each",
        header=header,
        rows=rows,
        figures={
            "fields": list(plan.fields),
            "seeds": list(plan.seeds),
            "orders": plan.orders,
            "config": plan.config.to_json(),
            "verdicts": sentences,
            "sizes": [figures_of(result) for result in results],
            "differences": [_differences(result, config) for result in results],
        },
        remarks=(_design(plan, domains), RULE, *sentences),
        sections=tuple(
            section for result in results for section in (_against(result, config), *_grid(result))
        ),
    )


_COLUMNS = (
    "right when learnt, %",
    "of those, right at the end",
    "right at the end, %",
    "loss before",
    "loss when learnt",
    "loss at the end",
)


def verdicts(result: SizeResult, config: BootstrapConfig) -> list[str]:
    """What the rule says at one size, whichever way it falls."""
    if OURS not in result.methods:
        return []
    ours, said = result.methods[OURS], []
    for name in (*MUST_BEAT, FORM, FREE):
        if name in result.methods:
            found = difference(ours, result.methods[name], "learnt_loss", config)
            word = "beats" if found.high < 0 else "is worse than" if found.low > 0 else "is not shown to beat"
            said.append(f"{result.rows} rows: MODULAR {word} {name} ({_nats(found)}).")
    warm = [result.methods[name] for name in WARM if name in result.methods]
    if warm:
        best = min(warm, key=lambda each: float(each.table("learnt_loss").mean()))
        found = difference(ours, best, "learnt_loss", config)
        word = "worse than" if found.low > 0 else "not worse than"
        said.append(
            f"{result.rows} rows: MODULAR is {word} the best warm start, {best.method} ({_nats(found)})."
        )
    return said


def _overall(earns: bool | None) -> list[str]:
    if earns is None:
        return []
    if not earns:
        return [
            "**By the rule, the shared backbone does not earn its place here as a start for new domains.**"
        ]
    return [
        "**By the rule's measured half, the shared backbone earns its place here.** What it gives beyond a "
        "warm start (a fallback without an adapter, refreshing, bytes a domain) is not measured by this "
        "protocol."
    ]


def _row(result: SizeResult, each: Outcomes) -> tuple[str, ...]:
    asked, learnt, retained, final = each.counts()
    losses = [f"{each.table(f'{stage}_loss').mean():.4f}" for stage in ("before", "learnt", "final")]
    return (
        str(result.rows),
        each.method,
        f"{each.parameters:,}",
        f"{100 * learnt / asked:.1f}",
        f"{retained}/{learnt}",
        f"{100 * final / asked:.1f}",
        *losses,
    )


def _against(result: SizeResult, config: BootstrapConfig) -> Section:
    """MODULAR less every other method, so that a lower loss is negative and more right is positive."""
    title = f"MODULAR less each method, {result.rows} training rows"
    if OURS not in result.methods:
        return Section(title, remarks=("MODULAR was not run.",))
    rows = []
    for name, other in result.methods.items():
        if name != OURS:
            found = [difference(result.methods[OURS], other, key, config) for key in _DIFFERENCES]
            rows.append(
                (name, *(_cell(each, scale) for each, scale in zip(found, (1, 100, 1, 100), strict=True)))
            )
    header = (
        "method",
        "loss when learnt",
        "right when learnt, points",
        "loss at the end",
        "right at the end, points",
    )
    remarks = (
        f"Difference [95 % interval]: {config.resamples:,} resamples of sub-domains, then of seeds and of "
        "orders, the same draw for both methods. Not corrected for the number of comparisons.",
    )
    return Section(title, header, tuple(rows), remarks)


_DIFFERENCES = ("learnt_loss", "learnt", "final_loss", "final")


def _differences(result: SizeResult, config: BootstrapConfig) -> dict[str, Any]:
    if OURS not in result.methods:
        return {}
    return {
        name: {key: vars(difference(result.methods[OURS], other, key, config)) for key in _DIFFERENCES}
        for name, other in result.methods.items()
        if name != OURS
    }


def _grid(result: SizeResult) -> list[Section]:
    if not result.tried:
        return []
    section = grid_section(result.tried, result.rows // PHRASINGS)
    return [
        Section(
            f"{section.title}, {result.rows} training rows", section.header, section.rows, section.remarks
        )
    ]


def _design(plan: Plan, domains: Sequence[str]) -> str:
    runs = (
        f"learnt in this order and in {plan.orders - 1} more drawn by number; "
        f"seeds {', '.join(map(str, plan.seeds))}"
    )
    if not plan.fields:
        return (
            f"Tasks: {', '.join(domains)}, {runs}. Every test row is scored by exact match, end of turn "
            "included, and by loss (nats per answer token). The task's own adapter answers where there is "
            "one; `joint` learns all tasks at once, so what it learnt is what it has at the end."
        )
    return (
        f"Sub-domains: {', '.join(domains)}, {runs}. A row is one of {PHRASINGS} phrasings of "
        "a fact; each fact is probed once in a phrasing never trained on, scored by exact match, end of turn "
        "included, and by loss (nats per answer token). The sub-domain's own adapter answers. Methods that "
        "learn a sub-domain the same whatever came before are run in one order."
    )


def _nats(found: Interval) -> str:
    low, high = found.low, found.high
    return f"loss when learnt {found.estimate:+z.4f} nats per token, 95 % {low:+z.4f} to {high:+z.4f}"


def _cell(found: Interval, scale: float) -> str:
    digits = 4 if scale == 1 else 1
    low, estimate, high = (
        f"{scale * value:+z.{digits}f}" for value in (found.low, found.estimate, found.high)
    )
    return f"{estimate} [{low}, {high}]"


def earns_its_place(results: Sequence[SizeResult], config: BootstrapConfig) -> bool | None:
    """The measured half of the rule, over all sizes; None where a method it names was not run."""
    wanted = {OURS, *MUST_BEAT, *WARM}
    if any(wanted - result.methods.keys() for result in results):
        return None
    for result in results:
        ours = result.methods[OURS]
        if any(difference(ours, result.methods[name], "learnt_loss", config).high >= 0 for name in MUST_BEAT):
            return False
        best = min(WARM, key=lambda name: float(np.mean(result.methods[name].table("learnt_loss"))))
        if difference(ours, result.methods[best], "learnt_loss", config).low > 0:
            return False
    return True
