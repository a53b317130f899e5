"""The report of `crma-eval routing-peers`."""

from collections.abc import Sequence
from dataclasses import asdict

from crma_eval.report import Report, Section
from crma_eval.routing.peers.measure import Measured

_WORDS = (
    "All were fitted on the same training questions and asked the same held-out ones, one text a "
    "conversation. A peer's options and threshold were chosen on a fifth of the training questions, left out "
    "of its first fit; ours keeps the threshold that its own fit gave. *Accuracy*: of the leading domain. "
    "*Coverage at 2 % wrong*: the share of the domains' questions sent right at the best threshold with at "
    "most 2 % of what is sent wrong, questions of none among it. *AUROC*: the score of domains' questions "
    "over that of none. *Sent*, *wrong*, *left alone*: at its own threshold. Fit: beyond encoding, which "
    "peers share. Times: one text, one thread."
)


def peers_report(measured: Sequence[Measured], missing: Sequence[str]) -> Report:
    """Ours first. `missing`: what was left out, and why."""
    sets = list(measured[0].sets)
    return Report(
        name="routing-peers",
        title="Routers beside this project's, same questions",
        header=("router", "fit, s", "p50, ms", "p99, ms", "options"),
        rows=tuple(_row(one) for one in measured),
        figures={"routers": [asdict(one) for one in measured], "left_out": list(missing)},
        remarks=(_WORDS, *(f"Left out: {one}." for one in missing)),
        sections=tuple(_set(name, measured) for name in sets),
    )


def _row(one: Measured) -> tuple[str, ...]:
    fit = "as released" if one.fit_s is None else f"{one.fit_s:.1f}"
    return one.name, fit, f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", _option(one)


def _option(one: Measured) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.option.items())


def _set(name: str, measured: Sequence[Measured]) -> Section:
    header = ("router", "accuracy", "coverage at 2 % wrong", "AUROC", "sent", "wrong", "left alone")
    rows = tuple(
        (
            one.name,
            *(
                f"{share:.3f}"
                for share in (
                    one.sets[name].accuracy,
                    one.sets[name].coverage,
                    one.sets[name].auroc,
                    one.sets[name].sent,
                    one.sets[name].wrong,
                    one.sets[name].left,
                )
            ),
        )
        for one in measured
    )
    return Section(name.capitalize(), header, rows)
