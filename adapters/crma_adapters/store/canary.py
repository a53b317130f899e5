"""Two versions of one domain in a release: how the second comes, becomes the first, or goes."""

import math
from dataclasses import replace

from crma_adapters.errors import ConfigError, StoreError
from crma_adapters.store.release import AdapterEntry, Canary, Release


def check_weight(weight: float) -> float:
    """Return `weight`, or raise `ConfigError` if it is no share of a domain's sessions."""
    if not (math.isfinite(weight) and 0 < weight < 1):
        raise ConfigError(
            f"canary weight {weight} cannot be used: expected a share between 0 and 1, such as 0.1; "
            "`promote` gives a canary everything, `drop` nothing"
        )
    return weight


def with_canary(release: Release, name: str, canary: Canary) -> Release:
    """The release with `canary` beside the live `name`, in place of one it has already.

    Raises `ConfigError` for a weight that is no share, `StoreError` if the release has no such domain or the
    canary is its live version.
    """
    check_weight(canary.weight)
    entry = entry_of(release, name)
    if canary.part.version == entry.part.version:
        raise StoreError(
            f"{name}@{canary.part.version} is live already in release {release.number}: "
            "expected another version as its canary"
        )
    return _with_entry(release, name, replace(entry, canary=canary))


def promoted(release: Release, name: str) -> Release:
    """The release with the canary of `name` in place of its live version. Raises `StoreError` without one."""
    canary = canary_of(release, name)
    entry = AdapterEntry(
        canary.part, canary.trained_on_backbone, canary.drift, canary=None, runs_on=canary.runs_on
    )
    return _with_entry(release, name, entry)


def without_canary(release: Release, name: str) -> Release:
    """The release without the canary of `name`. Raises `StoreError` if it has none."""
    canary_of(release, name)
    return _with_entry(release, name, replace(entry_of(release, name), canary=None))


def entry_of(release: Release, name: str) -> AdapterEntry:
    """The entry of `name`. Raises `StoreError` if the release has no such domain."""
    if name not in release.adapters:
        raise StoreError(
            f"{name}: no such adapter in release {release.number}; "
            f"expected one of: {', '.join(sorted(release.adapters)) or 'none'}"
        )
    return release.adapters[name]


def canary_of(release: Release, name: str) -> Canary:
    """The canary of `name`. Raises `StoreError` if the release has no such domain, or it no canary."""
    canary = entry_of(release, name).canary
    if canary is None:
        known = ", ".join(name for name, entry in sorted(release.adapters.items()) if entry.canary)
        raise StoreError(
            f"{name} has no canary in release {release.number}; domains with one: {known or 'none'}"
        )
    return canary


def _with_entry(release: Release, name: str, entry: AdapterEntry) -> Release:
    return replace(release, adapters=release.adapters | {name: entry})
