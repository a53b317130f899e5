"""An adapter moves to a newer backbone only where its validation losses say that it may."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crma_adapters.errors import ConfigError, IntegrityError, StoreError
from crma_adapters.store.refresh import (
    MeasuredLosses,
    PairedLosses,
    compare_losses,
    moved_entry,
    pin_entry,
    read_losses,
    refresh_entry,
)
from crma_adapters.store.release import PINNED, REFRESHED, AdapterEntry, Part, Release, RunsOn
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop

OWN, NEWEST = "1" * 12, "2" * 12
PART = Part("3" * 12, {"adapter.json": "a" * 64})
LOWER, SAME, HIGHER = (1.5, 2.5, 2.0), (2.0, 3.0, 2.5), (2.6, 3.0, 3.0)


def test_the_figures_are_those_of_a_paired_comparison() -> None:
    found = compare_losses((2.0, 3.0, 1.0), (2.5, 2.5, 1.5), backbone=NEWEST)
    assert (found.backbone, found.rows) == (NEWEST, 3)
    assert found.own == pytest.approx(2.0) and found.newest == pytest.approx(13 / 6)
    # The differences are 0.5, -0.5, 0.5: variance 1/3 with n - 1.
    assert found.standard_error == pytest.approx(math.sqrt(1 / 3) / math.sqrt(3))
    assert found.is_not_worse


@pytest.mark.parametrize(
    ("newest", "not_worse"),
    [((1.0, 1.0), True), ((1.0, 3.0), True), ((2.0, 2.0), False), ((1.0, 2.0), True), ((0.0, 0.5), True)],
)
def test_the_rule_is_one_standard_error(newest: tuple[float, ...], not_worse: bool) -> None:
    """Own losses are 1 and 1, so the standard error is half of what the newest two lie apart."""
    assert compare_losses((1.0, 1.0), newest, backbone=NEWEST).is_not_worse is not_worse


@pytest.mark.parametrize(
    ("own", "newest", "told"),
    [
        ((1.0,), (1.0,), "expected the same rows under both, at least 2"),
        ((1.0, 2.0), (1.0, 2.0, 3.0), "losses of 2 rows .* and 3 under the newest"),
        ((1.0, math.nan), (1.0, 2.0), "not finite"),
        ((1.0, 2.0), (1.0, math.inf), "not finite"),
    ],
)
def test_what_cannot_be_compared(own: tuple[float, ...], newest: tuple[float, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        compare_losses(own, newest, backbone=NEWEST)


def test_an_entry_moves_stays_and_comes_back() -> None:
    entry = AdapterEntry.pinned(PART, OWN)
    lower, higher = (compare_losses(SAME, newest, backbone=NEWEST) for newest in (LOWER, HIGHER))
    moved = refresh_entry(entry, lower)
    assert moved == AdapterEntry(PART, OWN, None, runs_on=RunsOn(NEWEST, REFRESHED, lower))
    assert refresh_entry(entry, higher) == replace(entry, runs_on=RunsOn(OWN, PINNED, higher))
    measured = replace(moved, drift=-0.02)
    assert refresh_entry(measured, lower) == measured, "its drift was measured there"
    third = replace(lower, backbone="4" * 12)
    assert refresh_entry(measured, third) == replace(moved, runs_on=RunsOn("4" * 12, REFRESHED, third))
    assert refresh_entry(measured, replace(higher, backbone="4" * 12)) == measured, "it stays where it runs"
    assert refresh_entry(measured, higher) == replace(entry, runs_on=RunsOn(OWN, PINNED, higher))
    assert pin_entry(measured) == replace(entry, runs_on=RunsOn(OWN, PINNED, lower))
    home = replace(entry, runs_on=RunsOn(OWN, PINNED, lower))
    assert refresh_entry(moved, replace(lower, backbone=OWN)) == home
    with pytest.raises(StoreError, match=r"take it from Release.placed\(\)"):
        refresh_entry(AdapterEntry(PART, OWN, None), lower)


def test_an_entry_moved_by_somebodys_word() -> None:
    entry = AdapterEntry.pinned(PART, OWN)
    moved = AdapterEntry(PART, OWN, 0.02, runs_on=RunsOn(NEWEST, REFRESHED))
    assert moved_entry(entry, NEWEST, 0.02) == moved
    assert moved_entry(entry, OWN, 0.02) == entry


def with_newer_backbone(store: Store, workshop: "Workshop") -> Release:
    """A release whose newest backbone no adapter runs on yet."""
    live = store.live().placed()
    return store.publish(
        base_model=live.base_model,
        base_fingerprint=live.base_fingerprint,
        backbone=store.add_backbone(workshop.backbone(seed=5)),
        adapters=live.adapters,
        router=live.router,
    )


def losses(release: Release, **newest: tuple[float, ...]) -> MeasuredLosses:
    assert release.backbone is not None
    adapters = {
        name: PairedLosses(release.adapters[name].part.version, SAME, values)
        for name, values in newest.items()
    }
    return MeasuredLosses(release.backbone.version, adapters)


class TestStore:
    def test_refreshed_and_pinned_again(self, store: Store, workshop: "Workshop") -> None:
        first = store.live()
        second = with_newer_backbone(store, workshop)
        assert first.backbone is not None and second.backbone is not None
        own, newest = first.backbone.version, second.backbone.version
        third = store.refresh(losses(second, legal=HIGHER, medical=LOWER))
        assert third.note == f"refreshed to backbone {newest}: medical; not legal"
        assert [third.backbone_of(third.adapters[name]) for name in ("legal", "medical")] == [own, newest]
        legal, medical = third.adapters["legal"].runs_on, third.adapters["medical"].runs_on
        assert legal and medical and legal.validation and medical.validation
        assert (legal.state, medical.state) == (PINNED, REFRESHED)
        assert legal.validation.newest > legal.validation.own and medical.validation.rows == 3
        fourth = store.refresh(losses(third, legal=LOWER))
        assert fourth.other_backbones == {}, "a backbone that nobody runs on any more is not named"
        fifth = store.pin(["medical", "legal"])
        assert fifth.note == "pinned: medical, legal" and fifth.other_backbones == {own: first.backbone}
        assert fifth.state_of(fifth.adapters["medical"]) == PINNED
        assert store.rollback(3).same_content(third)
        verify_release(store, store.live())

    def test_the_own_backbone_is_gone(self, store: Store, workshop: "Workshop") -> None:
        first, second = store.live(), with_newer_backbone(store, workshop)
        live = store.refresh(losses(second, legal=LOWER, medical=LOWER))
        assert first.backbone is not None
        folder = store.backbone_dir(first.backbone.version)
        folder.rename(workshop.root / "gone")
        with pytest.raises(StoreError, match=r"never added or removed by `crma-adapters gc`; it has "):
            store.pin(["medical"])
        assert store.live() == live

    def test_what_was_measured_for_something_else(self, store: Store, workshop: "Workshop") -> None:
        live = with_newer_backbone(store, workshop)
        sound = losses(live, medical=LOWER)
        medical = sound.adapters["medical"]
        refusals: list[tuple[MeasuredLosses, type[Exception], str]] = [
            (replace(sound, backbone=OWN), StoreError, "measured under backbone 111111111111, the newest of"),
            (replace(sound, adapters={"code": medical}), StoreError, "code: no such adapter in release 2"),
            (
                replace(sound, adapters={"medical": replace(medical, version=OWN)}),
                StoreError,
                "losses are of version 111111111111, live is",
            ),
            (
                replace(sound, adapters={"medical": replace(medical, newest=(1.0, 2.0))}),
                ConfigError,
                "medical: losses of 3 rows",
            ),
        ]
        for measured, kind, told in refusals:
            with pytest.raises(kind, match=told):
                store.refresh(measured)
        with pytest.raises(StoreError, match="code: no such adapter"):
            store.pin(["code"])
        assert store.live() == live


DOCUMENT: dict[str, Any] = {
    "format": 1,
    "backbone": NEWEST,
    "adapters": {"medical": {"version": OWN, "own": [2.0, 3.0], "newest": [1.5, 2.5]}},
}


def test_a_file_of_losses(tmp_path: Path) -> None:
    path = tmp_path / "losses.json"
    path.write_text(json.dumps(DOCUMENT))
    assert read_losses(path) == MeasuredLosses(NEWEST, {"medical": PairedLosses(OWN, (2.0, 3.0), (1.5, 2.5))})
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"backbone": "newest"}, "backbone"),
        ({"adapters": {"medical": {"version": OWN, "own": [2.0], "newest": [1.5]}}}, "adapters.medical.own"),
        ({"adapters": {"../x": DOCUMENT["adapters"]["medical"]}}, "adapters"),
        ({"surprise": 1}, "surprise"),
    ]
    for changes, told in refusals:
        path.write_text(json.dumps(DOCUMENT | changes))
        with pytest.raises(IntegrityError, match=f"losses.json: {told}"):
            read_losses(path)
