"""What changed from one release to another; a holdout loss is told where both versions still lie in the
store."""

from collections.abc import Iterator
from dataclasses import dataclass

from crma_adapters.errors import StoreError
from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store

Fact = str | float | None

_LOSS = "holdout loss"


@dataclass(frozen=True)
class Change:
    """One fact that differs: `what` is a domain, `backbone`, `router` or `base model`. None: not there."""

    what: str
    fact: str
    before: Fact
    after: Fact


def compare(store: Store, before: Release, after: Release) -> list[Change]:
    """Every difference in what two releases serve; none if one is the other under a new number."""
    old, new = dict(_facts(store, before)), dict(_facts(store, after))
    changes = [Change(*key, old.get(key), new.get(key)) for key in dict.fromkeys([*old, *new])]
    domains = before.adapters.keys() | after.adapters.keys()
    changes.sort(key=lambda change: (change.what in domains, change.what))
    return [change for change in changes if change.before != change.after and not _is_loss_of_one(change)]


def diff_text(before: Release, after: Release, changes: list[Change]) -> str:
    """The differences for a person, one a line."""
    head = f"{_title(before)} -> {_title(after)}"
    if not changes:
        return f"{head}\nthe same content"
    cells = [(c.what, c.fact, f"{_text(c.fact, c.before)} -> {_text(c.fact, c.after)}") for c in changes]
    widths = [max(len(line[column]) for line in cells) for column in range(2)]
    return "\n".join(
        [
            head,
            *(f"{what.ljust(widths[0])}  {fact.ljust(widths[1])}  {values}" for what, fact, values in cells),
        ]
    )


def _facts(store: Store, release: Release) -> Iterator[tuple[tuple[str, str], Fact]]:
    yield ("base model", "name"), release.base_model
    yield ("base model", "fingerprint"), release.base_fingerprint
    yield ("backbone", "version"), release.backbone.version if release.backbone else None
    yield ("router", "version"), release.router.version if release.router else None
    for name, entry in sorted(release.adapters.items()):
        yield (name, "version"), entry.part.version
        yield (name, "trained on backbone"), entry.trained_on_backbone
        yield (name, "runs on backbone"), release.backbone_of(entry)
        yield (name, "state"), release.state_of(entry)
        validation = entry.runs_on.validation if entry.runs_on else None
        yield (name, "validation loss, own"), validation.own if validation else None
        yield (name, "validation loss, newest"), validation.newest if validation else None
        yield (name, "drift"), entry.drift
        yield (name, _LOSS), _loss(store, name, entry.part.version)
        if entry.canary is not None:
            yield (name, "canary"), entry.canary.part.version
            yield (name, "canary weight"), entry.canary.weight
            yield (name, "canary drift"), entry.canary.drift


def _loss(store: Store, name: str, version: str) -> float | None:
    try:
        return read_card(store.adapter_dir(name, version)).holdout_loss.after
    except StoreError:
        return None  # collected since, or damaged, which is for `verify` to tell


def _is_loss_of_one(change: Change) -> bool:
    return change.fact == _LOSS and None in (change.before, change.after)


def _title(release: Release) -> str:
    return f"release {release.number} of {release.created}" + (f" ({release.note})" if release.note else "")


def _text(fact: str, value: Fact) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value[:12] if fact == "fingerprint" else value
    return f"{value:+.2%}" if fact.endswith("drift") else f"{value:.4g}"
