"""A served store behind a URL: its mirror follows while the source is there, and stays while it is not."""

import asyncio
import pickle
import uuid
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from crma_adapters.errors import IntegrityError, StoreAwayError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.release import Pointer, Release
from crma_adapters.store.sources.location import StoreUrl
from crma_adapters.store.sources.mirror import Mirror
from crma_adapters.store.sources.opening import mirror_of
from crma_adapters.store.sources.remote import RemoteFiles
from crma_adapters.store.sources.remote_store import RemoteStore
from crma_adapters.store.store import Store
from crma_server.releases.following import follow_source, open_served
from crma_server.releases.plan import SourceConfig


class Source:
    """A store in memory that any number of releases can be put into; they hold nothing."""

    def __init__(self) -> None:
        self.files = fsspec.filesystem("memory")
        self.place = f"/following/{uuid.uuid4().hex}"
        self.url = StoreUrl(f"memory:/{self.place}")

    def publish(self, number: int, *, claim: int | None = None) -> None:
        document = Release(
            claim or number, "2026-01-01T00:00:00Z", "tiny", "ab" * 32, None, {}, None
        ).to_json()
        digest = sha256(document).hexdigest()
        self.files.pipe_file(f"{self.place}/releases/{number:04d}.json", document)
        self.files.pipe_file(f"{self.place}/release.json", Pointer(number, digest).to_json())


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Takes every source away, and brings it back."""
    read = RemoteFiles.read_document

    def gone(*_: object, **__: object) -> None:
        raise StoreAwayError("memory: cannot be reached")

    def switch(on: bool) -> None:
        monkeypatch.setattr(RemoteFiles, "read_document", gone if on else read)

    return switch


def test_a_folder_is_served_as_it_is(tmp_path: Path) -> None:
    assert type(open_served(tmp_path)) is Store


def test_a_start_without_the_source_serves_what_was_fetched(
    source: Source, tmp_path: Path, away: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    away(True)
    with pytest.raises(StoreAwayError):
        open_served(source.url, tmp_path)
    away(False)
    source.publish(1)
    assert open_served(source.url, tmp_path).live().number == 1
    away(True)
    assert open_served(source.url, tmp_path).live().number == 1
    assert "serving what was fetched before" in capsys.readouterr().err


def test_it_follows_says_each_trouble_once_and_goes_on(
    source: Source, tmp_path: Path, away: Callable[[bool], None], capsys: pytest.CaptureFixture[str]
) -> None:
    source.publish(1)
    store = open_served(source.url, tmp_path)
    assert isinstance(store, RemoteStore)
    counted: list[str] = []

    async def live(number: int) -> None:
        async with asyncio.timeout(60):
            while store.live().number != number:
                await asyncio.sleep(0.01)

    async def story() -> None:
        following = asyncio.create_task(follow_source(store.mirror, 0.01, counted.append))
        source.publish(2)
        await live(2)
        away(True)
        await asyncio.sleep(0.3)
        source.publish(3)
        away(False)
        await live(3)
        source.publish(4, claim=7)  # a document that is another release by its content
        await asyncio.sleep(0.3)
        assert store.live().number == 3
        source.publish(5)
        await live(5)
        await asyncio.sleep(0.3)  # and says so
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(story())
    said = capsys.readouterr().err
    assert said.count("cannot be reached; what is live stays") == 1
    assert said.count("is release 7 by its content") == 1
    assert said.count("is followed again") == 2
    assert counted == [IntegrityError.__name__]


def test_an_origin_travels_to_another_process_with_its_mirror(source: Source, tmp_path: Path) -> None:
    source.publish(1)
    mirror: Mirror = mirror_of(source.url, tmp_path)
    mirror.sync()
    origin = SourceConfig(mirror.root, BaseModel("tiny", tmp_path, "f" * 64), (), 3, mirror)
    copy: SourceConfig = pickle.loads(pickle.dumps(origin))  # noqa: S301, as vLLM hands it on
    store = copy.store()
    assert isinstance(store, RemoteStore)
    source.publish(2)
    assert store.mirror.sync()
    assert store.live().number == 2
