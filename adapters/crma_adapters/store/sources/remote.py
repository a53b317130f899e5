"""The files of a store behind a URL: whole, in ranges, by ETag; written only where a condition can hold.

Errors name the URL, the kind of failure and its code, never a library's own text: that may hold credentials.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from crma_adapters.errors import ConfigError, CrmaError, IntegrityError, StoreAwayError, StoreError
from crma_adapters.io.document import MAX_DOCUMENT_BYTES
from crma_adapters.store.sources.location import StoreUrl

T = TypeVar("T")
WAITS_S: tuple[float, ...] = (0.2, 1.0, 3.0)
PROBE_FILE = ".crma-conditional"

_S3 = frozenset({"s3", "s3a"})
_REFUSED = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_CONFLICT = frozenset({"412", "409", "PreconditionFailed", "ConditionalRequestConflict"})
_S3_OPTIONS = {
    "skip_instance_cache": True,
    "config_kwargs": {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}},
}


@dataclass(frozen=True)
class RemoteDocument:
    """A small file and, where the source tells one, its ETag."""

    data: bytes
    etag: str | None


class RemoteFiles:
    """What lies below `url`; names are relative, such as `medical/6b401292c172/adapter.json`.

    Every method raises `StoreAwayError` if the source cannot be reached, `StoreError` if it refuses, and
    `ConfigError` if the library for it is not installed. The connection is made by the first of them.
    """

    def __init__(self, url: StoreUrl) -> None:
        self.url = url
        self._scheme = url.text.partition("://")[0]
        self._filesystem: Any = None

    def read_document(self, name: str, *, unless: str | None = None) -> RemoteDocument | None:
        """A document of up to `MAX_DOCUMENT_BYTES`; None if its ETag is still `unless`.

        Raises `IntegrityError` if it is larger, `FileNotFoundError` if there is none.
        """
        with self._told(name, missing=True):
            found = self._read_s3(name, unless) if self._is_s3 else self._read_any(name, unless)
        if found is not None and len(found.data) > MAX_DOCUMENT_BYTES:
            raise IntegrityError(
                f"{self.url}/{name}: is over {MAX_DOCUMENT_BYTES} bytes; expected a small JSON document"
            )
        return found

    def size_bytes(self, name: str) -> int:
        """The size of a file. Raises `StoreError` also if it is missing or the source does not tell."""
        with self._told(name):
            size = self._files.info(self._path(name)).get("size")
        if not isinstance(size, int) or size < 0:
            raise StoreError(f"{self.url}/{name}: the source tells no size; expected one (Content-Length)")
        return size

    def read_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end`, without `end`; the whole file from a source that knows no ranges."""
        with self._told(name):
            data: bytes = self._files.cat_file(self._path(name), start=start, end=end)
        return data

    def list_names(self, folder: str) -> list[str]:
        """Sorted names of the files in a folder; empty if there is none."""
        with self._told(folder, missing=True):
            try:
                self._files.invalidate_cache()
                entries = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(entry).rstrip("/").rpartition("/")[2] for entry in entries)

    def write_file(self, name: str, source: Path) -> None:
        """Put a file there, whole or not at all, over what is there."""
        self.check_writable()
        with self._told(name):
            self._files.put_file(str(source), self._path(name))

    def write(self, name: str, data: bytes) -> None:
        """As `write_file`, of bytes."""
        self.check_writable()
        with self._told(name):
            self._put(name, data)

    def remove(self, name: str) -> None:
        """Remove a file; nothing if there is none."""
        self.check_writable()
        with self._told(name):
            self._files.call_s3("delete_object", **self._key(name))

    def replace(self, name: str, data: bytes, etag: str | None) -> RemoteDocument | None:
        """Put `data` there if the file's ETag is still `etag` (None: if there is none), and say what is
        there then; None, and nothing written, if it is another."""
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        self.check_writable()
        with self._told(name):
            try:
                reply = self._put(name, data, **condition)
            except Exception as error:
                if _code(error) not in _CONFLICT and not isinstance(error, FileExistsError):
                    raise
                # The library repeats a request whose answer was lost: then the conflict is with ourselves.
                found = self._read_s3_or_none(name)
                return found if found is not None and found.data == data else None
        return RemoteDocument(data, reply["ETag"])

    def check_writable(self) -> None:
        """Raise `StoreError` unless this kind of source has conditional writes."""
        if not self._is_s3:
            raise StoreError(
                f"{self.url}: cannot be published to: {self._scheme}:// has no conditional write here, and "
                "without one two publishers may lose a release; publish to s3://, or to a folder and copy "
                "that, release.json last"
            )

    def check_conditional(self) -> None:
        """Raise `StoreError` unless the server itself honours conditions; an old one ignores them."""
        self.check_writable()
        with self._told(PROBE_FILE):
            self._put(PROBE_FILE, b"")
        if self.replace(PROBE_FILE, b"none", None) or self.replace(PROBE_FILE, b"other", '"0"'):
            raise StoreError(
                f"{self.url}: the server wrote over a file against If-None-Match or If-Match; expected 412: "
                "publish to a server with conditional writes (AWS S3, MinIO since 2024), or to a folder"
            )

    @property
    def _is_s3(self) -> bool:
        return self._scheme in _S3

    @property
    def _files(self) -> Any:
        if self._filesystem is None:
            try:
                import fsspec

                options = dict(_S3_OPTIONS) if self._is_s3 else {"skip_instance_cache": True}
                self._filesystem, _ = fsspec.core.url_to_fs(self.url.text, **options)
            except (ImportError, ValueError) as error:
                raise ConfigError(
                    f"{self.url}: no library here opens {self._scheme}:// ({type(error).__name__}); expected "
                    "the one for it: pip install 'crma[remote]' for s3://, gcsfs for gs://, "
                    "huggingface_hub for hf://, or mount the store as a folder"
                ) from None
        return self._filesystem

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_filesystem": None}  # connections do not travel to another process

    def _path(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _key(self, name: str) -> dict[str, str]:
        bucket, key, _ = self._files.split_path(self._path(name))
        return {"Bucket": bucket, "Key": key}

    def _put(self, name: str, data: bytes, **condition: str) -> dict[str, Any]:
        reply: dict[str, Any] = self._files.call_s3("put_object", **self._key(name), Body=data, **condition)
        return reply

    def _read_s3_or_none(self, name: str) -> RemoteDocument | None:
        try:
            return self._read_s3(name, None)
        except FileNotFoundError:
            return None

    def _read_s3(self, name: str, unless: str | None) -> RemoteDocument | None:
        from fsspec.asyn import sync

        condition = {"IfNoneMatch": unless} if unless else {}
        files, key = self._files, self._key(name)

        async def read() -> RemoteDocument:
            reply = await files._call_s3("get_object", **key, **condition)
            try:
                data = await reply["Body"].read(MAX_DOCUMENT_BYTES + 1)
            finally:
                reply["Body"].close()
            return RemoteDocument(data, reply.get("ETag"))

        try:
            found: RemoteDocument = sync(files.loop, read)
        except Exception as error:
            if unless and _code(error) in ("304", "NotModified"):
                return None
            raise
        return found

    def _read_any(self, name: str, unless: str | None) -> RemoteDocument | None:
        self._files.invalidate_cache()
        facts = self._files.info(self._path(name))
        etag = next((facts[key] for key in ("ETag", "etag", "blob_id") if facts.get(key)), None)
        if unless is not None and etag == unless:
            return None
        return RemoteDocument(self._files.cat_file(self._path(name), 0, MAX_DOCUMENT_BYTES + 1), etag)

    @contextmanager
    def _told(self, name: str, *, missing: bool = False) -> Iterator[None]:
        """What a library raises, as this project's errors; with `missing` a missing file stays what it is."""
        try:
            yield
        except CrmaError:
            raise
        except FileNotFoundError:
            if missing:
                raise FileNotFoundError(f"{self.url}/{name}") from None
            raise StoreError(
                f"{self.url}/{name}: is missing at its source; restore it, or publish again"
            ) from None
        except Exception as error:
            raise self._error(name, error) from None

    def _error(self, name: str, error: Exception) -> StoreError:
        code = _code(error)
        kind = f"{type(error).__name__}{f', {code}' if code else ''}"
        if isinstance(error, PermissionError) or code in _REFUSED or "Credentials" in type(error).__name__:
            return StoreError(
                f"{self.url}/{name}: refused ({kind}); expected credentials that may: give them as the "
                "store's own library takes them (environment, configuration file, instance role)"
            )
        return StoreAwayError(f"{self.url}/{name}: cannot be reached ({kind}); see to the source or network")


def _code(error: BaseException | None) -> str | None:
    """The HTTP status or the S3 code of a failure, if it has one."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code"))
        if isinstance(status := getattr(error, "status", None), int):
            return str(status)
        error = error.__cause__
    return None


def patiently(call: Callable[[], T]) -> T:
    """`call()`, tried again after each of `WAITS_S` while the source is away. Raises as its last try."""
    for wait_s in WAITS_S:
        try:
            return call()
        except StoreAwayError:
            time.sleep(wait_s)
    return call()
