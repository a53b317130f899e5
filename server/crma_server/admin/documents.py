"""What the admin API tells of a server: its state, its releases, its adapters.

Owns: the form of the documents. Changes nothing.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from crma_adapters.store.card import read_card
from crma_adapters.store.folders import StoreFolders
from crma_adapters.store.release import AdapterEntry, Part, Release, RunsOn
from crma_server.releases.manager import Status
from crma_server.releases.plan import ServePlan
from crma_server.routing.catalog import BACKBONE

Document = dict[str, Any]


def status_document(status: Status, release: Release | None, history: Iterable[Release]) -> Document:
    """What is served now, and the releases there were, as they are given."""
    return asdict(status) | {
        "base_model": release.base_model if release else None,
        "backbone": _version(release.backbone) if release else None,
        "router": _version(release.router) if release else None,
        "history": [release_line(each) for each in history],
    }


def release_line(release: Release) -> Document:
    """A release in a history: the versions it names, without their files."""
    return {
        "number": release.number,
        "created": release.created,
        "note": release.note,
        "backbone": _version(release.backbone),
        "router": _version(release.router),
        "adapters": {name: entry.part.version for name, entry in release.adapters.items()},
        "canaries": {name: canary for name, entry in release.adapters.items() if (canary := _canary(entry))},
    }


def adapters_document(plan: ServePlan, folders: StoreFolders) -> list[Document]:
    """Every adapter that answers to an alias, with its card. Raises `StoreError` if a card cannot be read."""
    release = plan.release
    published = release.adapters if release else {}
    found = []
    if release is not None:
        found = [_published(name, release, plan, folders) for name in sorted(published)]
    plain = {
        target.adapter: target.version
        for target in plan.catalog.targets()
        if target.adapter not in published and target.adapter != BACKBONE
    }
    return found + [_plain(name, version) for name, version in sorted(plain.items())]


def _published(name: str, release: Release, plan: ServePlan, folders: StoreFolders) -> Document:
    entry = release.adapters[name]
    kept = [each.adapters[name].part.version for each in plan.kept if name in each.adapters]
    live = {entry.part.version, entry.canary.part.version if entry.canary else None}
    return {
        "name": name,
        "version": entry.part.version,
        "plain": False,
        "canary": _canary(entry),
        "kept": [version for version in dict.fromkeys(kept) if version not in live],
        "drift": entry.drift,
        "runs_on": asdict(entry.runs_on or RunsOn(release.backbone_of(entry), release.state_of(entry))),
        "card": asdict(read_card(folders.adapter_dir(name, entry.part.version))),
    }


def _plain(name: str, version: str | None) -> Document:
    return {
        "name": name,
        "version": version,
        "plain": True,
        "canary": None,
        "kept": [],
        "drift": None,
        "runs_on": None,
        "card": None,
    }


def _canary(entry: AdapterEntry) -> Document | None:
    canary = entry.canary
    return {"version": canary.part.version, "weight": canary.weight} if canary else None


def _version(part: Part | None) -> str | None:
    return part.version if part else None
