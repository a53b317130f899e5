"""Writing a folder of files all or nothing: a reader sees the old folder, the new one, or none.

Owns: what happens to a folder that is there already. Knows nothing of what the files mean.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from crma_adapters.errors import StoreError
from crma_adapters.io.durable import make_folder_durably, move_folder_durably, temporary_path, write_durably


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Make `target` a folder of exactly `files` (name to content), beside and renamed.

    Nothing is touched if it is that already. Raises `StoreError` if `target` holds anything but older
    versions of these files: it is not ours to replace.
    """
    if _holds(target, files):
        return
    _check_replaceable(target, files)
    temporary = temporary_path(target.parent)
    try:
        make_folder_durably(target.parent)
        temporary.mkdir()
        for name, content in files.items():
            write_durably(temporary, temporary / name, content)
        move_folder_durably(target.parent, temporary, target)
    except OSError as error:
        if not _holds(target, files):  # else another process wrote the same just now
            raise StoreError(
                f"{target}: cannot be written ({error.strerror}); free or change the path"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _holds(target: Path, files: Mapping[str, bytes]) -> bool:
    try:
        names = {entry.name for entry in target.iterdir()}
        return names == set(files) and all((target / name).read_bytes() == files[name] for name in names)
    except OSError:
        return False


def _check_replaceable(target: Path, files: Mapping[str, bytes]) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise StoreError(
            f"{target}: is no folder; expected a folder, or nothing, to write {sorted(files)} to"
        )
    others = (
        sorted(entry.name for entry in target.iterdir() if entry.name not in files) if target.exists() else []
    )
    if others:
        raise StoreError(f"{target}: holds {others[0]}, which is not ours to replace; give an empty folder")
