"""What is named is new, what is not named is carried over, and a drift belongs to one backbone."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.errors import ConfigError, StoreError
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import PINNED, REFRESHED, RunsOn
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


def test_one_adapter_is_replaced_and_the_rest_carried_over(store: Store, workshop: "Workshop") -> None:
    before = store.live()
    assert before.backbone is not None
    folder = workshop.adapter(seed=2, backbone=before.backbone.version)
    after = publish_parts(store, Publication(adapters={"medical": folder}, note="better"))
    assert after.adapters["medical"].part.version != before.adapters["medical"].part.version
    assert after.adapters["medical"].trained_on_backbone == before.backbone.version
    assert after == replace(before, number=2, created=after.created, note="better", adapters=after.adapters)
    assert after.adapters["legal"] == before.placed().adapters["legal"]


def test_a_new_backbone_moves_nobody_but_those_whose_drift_is_given(
    store: Store, workshop: "Workshop"
) -> None:
    first = store.live()
    assert first.backbone is not None
    own = first.backbone.version
    second = publish_parts(store, Publication(backbone=workshop.backbone(seed=2), drift={"medical": 0.01}))
    assert second.backbone is not None and second.backbone.version != own
    assert second.other_backbones == {own: first.backbone}
    legal, medical = second.adapters["legal"], second.adapters["medical"]
    assert legal.runs_on == RunsOn(own, PINNED) and legal.drift is None
    assert medical.runs_on == RunsOn(second.backbone.version, REFRESHED) and medical.drift == 0.01
    router = publish_parts(store, Publication(router=workshop.router("legal", seed=2)))
    assert router.adapters == second.adapters and router.other_backbones == second.other_backbones
    third = publish_parts(store, Publication(backbone=workshop.backbone(seed=3)))
    assert third.adapters == second.adapters
    assert set(third.other_backbones) == {own, second.backbone.version}
    verify_release(store, third)


def test_a_drift_of_a_release_of_format_1_stays_one(store: Store) -> None:
    """Its adapters run on its backbone whatever they were trained on: only the figure changes."""
    second = publish_parts(store, Publication(drift={"medical": 0.25}))
    assert second.format == 1 and second.adapters["medical"].drift == 0.25


def test_an_adapter_of_another_backbone_brings_it_along(store: Store, workshop: "Workshop") -> None:
    live = store.live()
    plain = publish_parts(store, Publication(adapters={"code": workshop.adapter("code")}))
    assert plain.adapters["code"].runs_on == RunsOn(None, PINNED) and plain.other_backbones == {}
    folder = workshop.adapter(seed=2, backbone="0" * 12)
    with pytest.raises(StoreError, match=r"backbone 000000000000: not in the store .*; it has "):
        publish_parts(store, Publication(adapters={"medical": folder}))
    assert store.live() == plain
    other = store.add_backbone(workshop.backbone(seed=7))
    folder = workshop.adapter(seed=2, backbone=other.version)
    after = publish_parts(store, Publication(adapters={"medical": folder}))
    assert after.backbone == live.backbone and after.other_backbones == {other.version: other}
    moved = publish_parts(store, Publication(adapters={"medical": folder}, drift={"medical": 0.5}))
    assert live.backbone is not None and moved.other_backbones == {}
    assert moved.adapters["medical"].runs_on == RunsOn(live.backbone.version, REFRESHED)


def test_the_first_release_takes_its_base_model_from_its_parts(workshop: "Workshop", tmp_path: Path) -> None:
    from_adapter = publish_parts(Store(tmp_path / "a"), Publication(adapters={"medical": workshop.adapter()}))
    from_backbone = publish_parts(Store(tmp_path / "b"), Publication(backbone=workshop.backbone()))
    for release in (from_adapter, from_backbone):
        assert (release.base_model, release.base_fingerprint) == (workshop.base, workshop.fingerprint)


def test_nothing_to_publish(store: Store, workshop: "Workshop", tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to publish: give --adapter"):
        publish_parts(store, Publication(note="only a note"))
    with pytest.raises(ConfigError, match="the first needs --adapter NAME=FOLDER or --backbone"):
        publish_parts(Store(tmp_path / "new"), Publication(router=workshop.router()))


def test_a_drift_for_nobody(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"--drift cooking: no such adapter.*: legal, medical"):
        publish_parts(store, Publication(drift={"cooking": 0.1}))
