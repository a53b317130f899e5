"""An S3 server on this machine, which can be taken away and brought back with what it held."""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from crma_adapters.models.cache import CACHE_VARIABLE
from crma_adapters.store.sources.location import StoreUrl
from crma_adapters.store.sources.opening import mirror_of
from crma_adapters.store.sources.remote_store import RemoteStore

SECRET = "not-for-anybodys-eyes"
_NUMBERS = itertools.count(1)


@dataclass
class Bucket:
    """One bucket of the server, a store below it at `url`."""

    server: ThreadedMotoServer
    port: int
    name: str
    cache: Path
    client: Any
    url: StoreUrl = field(init=False)

    def __post_init__(self) -> None:
        self.url = StoreUrl(f"s3://{self.name}/team/adapters")

    def key(self, name: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": f"team/adapters/{name}"}

    def read(self, name: str) -> bytes:
        data: bytes = self.client.get_object(**self.key(name))["Body"].read()
        return data

    def write(self, name: str, data: bytes) -> None:
        self.client.put_object(**self.key(name), Body=data)

    def names(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket=self.name, Prefix="team/adapters/").get("Contents", [])
        return {entry["Key"].removeprefix("team/adapters/") for entry in found}

    def upload(self, root: Path) -> None:
        """Put a folder there as any copying tool would."""
        for path in root.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                self.write(path.relative_to(root).as_posix(), path.read_bytes())

    def store(self, cache: str = "a", *, keep: int = 1) -> RemoteStore:
        """The store as a machine with a cache of its own would open it; nothing is fetched yet."""
        return RemoteStore(mirror_of(self.url, self.cache / cache, keep=keep))

    def leave(self) -> None:
        """The server goes away; what it holds stays."""
        self.server.stop()

    def come_back(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self.server.start()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[ThreadedMotoServer, int]]:
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server, server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def bucket(
    s3_server: tuple[ThreadedMotoServer, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    server, port = s3_server
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        CACHE_VARIABLE: str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    name = f"bucket-{next(_NUMBERS)}"
    client.create_bucket(Bucket=name)
    yield Bucket(server, port, name, tmp_path / "caches", client)
