"""Two releases differ in what they serve; number, date and note are no difference."""

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.release import Release
from crma_adapters.store.release_diff import Change, compare, diff_text
from crma_adapters.store.store import Store

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


def versions(release: Release) -> dict[str, str]:
    return {place: part.version for place, part in release.parts()}


def test_nothing_differs_from_a_rollback(store: Store, workshop: "Workshop") -> None:
    first = store.live()
    publish_parts(store, Publication(router=workshop.router("legal", seed=3)))
    back = store.rollback(1)
    assert compare(store, first, back) == []
    assert diff_text(first, back, []) == (
        f"release 1 of {first.created} -> release 3 of {back.created} (rollback to release 1)\n"
        "the same content"
    )


def test_every_kind_of_change(store: Store, workshop: "Workshop") -> None:
    first = store.live()
    drift = {"medical": 0.01, "legal": -0.02, "code": 0.03}
    code = workshop.adapter("code")
    after = publish_parts(
        store,
        Publication(
            adapters={"code": code}, backbone=workshop.backbone(seed=2), router=workshop.router(), drift=drift
        ),
    )
    after = replace(after, adapters={name: after.adapters[name] for name in ("code", "medical")})
    old, new = versions(first), versions(after)
    assert compare(store, first, after) == [
        Change("backbone", "version", old["backbone"], new["backbone"]),
        Change("router", "version", old["router"], new["router"]),
        Change("code", "version", None, new["code"]),
        Change("code", "runs on backbone", None, new["backbone"]),
        Change("code", "state", None, "refreshed"),
        Change("code", "drift", None, 0.03),
        Change("legal", "version", old["legal"], None),
        Change("legal", "trained on backbone", old["backbone"], None),
        Change("legal", "runs on backbone", old["backbone"], None),
        Change("legal", "state", "pinned", None),
        Change("medical", "runs on backbone", old["backbone"], new["backbone"]),
        Change("medical", "state", "pinned", "refreshed"),
        Change("medical", "drift", None, 0.01),
    ]
    back = compare(store, after, first)
    assert sorted(back, key=repr) == sorted(
        (replace(c, before=c.after, after=c.before) for c in compare(store, first, after)), key=repr
    )


def test_another_base_model(store: Store) -> None:
    first = store.live()
    other = replace(first, number=2, base_model="other", base_fingerprint="cd" * 32)
    assert [(c.fact, c.after) for c in compare(store, first, other)] == [
        ("name", "other"),
        ("fingerprint", "cd" * 32),
    ]
    assert diff_text(first, other, compare(store, first, other)).splitlines()[1:] == [
        "base model  name         tiny-model -> other",
        "base model  fingerprint  abababababab -> cdcdcdcdcdcd",
    ]


def test_a_retrained_adapter_tells_both_losses_while_both_are_there(
    store: Store, workshop: "Workshop"
) -> None:
    first = store.live()
    folder = workshop.adapter(seed=2, backbone=versions(first)["backbone"])
    card = workshop.card()
    better = replace(
        card, holdout_loss=replace(card.holdout_loss, after=1.5), backbone=versions(first)["backbone"]
    )
    (folder / "adapter.json").write_bytes(better.to_json())
    second = publish_parts(store, Publication(adapters={"medical": folder}))
    old, new = versions(first)["medical"], versions(second)["medical"]
    changes = compare(store, first, second)
    assert changes == [
        Change("medical", "version", old, new),
        Change("medical", "holdout loss", 2.125, 1.5),
    ]
    assert diff_text(first, second, changes).splitlines()[1:] == [
        f"medical  version       {old} -> {new}",
        "medical  holdout loss  2.125 -> 1.5",
    ]
    shutil.rmtree(store.adapter_dir("medical", old))
    assert compare(store, first, second) == [Change("medical", "version", old, new)]


def test_a_canary(store: Store, workshop: "Workshop") -> None:
    first = store.live()
    part = store.add_adapter("medical", workshop.adapter(seed=2))
    tried = store.set_canary("medical", part.version, weight=0.1, drift=0.002)
    changes = compare(store, first, tried)
    assert changes == [
        Change("medical", "canary", None, part.version),
        Change("medical", "canary weight", None, 0.1),
        Change("medical", "canary drift", None, 0.002),
    ]
    assert diff_text(first, tried, changes).splitlines()[1:] == [
        f"medical  canary         - -> {part.version}",
        "medical  canary weight  - -> 0.1",
        "medical  canary drift   - -> +0.20%",
    ]
    assert [c.fact for c in compare(store, tried, store.promote("medical"))] == [
        "version",
        "trained on backbone",
        "state",
        "drift",
        "canary",
        "canary weight",
        "canary drift",
    ]
