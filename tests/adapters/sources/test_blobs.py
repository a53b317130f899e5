"""Fetching large files: in parts, resumed after a kill, from servers that know no ranges."""

import functools
import hashlib
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crma_adapters.errors import ConfigError, IntegrityError, StoreAwayError, StoreError
from crma_adapters.store.sources import remote as remote_module
from crma_adapters.store.sources.blobs import BlobCache
from crma_adapters.store.sources.location import StoreUrl
from crma_adapters.store.sources.remote import RemoteFiles

if TYPE_CHECKING:
    from tests.adapters.sources.conftest import Bucket

DATA = random.Random(0).randbytes(3 * 2**20 + 17)
SHA256 = hashlib.sha256(DATA).hexdigest()
CHUNK = 64 * 2**10
FETCH = """
import sys
from pathlib import Path
from crma_adapters.store.sources.blobs import BlobCache
from crma_adapters.store.sources.location import StoreUrl
from crma_adapters.store.sources.remote import RemoteFiles
url, cache, sha256 = sys.argv[1:]
BlobCache(Path(cache), chunk_bytes=65536).fetch(RemoteFiles(StoreUrl(url)), "big", sha256)
"""


class Counted(RemoteFiles):
    """Notes where every range began; `cut` ends the connection once that many bytes came."""

    def __init__(self, url: StoreUrl, cut: int | None = None) -> None:
        super().__init__(url)
        self.starts = list[int]()
        self.cut = cut

    def read_range(self, name: str, start: int, end: int) -> bytes:
        self.starts.append(start)
        if self.cut is not None and start >= self.cut:
            raise StoreAwayError("cut")
        return super().read_range(name, start, end)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_module, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[StoreUrl]:
    """A web server that ignores Range, as Python's own does."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "big").write_bytes(DATA)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield StoreUrl(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()


def test_a_cut_fetch_goes_on_where_it_was(bucket: "Bucket", tmp_path: Path) -> None:
    bucket.write("big", DATA)
    cache = BlobCache(tmp_path / "blobs", chunk_bytes=CHUNK)
    with pytest.raises(StoreAwayError):
        cache.fetch(Counted(bucket.url, cut=10 * CHUNK), "big", SHA256)
    second = Counted(bucket.url)
    assert cache.fetch(second, "big", SHA256).read_bytes() == DATA
    assert second.starts[0] == 10 * CHUNK
    third = Counted(bucket.url)
    cache.fetch(third, "big", SHA256)
    assert third.starts == []
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [SHA256]


def test_a_killed_process_leaves_what_the_next_goes_on_with(bucket: "Bucket", tmp_path: Path) -> None:
    bucket.write("big", DATA)
    partial = tmp_path / "blobs" / f"{SHA256}.partial"
    command = [sys.executable, "-c", FETCH, str(bucket.url), str(tmp_path / "blobs"), SHA256]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while not (partial.exists() and partial.stat().st_size > 2 * CHUNK):
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    had = partial.stat().st_size
    assert 0 < had < len(DATA)
    rest = Counted(bucket.url)
    assert BlobCache(tmp_path / "blobs").fetch(rest, "big", SHA256).read_bytes() == DATA
    assert rest.starts[0] == had


def test_what_is_not_the_release_s_is_refused_and_not_kept(bucket: "Bucket", tmp_path: Path) -> None:
    bucket.write("big", DATA[:-1] + b"\0")
    cache = BlobCache(tmp_path / "blobs", chunk_bytes=2**20)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"{SHA256}.partial").write_bytes(DATA[:100])
    with pytest.raises(IntegrityError, match="the release says"):
        cache.fetch(RemoteFiles(bucket.url), "big", SHA256)
    assert list((tmp_path / "blobs").iterdir()) == []


def test_a_partial_file_of_something_else_is_begun_anew(bucket: "Bucket", tmp_path: Path) -> None:
    bucket.write("big", DATA)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"{SHA256}.partial").write_bytes(b"junk" * 1000)
    cache = BlobCache(tmp_path / "blobs")
    assert cache.fetch(RemoteFiles(bucket.url), "big", SHA256).read_bytes() == DATA


def test_a_server_without_ranges_will_do(web: StoreUrl, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    cache = BlobCache(tmp_path / "blobs", chunk_bytes=CHUNK)
    assert cache.fetch(RemoteFiles(web), "big", SHA256).read_bytes() == DATA
    (tmp_path / "blobs" / SHA256).rename(tmp_path / "blobs" / f"{SHA256}.partial")
    os.truncate(tmp_path / "blobs" / f"{SHA256}.partial", 1000)
    assert cache.fetch(RemoteFiles(web), "big", SHA256).read_bytes() == DATA


def test_several_at_once_fetch_it_once(bucket: "Bucket", tmp_path: Path) -> None:
    bucket.write("big", DATA)
    remote, cache = Counted(bucket.url), BlobCache(tmp_path / "blobs", chunk_bytes=2**22)
    threads = [threading.Thread(target=cache.fetch, args=(remote, "big", SHA256)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert remote.starts == [0]
    assert (tmp_path / "blobs" / SHA256).read_bytes() == DATA


def test_a_closed_cache_stops_at_once(bucket: "Bucket", tmp_path: Path) -> None:
    bucket.write("big", DATA)
    cache = BlobCache(tmp_path / "blobs", chunk_bytes=CHUNK)
    cache.close()
    with pytest.raises(StoreAwayError, match="this process is ending"):
        cache.fetch(RemoteFiles(bucket.url), "big", SHA256)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "s3://no-such-bucket/x"])
@pytest.mark.usefixtures("bucket")
def test_errors_name_the_place_and_no_secret(url: str) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    with pytest.raises((StoreError, FileNotFoundError)) as caught:
        RemoteFiles(StoreUrl(url)).read_document("release.json")
    assert f"{url}/release.json" in str(caught.value)
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None, "a library's own words would stand in the log"


def test_an_unknown_scheme_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"no library here opens nowhere://.*crma\[remote\]"):
        RemoteFiles(StoreUrl("nowhere://x/y")).read_document("release.json")


def test_only_s3_is_published_to() -> None:
    with pytest.raises(StoreError, match=r"no conditional write here.*s3://"):
        RemoteFiles(StoreUrl("memory://x/y")).check_conditional()
