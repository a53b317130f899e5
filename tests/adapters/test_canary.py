"""A canary is a second version beside the live one: set, grown, promoted or dropped, a release each time."""

import math
from dataclasses import replace

import pytest

from crma_adapters.errors import ConfigError, StoreError
from crma_adapters.store.canary import canary_of, promoted, with_canary, without_canary
from crma_adapters.store.release import AdapterEntry, Canary, Part, Release

LIVE, TRIED = Part("a" * 12, {}), Part("b" * 12, {})
CANARY = Canary(TRIED, "c" * 12, 0.5, 0.25)
RELEASE = Release(
    number=3,
    created="2026-01-02T03:04:05Z",
    base_model="tiny",
    base_fingerprint="d" * 64,
    backbone=Part("c" * 12, {}),
    adapters={"legal": AdapterEntry(LIVE, "c" * 12, None), "medical": AdapterEntry(LIVE, None, 0.1)},
    router=Part("e" * 12, {}),
)


def test_a_canary_stands_beside_the_live_version() -> None:
    release = with_canary(RELEASE, "medical", CANARY)
    assert release.adapters["medical"] == AdapterEntry(LIVE, None, 0.1, CANARY)
    assert replace(release, adapters=RELEASE.adapters) == RELEASE
    assert release.adapters["legal"] == RELEASE.adapters["legal"]
    assert canary_of(release, "medical") == CANARY


def test_promoted_it_is_the_live_version_with_its_own_drift() -> None:
    release = promoted(with_canary(RELEASE, "medical", CANARY), "medical")
    assert release.adapters["medical"] == AdapterEntry(TRIED, "c" * 12, 0.5, None)


def test_dropped_it_leaves_what_was() -> None:
    assert without_canary(with_canary(RELEASE, "medical", CANARY), "medical") == RELEASE


def test_another_takes_its_place() -> None:
    grown = replace(CANARY, weight=0.5)
    assert with_canary(with_canary(RELEASE, "medical", CANARY), "medical", grown) == with_canary(
        RELEASE, "medical", grown
    )


@pytest.mark.parametrize("weight", [0, 1, -0.1, 1.5, math.nan, math.inf])
def test_a_weight_is_a_share(weight: float) -> None:
    with pytest.raises(ConfigError, match="expected a share between 0 and 1"):
        with_canary(RELEASE, "medical", replace(CANARY, weight=weight))


def test_what_there_is_not() -> None:
    release = with_canary(RELEASE, "medical", CANARY)
    with pytest.raises(
        StoreError, match="cooking: no such adapter in release 3; expected one of: legal, med"
    ):
        with_canary(RELEASE, "cooking", CANARY)
    with pytest.raises(StoreError, match=r"medical@a{12} is live already in release 3"):
        with_canary(RELEASE, "medical", replace(CANARY, part=LIVE))
    for change in (promoted, without_canary):
        with pytest.raises(StoreError, match="legal has no canary in release 3; domains with one: medical"):
            change(release, "legal")
        with pytest.raises(StoreError, match="domains with one: none"):
            change(RELEASE, "legal")


def test_every_part_is_told_with_its_place() -> None:
    assert list(with_canary(RELEASE, "medical", CANARY).parts()) == [
        ("backbone", Part("c" * 12, {})),
        ("router", Part("e" * 12, {})),
        ("legal", LIVE),
        ("medical", LIVE),
        ("medical", TRIED),
    ]
    assert list(replace(RELEASE, backbone=None, router=None, adapters={}).parts()) == []
