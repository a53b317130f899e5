"""What `crma-adapters` prints for a person: the table of adapters, a card, a release in one line, sizes."""

from crma_adapters.cli.listing import AdapterRow
from crma_adapters.store.card import AdapterCard
from crma_adapters.store.release import AdapterEntry, Release, ValidationLosses


def list_text(rows: list[AdapterRow], live: Release | None) -> str:
    """The table for a person."""
    header = (
        "",
        "DOMAIN",
        "VERSION",
        "KIND",
        "RANK",
        "SIZE",
        "BACKBONE",
        "STATE",
        "HOLDOUT LOSS",
        "DRIFT",
        "VALIDATION, OWN -> NEWEST",
    )
    cells = [header, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([_release_text(live), "", *lines])


def card_text(card: AdapterCard) -> str:
    """A card for a person."""
    data, training, loss = card.data, card.training, card.holdout_loss
    return "\n".join(
        [
            f"base model    {card.base_model} ({card.base_fingerprint[:12]})",
            f"backbone      {card.backbone or '-'}",
            *_kind_lines(card),
            f"data          {data.rows_train} rows to train, {data.rows_holdout} held out",
            f"sources       {', '.join(data.sources) or '-'}",
            f"licences      {', '.join(data.licences) or '-'}",
            f"training      {training.steps} steps, {training.epochs:g} epochs, {training.tokens} tokens, "
            f"learning rate {training.learning_rate:g}, seed {training.seed}",
            f"holdout loss  base {loss.base:.3f}, before {loss.before:.3f}, after {loss.after:.3f} nats",
            *_later_lines(card),
        ]
    )


def _kind_lines(card: AdapterCard) -> list[str]:
    lines = []
    if card.kind != "mixer":
        modules = ", ".join(card.target_modules)
        lines.append(f"LoRA          rank {card.rank}, alpha {card.alpha:g}, on {modules}")
    if card.kind != "lora":
        lines.append(f"mixer         rank {card.mixing_rank}, on the residual stream of every block")
    if card.parameters is not None:
        lines.append(f"parameters    {card.parameters:,} of its own")
    return lines


def _later_lines(card: AdapterCard) -> list[str]:
    lines = []
    if (start := card.start) is not None:
        lines.append(f"start         {start.method}" + "".join(f" {name}" for name in start.adapters))
    if (loss := card.validation_loss) is not None:
        lines.append(f"validation    {loss.mean:.3f} ± {loss.standard_error:.3f} nats on {loss.rows} rows")
    return lines


def _cells(row: AdapterRow) -> tuple[str, ...]:
    has_loss = row.loss_base is not None and row.loss_after is not None
    return (
        "*" if row.live else "" if row.canary_weight is None else share_text(row.canary_weight),
        row.domain,
        row.version,
        row.kind,
        str(row.rank),
        size_text(row.size_bytes),
        row.backbone or "-",
        row.state or "-",
        f"{row.loss_base:.3f} -> {row.loss_after:.3f}" if has_loss else "-",
        "-" if row.drift is None else f"{row.drift:+.2%}",
        "-" if row.validation is None else validation_text(row.validation),
    )


def validation_text(losses: ValidationLosses) -> str:
    """Both losses of an adapter, and what chance explains of their difference."""
    return f"{losses.own:.3f} -> {losses.newest:.3f} (±{losses.standard_error:.3f})"


def size_text(size_bytes: int) -> str:
    """A size in words, in powers of 1000."""
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1e3:.1f} kB"
    return f"{size_bytes / 1e6:.1f} MB"


def share_text(weight: float) -> str:
    """A canary's share of its domain's sessions."""
    return f"{100 * weight:.3g}%"


def summary_text(release: Release) -> str:
    """A release in one line."""
    backbone = f"backbone {release.backbone.version}" if release.backbone else "no backbone"
    router = f"router {release.router.version}" if release.router else "no router"
    adapters = ", ".join(_entry_text(name, entry) for name, entry in sorted(release.adapters.items()))
    note = f" ({release.note})" if release.note else ""
    return f"release {release.number}: {adapters or 'no adapters'}; {backbone}; {router}{note}"


def _entry_text(name: str, entry: AdapterEntry) -> str:
    canary = entry.canary
    tried = f" (canary {canary.part.version} {share_text(canary.weight)})" if canary else ""
    return f"{name}@{entry.part.version}{tried}"


def _release_text(live: Release | None) -> str:
    if live is None:
        return "no release, plain adapters alone (* is served)"
    backbone = live.backbone.version if live.backbone else "none"
    router = live.router.version if live.router else "none"
    has_canary = any(entry.canary for entry in live.adapters.values())
    marks = "* is live, a share a canary's" if has_canary else "* is live"
    return (
        f"release {live.number} of {live.created}: base model {live.base_model}, backbone {backbone}, "
        f"router {router} ({marks})"
    )
