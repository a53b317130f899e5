"""Measurements of peers kept by what they were made of, so that a stopped run goes on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from crma_adapters.io.durable import write_durably
from crma_eval.routing.peers.measure import Measured


def kept(folder: Path, name: str, digest: str, measure: Callable[[], Measured]) -> Measured:
    """What `folder` has of the peer `name` on the split of `digest`; measured and kept if it has nothing."""
    key = hashlib.sha256(f"{name}\n{digest}".encode()).hexdigest()[:16]
    path, form = folder / f"{key}.json", TypeAdapter(Measured)
    if path.is_file():
        try:
            return form.validate_json(path.read_bytes())
        except ValidationError:
            pass  # damaged, or of another version: measured again
    found = measure()
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder, path, form.dump_json(found))
    return found
