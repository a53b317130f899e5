"""A release document says one thing, the same after a round trip; nothing unknown is let through."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import IncompatibleError, IntegrityError
from crma_adapters.store.names import is_domain_name
from crma_adapters.store.release import (
    PINNED,
    REFRESHED,
    AdapterEntry,
    Canary,
    Part,
    Pointer,
    Release,
    RunsOn,
    ValidationLosses,
)

versions = st.text("0123456789abcdef", min_size=12, max_size=12)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
parts = st.builds(
    Part, version=versions, files=st.dictionaries(st.sampled_from(["a.json", "b_c.safetensors"]), digests)
)
trained_on = st.none() | versions
drifts = st.none() | st.floats(allow_nan=False, allow_infinity=False)
weights = st.floats(0, 1, exclude_min=True, exclude_max=True)
figures = st.floats(allow_nan=False, allow_infinity=False)
places = st.builds(
    RunsOn,
    backbone=trained_on,
    state=st.sampled_from([PINNED, REFRESHED]),
    validation=st.none()
    | st.builds(
        ValidationLosses,
        backbone=versions,
        own=figures,
        newest=figures,
        standard_error=st.floats(0, 1e9),
        rows=st.integers(1, 10**9),
    ),
)


def entries(runs_on: st.SearchStrategy[RunsOn | None]) -> st.SearchStrategy[AdapterEntry]:
    canaries = st.builds(
        Canary, part=parts, trained_on_backbone=trained_on, drift=drifts, weight=weights, runs_on=runs_on
    )
    return st.builds(
        AdapterEntry,
        part=parts,
        trained_on_backbone=trained_on,
        drift=drifts,
        canary=st.none() | canaries,
        runs_on=runs_on,
    )


names = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True).filter(is_domain_name)
# All adapters say what they run on (format 2) or none does (format 1).
adapters = st.dictionaries(names, entries(st.none())) | st.dictionaries(names, entries(places))
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
releases = st.builds(
    Release,
    number=st.integers(1, 10**9),
    created=text,
    base_model=text,
    base_fingerprint=digests,
    backbone=st.none() | parts,
    adapters=adapters,
    router=st.none() | parts,
    note=text,
)

PART: dict[str, Any] = {"version": "0" * 12, "files": {"crma.json": "a" * 64}}
DOCUMENT: dict[str, Any] = {
    "format": 1,
    "number": 3,
    "created": "2026-01-02T03:04:05Z",
    "base_model": "tiny",
    "base_fingerprint": "b" * 64,
    "backbone": PART,
    "adapters": {"medical": {"part": PART, "trained_on_backbone": None, "drift": 0.25}},
    "router": None,
    "note": "",
}


@given(releases)
def test_what_is_written_is_read(release: Release) -> None:
    assert Release.from_json(release.to_json()) == release
    assert Release.from_json(release.to_json()).to_json() == release.to_json()


def test_the_document_is_the_contract() -> None:
    release = Release.from_json(json.dumps(DOCUMENT).encode())
    assert release.adapters["medical"] == AdapterEntry(Part("0" * 12, {"crma.json": "a" * 64}), None, 0.25)
    assert json.loads(release.to_json()) == DOCUMENT


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"number": 0}, "number"),
        ({"number": "3"}, "number"),
        ({"surprise": 1}, "surprise"),
        ({"backbone": {**PART, "version": "../../etc/pwd"}}, "backbone.version"),
        ({"backbone": {**PART, "files": {"../crma.json": "a" * 64}}}, "backbone.files"),
        ({"backbone": {**PART, "files": {"crma.bin": "a" * 64}}}, "backbone.files"),
        ({"backbone": {**PART, "files": {"crma.json": "a" * 63}}}, "backbone.files.crma.json"),
        (
            {"adapters": {"../medical": {"part": PART, "trained_on_backbone": None, "drift": None}}},
            "adapters",
        ),
        ({"adapters": {"base": {"part": PART, "trained_on_backbone": None, "drift": None}}}, "adapters"),
        ({"adapters": {"medical": {"part": PART, "trained_on_backbone": None}}}, "adapters.medical.drift"),
        ({"note": None}, "note"),
    ],
)
def test_a_document_that_says_anything_else(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(IntegrityError, match=f"0003.json: {told}"):
        Release.from_json(json.dumps(DOCUMENT | changes).encode(), "0003.json")


CANARY: dict[str, Any] = {"part": PART, "trained_on_backbone": None, "drift": None, "weight": 0.1}


def with_canary(**changes: Any) -> dict[str, Any]:
    entry = DOCUMENT["adapters"]["medical"] | {"canary": CANARY | changes}
    return DOCUMENT | {"adapters": {"medical": entry}}


def test_a_canary_is_part_of_the_document() -> None:
    document = with_canary()
    release = Release.from_json(json.dumps(document).encode())
    assert release.adapters["medical"].canary == Canary(Part("0" * 12, PART["files"]), None, None, 0.1)
    assert json.loads(release.to_json()) == document
    assert not release.same_content(Release.from_json(json.dumps(DOCUMENT).encode()))


def test_no_canary_leaves_no_trace_in_the_document() -> None:
    release = Release.from_json(json.dumps(DOCUMENT).encode())
    assert release.adapters["medical"].canary is None and b"canary" not in release.to_json()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weight": 0}, "weight"),
        ({"weight": 1}, "weight"),
        ({"weight": -0.5}, "weight"),
        ({"weight": "0.5"}, "weight"),
        ({"weight": True}, "weight"),
        ({"weight": None}, "weight"),
        ({"surprise": 1}, "surprise"),
        ({"part": {**PART, "version": "../../etc/pwd"}}, "part.version"),
        ({"part": {**PART, "files": {"../x.json": "a" * 64}}}, "part.files"),
        ({"trained_on_backbone": ".."}, "trained_on_backbone"),
    ],
)
def test_a_canary_that_says_anything_else(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(IntegrityError, match=f"0003.json: adapters.medical.canary.{told}"):
        Release.from_json(json.dumps(with_canary(**changes)).encode(), "0003.json")


OWN, NEWEST = "1" * 12, "2" * 12
FIGURES = {"backbone": NEWEST, "own": 2.5, "newest": 2.25, "standard_error": 0.125, "rows": 60}
PLACED: dict[str, Any] = DOCUMENT | {
    "format": 2,
    "backbone": PART | {"version": NEWEST},
    "other_backbones": {OWN: PART | {"version": OWN}},
    "adapters": {
        "legal": {
            "part": PART,
            "trained_on_backbone": OWN,
            "drift": None,
            "runs_on": {"backbone": OWN, "state": "pinned", "validation": None},
        },
        "medical": {
            "part": PART,
            "trained_on_backbone": OWN,
            "drift": -0.01,
            "runs_on": {"backbone": NEWEST, "state": "refreshed", "validation": FIGURES},
            "canary": CANARY | {"runs_on": {"backbone": None, "state": "pinned", "validation": None}},
        },
    },
}


def test_format_2_names_what_every_adapter_runs_on() -> None:
    release = Release.from_json(json.dumps(PLACED).encode())
    assert release.format == 2 and json.loads(release.to_json()) == PLACED
    legal, medical = release.adapters["legal"], release.adapters["medical"]
    assert legal.runs_on == RunsOn(OWN, PINNED)
    assert medical.runs_on == RunsOn(NEWEST, REFRESHED, ValidationLosses(NEWEST, 2.5, 2.25, 0.125, 60))
    assert medical.canary is not None
    served = list(release.served())
    assert served == [legal, medical, medical.canary]
    assert [release.backbone_of(entry) for entry in served] == [OWN, NEWEST, None]
    assert [release.state_of(entry) for entry in served] == [PINNED, REFRESHED, PINNED]
    assert list(release.backbones()) == [NEWEST, OWN]
    assert [place for place, _ in release.parts()] == ["backbone", "backbone", "legal", "medical", "medical"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 1}, "which format 1 does not"),
        ({"other_backbones": {"../..": PART}}, "other_backbones"),
        ({"adapters": DOCUMENT["adapters"]}, "adapters.medical.runs_on: missing"),
        (
            {"adapters": {"legal": PLACED["adapters"]["legal"] | {"canary": CANARY}}},
            "adapters.legal.runs_on: missing",
        ),
    ],
)
def test_formats_are_not_mixed(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(IntegrityError, match=f"0003.json: .*{told}"):
        Release.from_json(json.dumps(PLACED | changes).encode(), "0003.json")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": "moved"}, "state"),
        ({"backbone": ".."}, "backbone"),
        ({"surprise": 1}, "surprise"),
        ({"validation": FIGURES | {"rows": 0}}, "validation.rows"),
        ({"validation": FIGURES | {"standard_error": -0.1}}, "validation.standard_error"),
        ({"validation": FIGURES | {"own": "2.5"}}, "validation.own"),
        ({"validation": {"own": 1.0}}, "validation"),
    ],
)
def test_a_place_that_says_anything_else(changes: dict[str, Any], told: str) -> None:
    entry = PLACED["adapters"]["medical"]
    entry = entry | {"runs_on": entry["runs_on"] | changes}
    with pytest.raises(IntegrityError, match=f"adapters.medical.runs_on.{told}"):
        Release.from_json(json.dumps(PLACED | {"adapters": {"medical": entry}}).encode())


def test_placed_writes_down_what_format_1_means() -> None:
    old = Release.from_json(
        json.dumps(
            DOCUMENT
            | {
                "adapters": {
                    "legal": {"part": PART, "trained_on_backbone": "0" * 12, "drift": None},
                    "medical": {"part": PART, "trained_on_backbone": OWN, "drift": 0.25, "canary": CANARY},
                }
            }
        ).encode()
    )
    placed = old.placed()
    assert placed.format == 2 and placed.placed() == placed
    assert [old.backbone_of(entry) for entry in old.served()] == ["0" * 12] * 3
    assert [placed.backbone_of(entry) for entry in placed.served()] == ["0" * 12] * 3
    assert [placed.state_of(entry) for entry in placed.served()] == [PINNED, REFRESHED, REFRESHED]
    assert placed.adapters["medical"].drift == 0.25 and placed.adapters["medical"].runs_on == RunsOn(
        "0" * 12, REFRESHED
    )


def test_the_demo_releases_keep_their_bytes() -> None:
    """Those of format 1 that were published with the project: read, and written as they were."""
    folder = Path(__file__).parents[2] / "adapters" / "releases"
    for number in range(1, 8):
        data = (folder / f"{number:04d}.json").read_bytes()
        release = Release.from_json(data)
        assert release.format == 1 and release.number == number and release.to_json() == data
        assert release.backbone is not None
        newest = release.backbone.version
        assert {release.backbone_of(entry) for entry in release.served()} == {newest}
        states = {name: release.state_of(entry) for name, entry in release.adapters.items()}
        assert states == dict.fromkeys(["code", "financial", "legal", "medical"], REFRESHED) | {
            "science": PINNED
        }


def test_an_unknown_format_is_refused_before_its_content() -> None:
    with pytest.raises(IncompatibleError, match="format 99, expected 2; upgrade crma"):
        Release.from_json(b'{"format": 99, "parts": []}')
    with pytest.raises(IncompatibleError, match="format 99"):
        Pointer.from_json(b'{"format": 99}')


def test_same_content_looks_past_number_date_and_note() -> None:
    release = Release.from_json(json.dumps(DOCUMENT).encode())
    assert release.same_content(replace(release, number=9, created="later", note="again"))
    assert not release.same_content(replace(release, backbone=None))


def test_the_pointer_is_the_contract() -> None:
    pointer = Pointer(release=3, sha256="c" * 64)
    assert json.loads(pointer.to_json()) == {"format": 1, "release": 3, "sha256": "c" * 64}
    assert Pointer.from_json(pointer.to_json()) == pointer
