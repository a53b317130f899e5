"""The releases of a store: one document each, and the pointer that says which is live.

    releases/NNNN.json   a release, never changed once the pointer has named it
    release.json         the pointer; renaming it into place is what publishes

Owns: reading and appending these documents. Whether a release may be served is `verify`'s to say.
"""

from hashlib import sha256
from pathlib import Path

from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.io.durable import make_folder_durably, write_durably
from crma_adapters.io.regular_files import check_no_symlink, read_document
from crma_adapters.store.folders import how_to_make
from crma_adapters.store.release import Pointer, Release

POINTER_FILE = "release.json"
RELEASES_FOLDER = "releases"


class ReleaseLedger:
    """The release documents of the store at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def pointer(self) -> Pointer:
        """Which release is live. Raises `StoreError` if none is, `IntegrityError` if malformed."""
        path = self.root / POINTER_FILE
        if not path.exists() and not path.is_symlink():
            raise StoreError(f"store {self.root} has no {POINTER_FILE}; {how_to_make(self.root)}")
        return Pointer.from_json(read_document(path), str(path))

    def live(self) -> Release:
        """The live release, its document checked against the pointer. Raises as `pointer`."""
        pointer = self.pointer()
        path, data = self._read(pointer.release)
        given = sha256(data).hexdigest()
        if given != pointer.sha256:
            raise IntegrityError(
                f"{path}: sha256 is {given}, {POINTER_FILE} says {pointer.sha256}; restore it, or go back to "
                "another release with `crma-adapters rollback N`"
            )
        return _parse(path, data, pointer.release)

    def release(self, number: int) -> Release:
        """A release by number. Raises `StoreError` if there is none of that number."""
        numbers = self._numbers()
        if number not in numbers:
            known = ", ".join(map(str, numbers)) or "none"
            raise StoreError(f"store {self.root} has no release {number}; expected one of: {known}")
        path, data = self._read(number)
        return _parse(path, data, number)

    def releases(self) -> list[Release]:
        """Every release that was ever live, oldest first. Raises as `pointer`."""
        live = self.pointer().release
        # A publisher killed before it moved the pointer leaves one document above it.
        return [self.release(number) for number in self._numbers() if number <= live]

    def latest(self, count: int) -> list[Release]:
        """The live release and up to `count` - 1 before it, oldest first; older documents are not read.

        Raises as `live` and `release`.
        """
        live = self.live()
        before = [number for number in self._numbers() if number < live.number]
        return [*(self.release(number) for number in before[max(0, len(before) + 1 - count) :]), live]

    def next_number(self) -> int:
        """The number of the next release, also where publishing is to mend a lost or damaged pointer."""
        try:
            return self.pointer().release + 1
        except IncompatibleError:
            raise
        except StoreError:
            # 0001 alone is a first publication that was killed, not a history.
            return max((number for number in self._numbers() if number > 1), default=0) + 1

    def append(self, release: Release) -> None:
        """Write a release, then make it live. Only for the holder of the store's lock."""
        make_folder_durably(self.root / RELEASES_FOLDER)
        data = release.to_json()
        write_durably(self.root, self._path(release.number), data)
        pointer = Pointer(release=release.number, sha256=sha256(data).hexdigest())
        write_durably(self.root, self.root / POINTER_FILE, pointer.to_json())

    def _path(self, number: int) -> Path:
        return self.root / RELEASES_FOLDER / f"{number:04d}.json"

    def _read(self, number: int) -> tuple[Path, bytes]:
        path = self._path(number)
        check_no_symlink(self.root, path)
        return path, read_document(path)

    def _numbers(self) -> list[int]:
        names = (path.stem for path in (self.root / RELEASES_FOLDER).glob("*.json"))
        return sorted(int(name) for name in names if name.isdecimal() and f"{int(name):04d}" == name)


def _parse(path: Path, data: bytes, number: int) -> Release:
    release = Release.from_json(data, str(path))
    if release.number != number:
        raise IntegrityError(f"{path}: is release {release.number} by its content; restore the file")
    return release
