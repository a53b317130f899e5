"""What `--adapters` may be."""

from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_adapters.store.sources.location import StoreUrl, parse_location
from crma_adapters.store.sources.opening import mirror_of


@pytest.mark.parametrize("text", ["adapters", "./adapters", "/srv/adapters", "a:b", "s3:/bucket"])
def test_a_folder_is_a_path(text: str) -> None:
    assert parse_location(text) == Path(text)


def test_a_file_url_is_its_folder() -> None:
    assert parse_location("file:///srv/my%20adapters") == Path("/srv/my adapters")


@pytest.mark.parametrize(
    "text", ["s3://bucket/team/adapters", "gs://b", "hf://org/repo", "https://host:8443/x", "memory://m/x"]
)
def test_anything_else_is_a_url(text: str) -> None:
    assert parse_location(text + "/") == StoreUrl(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAX:hunter2@bucket/x",
        "https://me:hunter2@host/x",
        "https://host/x?X-Amz-Signature=hunter2",
        "https://host/x#hunter2",
    ],
)
def test_secrets_in_a_url_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="a user, a password, a query or a fragment") as caught:
        parse_location(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("text", "told"), [("s3:///x", "no host or bucket"), ("s3://b/../c", r"`\.\.`")])
def test_what_names_no_place_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_location(text)


def test_two_stores_never_share_a_mirror(tmp_path: Path) -> None:
    urls = ["s3://a/b-c", "s3://a-b/c", "gs://a/b-c", "https://a/b-c", "s3://" + "long/" * 40 + "b-c"]
    roots = {mirror_of(StoreUrl(url), tmp_path).root for url in urls}
    assert len(roots) == len(urls)
    assert all(root.parent == tmp_path for root in roots)
