"""What is named is new, what is not named is carried over, and a drift belongs to one backbone."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.errors import ConfigError, IncompatibleError
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store

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
    assert after.adapters["legal"] == before.adapters["legal"]


def test_a_new_backbone_needs_the_drift_of_every_adapter(store: Store, workshop: "Workshop") -> None:
    backbone = workshop.backbone(seed=2)
    with pytest.raises(IncompatibleError, match=r"legal.*records no drift under it"):
        publish_parts(store, Publication(backbone=backbone, drift={"medical": 0.01}))
    drift = {"medical": 0.01, "legal": -0.02}
    second = publish_parts(store, Publication(backbone=backbone, drift=drift))
    assert {name: entry.drift for name, entry in second.adapters.items()} == drift
    router = publish_parts(store, Publication(router=workshop.router("legal", seed=2)))
    assert {name: entry.drift for name, entry in router.adapters.items()} == drift
    with pytest.raises(IncompatibleError, match="records no drift under it"):
        publish_parts(store, Publication(backbone=workshop.backbone(seed=3)))
    assert store.live() == router


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
