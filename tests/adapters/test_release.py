"""A release document says one thing, the same after a round trip; nothing unknown is let through."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import IncompatibleError, IntegrityError
from crma_adapters.store.names import is_domain_name
from crma_adapters.store.release import AdapterEntry, Canary, Part, Pointer, Release

versions = st.text("0123456789abcdef", min_size=12, max_size=12)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
parts = st.builds(
    Part, version=versions, files=st.dictionaries(st.sampled_from(["a.json", "b_c.safetensors"]), digests)
)
trained_on = st.none() | versions
drifts = st.none() | st.floats(allow_nan=False, allow_infinity=False)
weights = st.floats(0, 1, exclude_min=True, exclude_max=True)
canaries = st.builds(Canary, part=parts, trained_on_backbone=trained_on, drift=drifts, weight=weights)
entries = st.builds(
    AdapterEntry,
    part=parts,
    trained_on_backbone=trained_on,
    drift=drifts,
    canary=st.none() | canaries,
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
releases = st.builds(
    Release,
    number=st.integers(1, 10**9),
    created=text,
    base_model=text,
    base_fingerprint=digests,
    backbone=st.none() | parts,
    adapters=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True).filter(is_domain_name), entries
    ),
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


def test_an_unknown_format_is_refused_before_its_content() -> None:
    with pytest.raises(IncompatibleError, match="format 99, expected 1; upgrade crma"):
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
