"""What may be given to `--adapters`: a folder, or the URL of a store elsewhere."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from crma_adapters.errors import ConfigError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


@dataclass(frozen=True)
class StoreUrl:
    """The URL of a store, without a slash at its end; it never holds credentials."""

    text: str

    def __str__(self) -> str:
        return self.text


Location = Path | StoreUrl


def parse_location(text: str | Path) -> Location:
    """A folder's path, or a `StoreUrl` for anything with `://`; a `file://` URL is the folder.

    Raises `ConfigError` for a URL with a user, a password, a query or a fragment. Its text is not repeated:
    those hold secrets.
    """
    text = str(text)
    if not _SCHEME.match(text):
        return Path(text)
    parts = urlsplit(text)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"--adapters {parts.scheme}://...: has a user, a password, a query or a fragment; expected only "
            "scheme, host or bucket, and path: give credentials as the store's own library takes them "
            "(environment, configuration file, instance role)"
        )
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if not parts.netloc:
        raise ConfigError(f"--adapters {text}: names no host or bucket; expected {parts.scheme}://NAME/PATH")
    if ".." in parts.path.split("/"):
        raise ConfigError(f"--adapters {text}: has `..` in its path; expected the store's own path")
    return StoreUrl(text.rstrip("/"))
