"""No name leads out of a store, and a version is its content."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import StoreError
from crma_adapters.store.names import check_domain_name, check_version, is_domain_name, version_of


@pytest.mark.parametrize("name", ["medical", "a", "a-b_c9", "a" * 63])
def test_domain_names(name: str) -> None:
    assert check_domain_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Medical",
        "9lives",
        "a" * 64,
        "..",
        "a/b",
        "a.b",
        "médical",
        "a\n",
        "auto",
        "base",
        "router",
        "releases",
    ],
)
def test_what_no_domain_may_be_called(name: str) -> None:
    with pytest.raises(StoreError, match="cannot be used: expected"):
        check_domain_name(name)


@given(st.text())
def test_a_domain_name_is_one_plain_path_step(name: str) -> None:
    if is_domain_name(name):
        assert name.isascii() and not set(name) & set("/\\.\0 \n:@")


@pytest.mark.parametrize("version", ["", "0" * 11, "0" * 13, "../../../etc", "ABCDEF012345", "0123456789a\n"])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(StoreError, match="expected 12 lower-case hex"):
        check_version(version)


def test_version_is_the_digest_of_names_and_digests() -> None:
    files = {"b.json": "2" * 64, "a.json": "1" * 64}
    text = b"a.json\0" + b"1" * 64 + b"\nb.json\0" + b"2" * 64 + b"\n"
    assert version_of(files) == hashlib.sha256(text).hexdigest()[:12]
    assert version_of(dict(reversed(files.items()))) == version_of(files)
    assert version_of(files) != version_of({"a.json": "2" * 64, "b.json": "1" * 64})
