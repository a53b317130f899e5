"""Where things that can be made again live: converted models, unpacked packages, composed bundles.

Owns: the cache's location and the write-beside-and-rename step. Knows nothing of what is cached.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE_VARIABLE = "CRMA_CACHE"


def cache_dir(*parts: str) -> Path:
    """The cache folder (`$CRMA_CACHE`, else `~/.cache/crma`) joined with `parts`; not created here."""
    root = os.environ.get(CACHE_VARIABLE)
    return (Path(root) if root else Path.home() / ".cache" / "crma").joinpath(*parts)


def make_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Return `target`, made by `fill(folder)` if missing; a half-made folder never bears its name.

    Two processes may race: both fill a folder of their own, and the first rename wins.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fill(beside)
        try:
            beside.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target
