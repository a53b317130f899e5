"""What each command of `crma-adapters` does and prints.

Owns: the output. Parsing the command line is `cli`'s; the work is in the modules it imports.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from crma_adapters.card import read_card
from crma_adapters.errors import ConfigError
from crma_adapters.listing import PLAIN, adapter_rows, entry_in, find_version, folder_bytes, live_or_none
from crma_adapters.listing_text import card_text, list_text, size_text
from crma_adapters.lora_files import read_config
from crma_adapters.publication import Publication, publish_parts
from crma_adapters.release import Release
from crma_adapters.store import Store
from crma_adapters.verify import verify_plain, verify_release

T = TypeVar("T")


def list_command(store: Store, arguments: argparse.Namespace) -> int:
    live = live_or_none(store)
    rows = adapter_rows(store, live)
    if arguments.json:
        release = json.loads(live.to_json()) if live else None
        print(json.dumps({"release": release, "adapters": [asdict(row) for row in rows]}, indent=2))
    else:
        print(list_text(rows, live))
    return 0


def show_command(store: Store, arguments: argparse.Namespace) -> int:
    name, at, wanted = arguments.name.partition("@")
    if name in (plain := store.plain_adapters()):
        return _show_plain(name, plain[name], arguments)
    live = live_or_none(store)
    version = find_version(store, live, name, wanted if at else None)
    folder = store.adapter_dir(name, version)
    card, entry = read_card(folder), entry_in(live, name, version)
    if arguments.json:
        facts = {"version": version, "live": entry is not None, "path": str(folder), "card": asdict(card)}
        print(json.dumps(facts | {"drift": entry.drift if entry else None}, indent=2))
        return 0
    print(
        f"{name}@{version}, {size_text(folder_bytes(folder))}, {'live' if entry else 'not live'}, in {folder}"
    )
    print(card_text(card))
    if entry and entry.drift is not None:
        print(f"drift         {entry.drift:+.2%} under the live backbone")
    return 0


def _show_plain(name: str, folder: Path, arguments: argparse.Namespace) -> int:
    config = read_config(folder)
    if arguments.json:
        print(
            json.dumps(
                {"version": PLAIN, "live": True, "path": str(folder), "config": asdict(config)}, indent=2
            )
        )
        return 0
    print(f"{name}, {size_text(folder_bytes(folder))}, a plain PEFT LoRA without a card, in {folder}")
    print(f"LoRA          rank {config.r}, alpha {config.lora_alpha:g}")
    return 0


def verify_command(store: Store, arguments: argparse.Namespace) -> int:
    plain = store.plain_adapters()
    release = store.release(arguments.number) if arguments.number else live_or_none(store)
    if release is not None:
        verify_release(store, release, max_rank=arguments.max_rank)
        print(f"ok  {_summary(release)}")
    for name, folder in plain.items():
        verify_plain(folder, max_rank=arguments.max_rank)
        print(f"ok  plain adapter {name}")
    return 0


def publish_command(store: Store, arguments: argparse.Namespace) -> int:
    new = Publication(
        adapters=_by_name("--adapter", arguments.adapter),
        backbone=arguments.backbone,
        router=arguments.router,
        drift=_by_name("--drift", arguments.drift),
        note=arguments.note,
    )
    print(f"live: {_summary(publish_parts(store, new))}")
    return 0


def rollback_command(store: Store, arguments: argparse.Namespace) -> int:
    with store.publishing():
        number = arguments.number or store.pointer().release - 1
        if number < 1:
            raise ConfigError("release 1 is live: there is none before it to go back to")
        print(f"live: {_summary(store.rollback(number))}")
    return 0


def _summary(release: Release) -> str:
    backbone = f"backbone {release.backbone.version}" if release.backbone else "no backbone"
    router = f"router {release.router.version}" if release.router else "no router"
    adapters = ", ".join(f"{name}@{entry.part.version}" for name, entry in sorted(release.adapters.items()))
    note = f" ({release.note})" if release.note else ""
    return f"release {release.number}: {adapters or 'no adapters'}; {backbone}; {router}{note}"


def _by_name(flag: str, pairs: list[tuple[str, T]]) -> dict[str, T]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ConfigError(
            f"{flag}: a name stands twice in {', '.join(name for name, _ in pairs)}; give each once"
        )
    return found
