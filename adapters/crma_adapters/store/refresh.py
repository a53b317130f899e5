"""Whether an adapter may move to a newer backbone, and the entry that says so.

The rule: an adapter is refreshed only where its mean loss on validation rows under the newest backbone is not
worse than under the one it was trained on by more than one standard error of the mean paired difference. Both
losses are kept in the release. Nothing here measures: losses come from whoever can run the model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

import numpy as np
from pydantic import ConfigDict, Field

from crma_adapters.errors import ConfigError, StoreError
from crma_adapters.io.document import STRICT, Finite, parse_document
from crma_adapters.io.regular_files import read_document
from crma_adapters.store.canary import entry_of
from crma_adapters.store.release import (
    PINNED,
    REFRESHED,
    AdapterEntry,
    Canary,
    DomainName,
    Release,
    RunsOn,
    ValidationLosses,
    Version,
)

LOSSES_FORMAT = 1
MIN_ROWS = 2

Placed = TypeVar("Placed", AdapterEntry, Canary)


@dataclass(frozen=True)
class PairedLosses:
    """One adapter's loss on each of its validation rows, nats per answer token, in the same order: `own`
    under the backbone it was trained on, `newest` under the newest. `version` is the adapter's."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    version: Version
    own: Annotated[tuple[Finite, ...], Field(min_length=MIN_ROWS)]
    newest: Annotated[tuple[Finite, ...], Field(min_length=MIN_ROWS)]


@dataclass(frozen=True)
class MeasuredLosses:
    """A file of losses: by domain, all measured under `backbone` beside the adapters' own backbones."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    backbone: Version
    adapters: dict[DomainName, PairedLosses]


def read_losses(path: Path) -> MeasuredLosses:
    """Read a file of losses. Raises `StoreError` if there is none, else as `parse_document`."""
    return parse_document(MeasuredLosses, read_document(path), str(path), format_number=LOSSES_FORMAT)


def compare_losses(own: Sequence[float], newest: Sequence[float], *, backbone: str) -> ValidationLosses:
    """The two means and the standard error of the mean paired difference; `backbone` is the newest's version.

    `own[i]` and `newest[i]` are one row's losses; the rule is the result's `is_not_worse`. Raises
    `ConfigError` for fewer than two rows, unequal numbers of them, or a loss that is not finite.
    """
    if len(own) != len(newest) or len(own) < MIN_ROWS:
        raise ConfigError(
            f"losses of {len(own)} rows under the adapter's own backbone and {len(newest)} under the newest: "
            f"expected the same rows under both, at least {MIN_ROWS}"
        )
    pairs = np.array([own, newest], dtype=np.float64)
    if not np.isfinite(pairs).all():
        raise ConfigError("a row's loss is not finite: expected nats per answer token; measure it again")
    difference = pairs[1] - pairs[0]
    return ValidationLosses(
        backbone=backbone,
        own=float(pairs[0].mean()),
        newest=float(pairs[1].mean()),
        standard_error=float(difference.std(ddof=1) / math.sqrt(len(own))),
        rows=len(own),
    )


def refresh_entry(entry: Placed, losses: ValidationLosses) -> Placed:
    """The entry moved to the backbone that `losses` were measured under, if the rule lets it.

    Otherwise it stays where it runs; a pinned one then keeps the figures that say why. Raises `StoreError`
    for an entry that does not say what it runs on: give one of `Release.placed`.
    """
    runs_on = _runs_on(entry)
    if losses.backbone == entry.trained_on_backbone:
        return pin_entry(entry)
    if losses.is_not_worse:
        moved = RunsOn(losses.backbone, REFRESHED, losses)
        drift = entry.drift if runs_on.backbone == losses.backbone else None  # measured under another
        return replace(entry, runs_on=moved, drift=drift)
    if runs_on.state == PINNED:
        return replace(entry, runs_on=replace(runs_on, validation=losses))
    return pin_entry(entry, losses) if runs_on.backbone == losses.backbone else entry


def pin_entry(entry: Placed, losses: ValidationLosses | None = None) -> Placed:
    """The entry on the backbone it was trained on, with the figures under a newer one if there are any.

    Figures the entry has already stay, as those of a pinned adapter.
    """
    kept = losses or (entry.runs_on.validation if entry.runs_on else None)
    if kept is not None and kept.backbone == entry.trained_on_backbone:
        kept = None
    return replace(entry, runs_on=RunsOn(entry.trained_on_backbone, PINNED, kept), drift=None)


def moved_entry(entry: Placed, backbone: str | None, drift: float) -> Placed:
    """The entry on `backbone` by somebody's word, with the drift of its holdout loss there."""
    if backbone == entry.trained_on_backbone:
        return pin_entry(entry)
    return replace(entry, runs_on=RunsOn(backbone, REFRESHED), drift=drift)


def refreshed(release: Release, measured: MeasuredLosses) -> Release:
    """The release with every adapter that `measured` names moved to its newest backbone where the rule lets
    it.

    Raises `StoreError` for losses under another backbone than the release's newest, of a domain it does not
    have or of a version that is not live, `ConfigError` for losses that cannot be compared.
    """
    newest = release.backbone.version if release.backbone else None
    if measured.backbone != newest:
        raise StoreError(
            f"losses were measured under backbone {measured.backbone}, the newest of release "
            f"{release.number} is "
            f"{newest or 'none'}; measure them again under that one"
        )
    placed = release.placed()
    adapters = dict(placed.adapters)
    for name, losses in measured.adapters.items():
        entry = entry_of(placed, name)
        if losses.version != entry.part.version:
            raise StoreError(
                f"{name}: losses are of version {losses.version}, live is {entry.part.version}; "
                "measure them again with that one"
            )
        try:
            figures = compare_losses(losses.own, losses.newest, backbone=measured.backbone)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        adapters[name] = refresh_entry(entry, figures)
    return replace(placed, adapters=adapters)


def pinned(release: Release, names: Sequence[str]) -> Release:
    """The release with the named domains back on the backbones they were trained on. Raises `StoreError` for
    a domain it does not have."""
    placed = release.placed()
    moved = {name: pin_entry(entry_of(placed, name)) for name in names}
    return replace(placed, adapters=placed.adapters | moved)


def _runs_on(entry: AdapterEntry | Canary) -> RunsOn:
    if entry.runs_on is None:
        raise StoreError(
            "this entry is of a release of format 1, which does not say what it runs on; "
            "take it from Release.placed()"
        )
    return entry.runs_on
