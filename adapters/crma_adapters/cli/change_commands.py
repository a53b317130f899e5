"""What each command of `crma-adapters` that changes the store does and prints."""

import argparse
import subprocess
import sys
from dataclasses import replace
from typing import TypeVar

from crma_adapters.cli.listing_text import size_text, summary_text, validation_text
from crma_adapters.errors import ConfigError
from crma_adapters.lora.merge import merge
from crma_adapters.store.canary import canary_of, entry_of
from crma_adapters.store.collection import collect
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.refresh import MeasuredLosses, compare_losses, read_losses
from crma_adapters.store.release import Release
from crma_adapters.store.sources.remote_store import RemoteStore
from crma_adapters.store.store import Store

T = TypeVar("T")


def publish_command(store: Store, arguments: argparse.Namespace) -> int:
    new = Publication(
        adapters=_by_name("--adapter", arguments.adapter),
        backbone=arguments.backbone,
        router=arguments.router,
        drift=_by_name("--drift", arguments.drift),
        note=arguments.note,
    )
    print(f"live: {summary_text(publish_parts(store, new))}")
    return 0


def rollback_command(store: Store, arguments: argparse.Namespace) -> int:
    with store.publishing():
        number = arguments.number or store.pointer().release - 1
        if number < 1:
            raise ConfigError("release 1 is live: there is none before it to go back to")
        print(f"live: {summary_text(store.rollback(number))}")
    return 0


def refresh_command(store: Store, arguments: argparse.Namespace) -> int:
    if arguments.pin:
        if not arguments.names:
            raise ConfigError("--pin: no domain given; name those to move back: `refresh medical --pin`")
        print(f"live: {summary_text(store.pin(arguments.names))}")
        return 0
    measured = read_losses(arguments.losses)
    if unknown := sorted(set(arguments.names) - measured.adapters.keys()):
        raise ConfigError(
            f"{arguments.losses}: has no losses of {', '.join(unknown)}; it has "
            f"{', '.join(sorted(measured.adapters)) or 'none'}: measure them with `crma-train refresh`"
        )
    wanted = arguments.names or sorted(measured.adapters)
    release = store.refresh(replace(measured, adapters={name: measured.adapters[name] for name in wanted}))
    for name in wanted:
        print(_refresh_line(release, name, measured))
    print(f"live: {summary_text(release)}")
    return 0


def _refresh_line(release: Release, name: str, measured: MeasuredLosses) -> str:
    losses = measured.adapters[name]
    figures = compare_losses(losses.own, losses.newest, backbone=measured.backbone)
    entry = release.adapters[name]
    moved = release.backbone_of(entry) == measured.backbone
    verdict = "runs on" if moved else f"stays on {release.backbone_of(entry) or 'the bare base'}, not on"
    return f"{name}: {validation_text(figures)} nats on {figures.rows} rows: {verdict} {measured.backbone}"


def canary_command(store: Store, arguments: argparse.Namespace) -> int:
    wanted = arguments.wanted
    with store.publishing():
        live = store.live()
        entry_of(live, wanted.name)  # before anything is added for a domain that is not there
        if wanted.folder is not None:
            version = store.add_adapter(wanted.name, wanted.folder).version
        else:
            version = wanted.version or canary_of(live, wanted.name).part.version
        release = store.set_canary(wanted.name, version, weight=arguments.weight, drift=arguments.drift)
        print(f"live: {summary_text(release)}")
    return 0


def promote_command(store: Store, arguments: argparse.Namespace) -> int:
    print(f"live: {summary_text(store.promote(arguments.name))}")
    return 0


def drop_command(store: Store, arguments: argparse.Namespace) -> int:
    print(f"live: {summary_text(store.drop_canary(arguments.name))}")
    return 0


def import_command(store: Store, arguments: argparse.Namespace) -> int:
    """By `crma-train import`, which has the model and fits the router; this package knows neither."""
    command = [sys.executable, "-m", "crma_training.cli", "import", arguments.source]
    command += ["--adapters", str(store.root), "--domain", arguments.domain]
    command += ["--examples", str(arguments.examples)]
    if arguments.model:
        command += ["--model", arguments.model]
    return subprocess.run(command, check=False).returncode


def merge_command(store: Store, arguments: argparse.Namespace) -> int:
    print(f"merged: {merge(store, arguments.name, arguments.out)}")
    return 0


def gc_command(store: Store, arguments: argparse.Namespace) -> int:
    if isinstance(store, RemoteStore):
        raise ConfigError(
            f"gc: {store.mirror.remote.url} is a store behind a URL, where a publisher may need what nobody "
            "names yet; expected a folder: remove old versions with the provider's own rules"
        )
    done = collect(store, keep=arguments.keep, dry_run=arguments.dry_run)
    for folder, size_bytes in done.removed.items():
        print(f"{'would remove' if arguments.dry_run else 'removed'}  {folder}  {size_text(size_bytes)}")
    kept = f"release {done.kept[0]}" if len(done.kept) == 1 else f"releases {done.kept[0]} to {done.kept[-1]}"
    total = size_text(sum(done.removed.values()))
    print(f"{'would free' if arguments.dry_run else 'freed'} {total}; every part of {kept} is kept")
    return 0


def _by_name(flag: str, pairs: list[tuple[str, T]]) -> dict[str, T]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ConfigError(
            f"{flag}: a name stands twice in {', '.join(name for name, _ in pairs)}; give each once"
        )
    return found
