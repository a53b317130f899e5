"""`report.html`: one page that says what a run did, readable without a network and years later."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from crma_adapters.io.durable import write_durably
from crma_training.config import TrainConfig
from crma_training.visibility.figure import Figure
from crma_training.visibility.holdout_figure import holdout_figure
from crma_training.visibility.read import DomainRecord, RunRecord, read_run
from crma_training.visibility.spectral_figure import spectral_figure
from crma_training.visibility.training_figures import gradient_figure, loss_figure

FILE_NAME = "report.html"
TEMPLATE = "report.html.jinja"
NOT_YET = "–"


@dataclass(frozen=True)
class Table:
    """Cells as text; the first of a row is its head. `remark` stands below."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str = ""


def write_report(path: Path) -> Path:
    """Writes the report of the run folder `path` into it, whole or not at all. Raises as `read_run`."""
    target = path / FILE_NAME
    write_durably(path, target, render(read_run(path)).encode())
    return target


def render(run: RunRecord) -> str:
    """The page. Every text goes through the template's escaping; only the figures are markup."""
    environment = Environment(
        loader=PackageLoader("crma_training.visibility", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(
        name=run.name,
        facts=_facts(run),
        note=str(run.identity.config.get("note", "")),
        figures=_figures(run),
        results=[_losses(run), _speed(run.domains)],
        provenance=[_data(run.domains), _versions(run.domains), _config(run)],
    )


def _figures(run: RunRecord) -> list[Figure]:
    found = [loss_figure(run.domains), gradient_figure(run.domains)]
    if any(step.spectral is not None for domain in run.domains for step in domain.steps):
        found.append(spectral_figure(run.domains))
    return [*found, holdout_figure(run)]


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    done, planned = len(run.domains), len(run.identity.domains)
    cards = [domain.card for domain in run.domains]
    drifts = [abs(value) for value in (run.drift or {}).values() if value is not None]
    return [
        ("base model", f"{cards[0].base_model} ({run.identity.base_fingerprint[:12]})"),
        ("domains", f"{done} of {planned} finished: {', '.join(domain.name for domain in run.domains)}"),
        ("steps", f"{sum(len(domain.steps) for domain in run.domains):,}"),
        ("training time", _duration(sum(domain.seconds for domain in run.domains))),
        ("largest drift", f"{max(drifts):.2%}" if drifts else NOT_YET),
        ("data", run.identity.data_sha256[:12]),
    ]


def _losses(run: RunRecord) -> Table:
    rows = []
    for domain in run.domains:
        loss, drift = domain.card.holdout_loss, (run.drift or {}).get(domain.name)
        final = NOT_YET if run.drift is None else f"{run.final_loss(domain):.4f}"
        shown = NOT_YET if drift is None else f"{drift:+.2%}"
        measured = f"{loss.base:.4f}", f"{loss.before:.4f}", f"{loss.after:.4f}"
        rows.append((domain.name, *measured, final, shown, str(domain.card.data.rows_holdout)))
    return Table(
        "Holdout loss and drift",
        ("domain", "base", "before", "after", "final", "drift", "rows"),
        tuple(rows),
        "Nats per answer token over all holdout rows: the bare base model, the backbone as the domain found "
        "it, the domain's LoRA when it was trained, and that LoRA under the final backbone. Drift is the "
        "last change in percent; positive is forgetting, and an adapter trained on the final backbone has "
        "none.",
    )


def _speed(domains: Sequence[DomainRecord]) -> Table:
    rows = []
    for domain in domains:
        measuring = sum(reading.seconds for reading in domain.holdout)
        rows.append(
            (
                domain.name,
                f"{len(domain.steps):,}",
                f"{domain.tokens:,}",
                _duration(domain.seconds),
                f"{domain.tokens / domain.seconds:,.0f}" if domain.seconds else NOT_YET,
                f"{measuring / domain.seconds:.1%}" if domain.holdout and domain.seconds else NOT_YET,
                str(sum(any(step.clipped.values()) for step in domain.steps)),
            )
        )
    return Table(
        "Speed",
        ("domain", "steps", "tokens", "time", "tokens/s", "holdout", "clipped"),
        tuple(rows),
        "Time and tokens/s are of the training steps alone, prompts included. Holdout: time of the "
        "measurements behind the holdout curves, as a share of it. Clipped: steps at which ZClip scaled at "
        "least one group.",
    )


def _data(domains: Sequence[DomainRecord]) -> Table:
    rows = [
        (d.name, str(d.card.data.rows_train), _list(d.card.data.sources), _list(d.card.data.licences))
        for d in domains
    ]
    return Table("Data", ("domain", "rows trained", "sources", "licences"), tuple(rows))


def _versions(domains: Sequence[DomainRecord]) -> Table:
    names = sorted({name for domain in domains for name in domain.environment})
    rows = [
        (name, _list(dict.fromkeys(domain.environment.get(name, NOT_YET) for domain in domains)))
        for name in names
    ]
    remark = "" if names else "This run did not record them."
    return Table("Versions and machine", ("what", "value"), tuple(rows), remark)


def _config(run: RunRecord) -> Table:
    known = {option.name: option for option in dataclasses.fields(TrainConfig)}
    rows = []
    for name, value in sorted(run.identity.config.items()):
        text = _list(map(str, value)) if isinstance(value, list) else str(value)
        default = known[name].default if name in known else None
        usual = list(default) if isinstance(default, tuple) else default
        rows.append((name, text, "" if value == usual else "changed"))
    return Table("Configuration", ("option", "value", ""), tuple(rows))


def _list(items: Iterable[str]) -> str:
    return ", ".join(items)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
