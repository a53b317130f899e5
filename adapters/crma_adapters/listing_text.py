"""What `crma-adapters` prints for a person: the table of adapters, a card, sizes.

Owns: the layout. Gathers nothing: that is `listing`.
"""

from crma_adapters.card import AdapterCard
from crma_adapters.listing import AdapterRow
from crma_adapters.release import Release


def list_text(rows: list[AdapterRow], live: Release | None) -> str:
    """The table for a person."""
    header = ("", "DOMAIN", "VERSION", "BACKBONE", "RANK", "SIZE", "HOLDOUT LOSS", "DRIFT")
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
            f"LoRA          rank {card.rank}, alpha {card.alpha:g}, on {', '.join(card.target_modules)}",
            f"data          {data.rows_train} rows to train, {data.rows_holdout} held out",
            f"sources       {', '.join(data.sources) or '-'}",
            f"licences      {', '.join(data.licences) or '-'}",
            f"training      {training.steps} steps, {training.epochs:g} epochs, {training.tokens} tokens, "
            f"learning rate {training.learning_rate:g}, seed {training.seed}",
            f"holdout loss  base {loss.base:.3f}, before {loss.before:.3f}, after {loss.after:.3f} nats",
        ]
    )


def _cells(row: AdapterRow) -> tuple[str, ...]:
    has_loss = row.loss_base is not None and row.loss_after is not None
    return (
        "*" if row.live else "",
        row.domain,
        row.version,
        row.backbone or "-",
        str(row.rank),
        size_text(row.size_bytes),
        f"{row.loss_base:.3f} -> {row.loss_after:.3f}" if has_loss else "-",
        "-" if row.drift is None else f"{row.drift:+.2%}",
    )


def size_text(size_bytes: int) -> str:
    """A size in words, in powers of 1000."""
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1e3:.1f} kB"
    return f"{size_bytes / 1e6:.1f} MB"


def _release_text(live: Release | None) -> str:
    if live is None:
        return "no release, plain adapters alone (* is served)"
    backbone = live.backbone.version if live.backbone else "none"
    router = live.router.version if live.router else "none"
    return (
        f"release {live.number} of {live.created}: base model {live.base_model}, backbone {backbone}, "
        f"router {router} (* is live)"
    )
