"""The names that may stand in a store: domains, versions, and how a version follows from content.

Owns: what a name looks like. Knows nothing of folders or files; because every name is checked here before it
becomes a path, no name can lead out of the store.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePath

from crma_adapters.errors import StoreError

# Model names the server gives a meaning of its own, and folders of the store that hold no domain.
RESERVED_NAMES = frozenset({"auto", "base", "backbone", "router", "releases"})

_LONGEST = 63
_DOMAIN = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VERSION = re.compile(r"[0-9a-f]{12}")


def is_domain_name(name: str) -> bool:
    """Whether a domain may bear this name."""
    return _DOMAIN.fullmatch(name) is not None and name not in RESERVED_NAMES


def check_domain_name(name: str) -> str:
    """Return `name`, or raise `StoreError` if no domain may bear it."""
    if not is_domain_name(name):
        raise StoreError(
            f"domain name {name!r} cannot be used: expected a lower-case letter, then at most 62 of "
            f"a-z 0-9 _ -, and none of {', '.join(sorted(RESERVED_NAMES))}; rename it"
        )
    return name


def domain_name_for(path: PurePath) -> str | None:
    """The domain name for a folder somebody named: `Legal EU` is `legal-eu`, `org/My.Lora` `org-my-lora`.

    A folder of a hub's cache (`models--org--name/snapshots/<commit>`) is `name`. None if no name is left.
    """
    first = path.parts[0] if path.parts else ""
    text = first.split("--")[-1] if first.startswith("models--") else "-".join(path.parts)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    name = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-_")[:_LONGEST].rstrip("-_")
    if re.search(r"[a-z]", name) is None:
        return None
    if not name[0].isalpha():
        name = f"lora-{name}"[:_LONGEST].rstrip("-_")
    return str(path) if is_domain_name(str(path)) else name if is_domain_name(name) else None


def is_version(version: str) -> bool:
    """Whether this is a version: 12 lower-case hex characters."""
    return _VERSION.fullmatch(version) is not None


def check_version(version: str) -> str:
    """Return `version`, or raise `StoreError` if it is not 12 lower-case hex characters."""
    if not is_version(version):
        raise StoreError(
            f"version {version!r} is not one: expected 12 lower-case hex characters; "
            "`crma-adapters list` shows those there are"
        )
    return version


def version_of(files: Mapping[str, str]) -> str:
    """The version of a part, from its file names and their sha256 hex digests: same content, same version."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]
