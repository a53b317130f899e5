"""The report of retention over sub-domains."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from crma_eval.learning.subdomains.protocol import Probe, Retention
from crma_eval.learning.subdomains.split import Size, SubDomain
from crma_eval.report import Report, Section
from crma_eval.stats import Share, paired
from crma_training.config import TrainConfig

OURS, CONTROL = "modular", "naive"
_HEADER = ("method", "right before training", "right when learnt", "of those, retained", "right at the end")


def subdomains_report(
    field: str, parts: Sequence[SubDomain], size: Size, config: TrainConfig, found: Sequence[Retention]
) -> Report:
    """The table of methods, how each sub-domain fared, and every probe."""
    names = [part.name for part in parts]
    return Report(
        name="subdomains",
        title=f"Retention over {len(names) - 1} transitions inside one field: {field}, {config.model}",
        header=_HEADER,
        rows=tuple(_row(retention) for retention in found),
        figures={
            "field": field,
            "sub_domains": names,
            "model": config.model,
            "size": dataclasses.asdict(size),
            "seed": config.seed,
            "epochs": config.epochs,
            "methods": [_json(retention) for retention in found],
        },
        remarks=(_verdict(found), _design(names, size, config)),
        sections=(*(_course(retention, names) for retention in found), _every_probe(found)),
    )


def _row(found: Retention) -> tuple[str, ...]:
    asked = len(found.probes)
    before = sum(probe.before for probe in found.probes)
    retained = f"{found.retained}/{found.learnt}{_interval(found.retained, found.learnt)}"
    return found.method, f"{before}/{asked}", f"{found.learnt}/{asked}", retained, f"{found.final}/{asked}"


def _interval(right: int, asked: int) -> str:
    """Wilson's, in per cent."""
    if not asked:
        return ""
    low, high = Share(right, asked).interval
    return f" (95 %: {100 * low:.0f} to {100 * high:.0f} %)"


def _verdict(found: Sequence[Retention]) -> str:
    by_name = {retention.method: retention for retention in found}
    said = [
        f"{name.upper()} has {retention.retained} of the {retention.learnt} probes that it had right when "
        "learnt right after all transitions too"
        for name, retention in by_name.items()
    ]
    text = "; ".join(said) + "."
    if OURS in by_name and CONTROL in by_name:
        text += _compared(by_name[OURS], by_name[CONTROL])
    return text


def _compared(ours: Retention, control: Retention) -> str:
    test = paired([probe.final for probe in ours.probes], [probe.final for probe in control.probes])
    text = (
        f" Right at the end in {OURS.upper()} alone: {test.only_first}, in {CONTROL.upper()} alone: "
        f"{test.only_second} (McNemar's exact p = {test.p:.2g})."
    )
    if ours.learnt < control.learnt:
        text += (
            f" {OURS.upper()} learnt fewer in the first place ({ours.learnt} against {control.learnt}): "
            "retention counts what was learnt only, so it must be read beside what is right at the end."
        )
    return text


def _design(names: Sequence[str], size: Size, config: TrainConfig) -> str:
    return (
        f"Learnt in this order: {', '.join(names)}; each {size.facts} facts in {size.phrasings} phrasings, "
        f"{config.epochs} epochs, seed {config.seed}. Probed: {size.probes} trained facts of each sub-domain "
        "but the last, in a phrasing never trained on; facts and probes were taken by the digests of their "
        "names, before any training. A probe is right if greedy decoding gives exactly the reference, end of "
        "turn included; nobody judges answers. Which adapter answers is given (the sub-domain's own); what "
        "routing costs is measured by `crma-eval routed`."
    )


def _course(found: Retention, names: Sequence[str]) -> Section:
    """How many probes of each sub-domain are right after each stage."""
    rows = []
    for index, name in enumerate(names[:-1]):
        own = [probe for probe in found.probes if probe.sub_domain == name]
        counts = [f"{sum(p.exact[stage] for p in own)}/{len(own)}" for stage in range(len(own[0].exact))]
        rows.append((name, *("" for _ in range(index)), *counts))
    header = ("probes of", *(f"after {name}" for name in names))
    return Section(f"{found.method.upper()}, stage by stage", header, tuple(rows))


def _every_probe(found: Sequence[Retention]) -> Section:
    header = ("sub-domain", "question", "answer", *(f"{r.method}: learnt → end" for r in found))
    rows = tuple(
        (
            probes[0].sub_domain,
            probes[0].question.replace("|", "\\|"),
            probes[0].answer.replace("|", "\\|"),
            *(f"{_mark(p.learnt)} → {_mark(p.final)}" for p in probes),
        )
        for probes in zip(*(retention.probes for retention in found), strict=True)
    )
    return Section("Every probe", header, rows)


def _mark(right: bool) -> str:
    return "right" if right else "wrong"


def _json(found: Retention) -> dict[str, Any]:
    return {
        "method": found.method,
        "asked": len(found.probes),
        "learnt": found.learnt,
        "retained": found.retained,
        "final": found.final,
        "probes": [_probe_json(probe) for probe in found.probes],
    }


def _probe_json(probe: Probe) -> dict[str, Any]:
    return dataclasses.asdict(probe)
