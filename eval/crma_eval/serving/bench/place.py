"""Where a run keeps what it measures: a folder that follows from everything the figures depend on."""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Code under measurement. Found, not imported: measuring a server needs none of it here.
_PACKAGES = ("crma_server", "crma_router", "crma_adapters")


def place_of(work: Path, name: str, facts: Mapping[str, Any]) -> Path:
    """A folder of `work`, another one for other `facts` or after a change of the code that is measured."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for package in _PACKAGES:
        digest.update(_sources(package))
    return work / f"{name}-{digest.hexdigest()[:12]}"


def _sources(package: str) -> bytes:
    found = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []
    digest = hashlib.sha256()
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()
