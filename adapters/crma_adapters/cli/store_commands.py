"""What each command of `crma-adapters` that changes nothing does and prints."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from crma_adapters.cli.listing import PLAIN, adapter_rows, entry_in, find_version, folder_bytes, live_or_none
from crma_adapters.cli.listing_text import (
    card_text,
    list_text,
    share_text,
    size_text,
    summary_text,
    validation_text,
)
from crma_adapters.lora.lora_files import read_config
from crma_adapters.store.card import read_card
from crma_adapters.store.release import AdapterEntry, Canary, Release, RunsOn
from crma_adapters.store.release_diff import compare, diff_text
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release


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
        weight = entry.weight if isinstance(entry, Canary) else None
        facts = {"version": version, "live": isinstance(entry, AdapterEntry), "canary_weight": weight}
        facts |= {"path": str(folder), "card": asdict(card), "drift": entry.drift if entry else None}
        facts |= {"runs_on": asdict(runs_on) if (runs_on := _runs_on(live, entry)) else None}
        print(json.dumps(facts, indent=2))
        return 0
    print(f"{name}@{version}, {size_text(folder_bytes(folder))}, {_state(entry)}, in {folder}")
    print(card_text(card))
    if (runs_on := _runs_on(live, entry)) is not None:
        print(f"runs on       backbone {runs_on.backbone or '-'}, {runs_on.state}")
        if (losses := runs_on.validation) is not None:
            print(
                f"measured      {validation_text(losses)} nats of {losses.rows} validation rows under "
                f"its own backbone "
                f"and {losses.backbone}"
            )
    if entry and entry.drift is not None:
        print(f"drift         {entry.drift:+.2%} under the backbone it runs on")
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
    plain = store.plain_folders()
    release = store.release(arguments.number) if arguments.number else live_or_none(store)
    if release is not None:
        verify_release(store, release, max_rank=arguments.max_rank)
        print(f"ok  {summary_text(release)}")
    for folder, reason in plain.left_out.items():
        print(f"left out  {folder}: {reason}", file=sys.stderr)
    for name, folder in plain.adapters.items():
        verify_plain(folder, max_rank=arguments.max_rank)
        print(f"ok  plain adapter {name}")
    return 1 if plain.left_out else 0


def diff_command(store: Store, arguments: argparse.Namespace) -> int:
    before = store.release(arguments.before)
    after = store.release(arguments.after) if arguments.after else store.live()
    changes = compare(store, before, after)
    if arguments.json:
        found = [asdict(change) for change in changes]
        print(json.dumps({"before": before.number, "after": after.number, "changes": found}, indent=2))
    else:
        print(diff_text(before, after, changes))
    return 0


def _runs_on(live: Release | None, entry: AdapterEntry | Canary | None) -> RunsOn | None:
    """What a live adapter runs on, also where the release does not say so."""
    if live is None or entry is None:
        return None
    return entry.runs_on or RunsOn(live.backbone_of(entry), live.state_of(entry))


def _state(entry: AdapterEntry | Canary | None) -> str:
    if isinstance(entry, Canary):
        return f"canary for {share_text(entry.weight)} of its domain's sessions"
    return "live" if entry else "not live"
