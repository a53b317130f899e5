"""Stores made to harm: release documents that lie though their digests agree, and parts that are not theirs.

Each kind is made several times with other numbers in a copy of a sound store. What a server does with it
(read the live release, verify it) must end in an error that names the harm; `rollback` must not publish it.
"""

import json
import os
import pickle
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.io.document import MAX_DOCUMENT_BYTES
from crma_adapters.store.release import Pointer, Release
from crma_adapters.store.sources.location import StoreUrl
from crma_adapters.store.sources.opening import mirror_of
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Nth, Workshop

Document = dict[str, Any]
Spoil = Callable[[Path, "Nth"], object]
OUT = [
    "../../../../etc",
    "/etc/passwd",
    "..",
    "",
    ".",
    "a" * 11,
    "A" * 12,
    "a" * 13,
    "0" * 11 + "\n",
    12,
    None,
]
FEW = ["../../../../etc", "/etc/passwd", ""]
"""For every other place of a version: the check is the same one."""


@dataclass(frozen=True)
class Kind:
    """A way to harm: what is done to the store's folder, and what refuses it."""

    spoil: Spoil
    error: type[StoreError]
    told: str
    times: int = 1


def document(change: Callable[[Document, "Nth"], object]) -> Spoil:
    """The release document changed, and the pointer made to agree: as somebody would who can write there."""

    def spoil(root: Path, chance: "Nth") -> None:
        path = root / "releases" / "0001.json"
        found = json.loads(path.read_bytes())
        change(found, chance)
        put_document(root, json.dumps(found).encode())

    return spoil


def raw(make: Callable[["Nth", bytes], bytes]) -> Spoil:
    """Other bytes for the release document, the pointer made to agree."""
    return lambda root, chance: put_document(
        root, make(chance, (root / "releases" / "0001.json").read_bytes())
    )


def put_document(root: Path, data: bytes) -> None:
    (root / "releases" / "0001.json").write_bytes(data)
    (root / "release.json").write_bytes(Pointer(1, sha256(data).hexdigest()).to_json())


def pointer(make: Callable[["Nth", bytes], bytes]) -> Spoil:
    def spoil(root: Path, chance: "Nth") -> None:
        path = root / "release.json"
        path.write_bytes(make(chance, path.read_bytes()))

    return spoil


def at(*steps: str) -> Callable[[Document], Document]:
    def find(found: Document) -> Document:
        for step in steps:
            found = found[step]
        return found

    return find


ENTRY, PART = at("adapters", "medical"), at("adapters", "medical", "part")


def put(find: Callable[[Document], Document], **choices: list[Any]) -> Spoil:
    def change(found: Document, chance: "Nth") -> None:
        find(found).update({key: chance.choice(values) for key, values in choices.items()})

    return document(change)


def canary(**choices: list[Any]) -> Spoil:
    """A canary in the document, sound but for the given keys."""

    def change(found: Document, chance: "Nth") -> None:
        entry = ENTRY(found)
        sound: Document = {"part": at("adapters", "legal", "part")(found), "trained_on_backbone": None}
        sound |= {"drift": 0.1, "weight": 0.1}
        entry["canary"] = sound | {key: chance.choice(values) for key, values in choices.items()}

    return document(change)


def placed(**choices: list[Any]) -> Spoil:
    """A document of format 2, sound but for the given keys of one entry."""

    def change(found: Document, chance: "Nth") -> None:
        found["format"] = 2
        for entry in found["adapters"].values():
            entry["runs_on"] = {"backbone": entry["trained_on_backbone"], "state": "pinned"}
        ENTRY(found).update({key: chance.choice(values) for key, values in choices.items()})

    return document(change)


def rename_file(found: Document, chance: "Nth") -> None:
    names = [
        "../adapter.json",
        "/etc/passwd",
        "adapter.pkl",
        "Adapter.json",
        "",
    ]
    files = PART(found)["files"]
    files[chance.choice(names)] = files.pop("adapter.json")


def rename_domain(found: Document, chance: "Nth") -> None:
    names = [
        "../medical",
        "/medical",
        "",
        "base",
        "router",
        "m" * 64,
        "médical",
        "a\0",
    ]
    found["adapters"][chance.choice(names)] = found["adapters"].pop("medical")


def swap_digests(found: Document, _: "Nth") -> None:
    files = PART(found)["files"]
    one, two = sorted(files)[:2]
    files[one], files[two] = files[two], files[one]


def swap_parts(found: Document, _: "Nth") -> None:
    medical, legal = found["adapters"]["medical"], found["adapters"]["legal"]
    medical["part"], legal["part"] = legal["part"], medical["part"]


def any_part(root: Path, chance: "Nth") -> Path:
    """A file of a part of the live release."""
    release = Release.from_json((root / "releases" / "0001.json").read_bytes())
    place, part = chance.choice(list(release.parts()))
    return root / place / part.version / chance.choice(sorted(part.files))


def file(harm: Callable[[Path, "Nth"], object]) -> Spoil:
    return lambda root, chance: harm(any_part(root, chance), chance)


def ledger(harm: Callable[[Path, "Nth"], object]) -> Spoil:
    return lambda root, chance: harm(root / chance.choice(["release.json", "releases/0001.json"]), chance)


def flip(path: Path, chance: "Nth") -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    path.write_bytes(data)


def link(path: Path, _: "Nth") -> None:
    outside = path.parents[2] / "outside"
    shutil.move(path, outside)
    path.symlink_to(outside)


def link_place(root: Path, chance: "Nth") -> None:
    place = root / chance.choice(["medical", "legal", "backbone", "router", "releases"])
    place = chance.choice([place, next(place.iterdir())])
    outside = root.parent / "outside"
    shutil.move(place, outside)
    place.symlink_to(outside)


def fifo(path: Path, _: "Nth") -> None:
    path.unlink()
    os.mkfifo(path)


def beside(path: Path, chance: "Nth") -> None:
    name = chance.choice(["x.pkl", "adapter.py", ".hidden", "adapter_model.safetensors.bak"])
    (path.parent / name).write_bytes(pickle.dumps([]))


def twice(chance: "Nth", sound: bytes) -> bytes:
    keys = list(json.loads(sound))
    key = keys[chance.randrange(len(keys))]
    return sound.strip()[:-1] + f', "{key}": 1}}'.encode()


def junk(chance: "Nth", sound: bytes) -> bytes:
    return chance.choice(
        [
            b"",
            sound[: chance.randrange(1, len(sound) - 2)],
            b"[" * 100_000,
            b" " * (MAX_DOCUMENT_BYTES + 1),
            b"\xff\xfe" + sound,
            pickle.dumps(sound),
            b"null",
        ]
    )


KINDS: dict[str, Kind] = {
    "version that leads out": Kind(put(PART, version=OUT), IntegrityError, "part.version", 11),
    "backbone that leads out": Kind(put(at("backbone"), version=FEW), IntegrityError, "backbone.version", 3),
    "router that leads out": Kind(put(at("router"), version=FEW), IntegrityError, "router.version", 3),
    "origin that leads out": Kind(
        put(ENTRY, trained_on_backbone=FEW), IntegrityError, "trained_on_backbone", 3
    ),
    "file that leads out": Kind(document(rename_file), IntegrityError, "part.files", 5),
    "domain that leads out": Kind(document(rename_domain), IntegrityError, "adapters", 8),
    "version that is not there": Kind(put(PART, version=["0" * 12, "f" * 12]), StoreError, "is missing", 2),
    "digests of other files": Kind(document(swap_digests), IntegrityError, "sha256 is", 1),
    "another domain's part": Kind(document(swap_parts), StoreError, "is missing", 1),
    "digest that is none": Kind(
        document(
            lambda d, c: PART(d)["files"].update({"adapter.json": c.choice(["", "a" * 63, "G" * 64, 1])})
        ),
        IntegrityError,
        "part.files.adapter.json",
        4,
    ),
    "a file left out": Kind(
        document(lambda d, c: PART(d)["files"].pop(c.choice(sorted(PART(d)["files"])))),
        IntegrityError,
        "release names .* expected|has no place in a published",
        3,
    ),
    "surplus keys": Kind(
        document(lambda d, c: c.choice([d, ENTRY(d), PART(d)]).update(command="rm")),
        IntegrityError,
        "command",
        3,
    ),
    "number": Kind(put(at(), number=[0, 2, 10**9, "1", True, None]), IntegrityError, "number|is release", 6),
    "format": Kind(put(at(), format=[0, 3, "1", None, [1]]), IncompatibleError, "format .* expected 2", 5),
    "base of another model": Kind(
        put(at(), base_fingerprint=["cd" * 32, "", "../.."]),
        IncompatibleError,
        "the release is for|base_fing",
        3,
    ),
    "no backbone": Kind(put(at(), backbone=[None]), IncompatibleError, "has it run on None", 1),
    "another origin": Kind(
        put(ENTRY, trained_on_backbone=["0" * 12, None]), IntegrityError, "the release says", 2
    ),
    "drift": Kind(put(ENTRY, drift=["0.1", [], {}, True]), IntegrityError, "drift", 4),
    "no adapters for the router": Kind(
        document(lambda d, c: d["adapters"].pop(c.choice(["legal", "medical"]))),
        IncompatibleError,
        "routes to",
        2,
    ),
    "keys left out": Kind(
        document(lambda d, c: d.pop(c.choice(["number", "created", "base_model", "backbone", "adapters"]))),
        IntegrityError,
        "Field required",
        5,
    ),
    "canary that leads out": Kind(
        canary(part=[{"version": v, "files": {}} for v in FEW]), IntegrityError, "canary.part.version", 3
    ),
    "canary of no share": Kind(canary(weight=[0, 1, -1, "0.1", None]), IntegrityError, "canary.weight", 5),
    "canary that is not there": Kind(canary(), StoreError, "is missing", 1),
    "canary that is live": Kind(
        document(lambda d, _: ENTRY(d).update(canary=ENTRY(d) | {"weight": 0.5})),
        IntegrityError,
        "the canary of medical is its live version",
        1,
    ),
    "canary with more": Kind(canary(path=["/etc"]), IntegrityError, "canary.path", 1),
    "a backbone that is not named": Kind(
        placed(runs_on=[{"backbone": "0" * 12, "state": state} for state in ("pinned", "refreshed")]),
        IncompatibleError,
        "runs on backbone 000000000000, which the release does not have",
        2,
    ),
    "a backbone that is not there": Kind(
        document(
            lambda d, _: d.update(
                {"format": 2, "adapters": {}, "router": None},
                other_backbones={"0" * 12: d["backbone"] | {"version": "0" * 12}},
            )
        ),
        StoreError,
        "is missing",
        1,
    ),
    "a place that leads out": Kind(
        placed(runs_on=[{"backbone": v, "state": "pinned"} for v in FEW]),
        IntegrityError,
        "runs_on.backbone",
        3,
    ),
    "moved without a word": Kind(
        placed(runs_on=[{"backbone": None, "state": "refreshed"}]), IncompatibleError, "records no drift", 1
    ),
    "pinned where it is not": Kind(
        placed(runs_on=[{"backbone": None, "state": "pinned"}]), IntegrityError, "is said to be pinned", 1
    ),
    "an adapter without a place": Kind(
        document(lambda d, _: d.update(format=2)), IntegrityError, "runs_on: missing", 1
    ),
    "a place in format 1": Kind(
        document(lambda d, _: ENTRY(d).update(runs_on={"backbone": None, "state": "pinned"})),
        IntegrityError,
        "which format 1 does not",
        1,
    ),
    "key twice": Kind(raw(twice), IntegrityError, "stands twice", 2),
    "junk for a document": Kind(raw(junk), IntegrityError, "0001.json: ", 7),
    "junk for the pointer": Kind(pointer(junk), IntegrityError, "release.json: ", 7),
    "pointer to nowhere": Kind(
        pointer(lambda c, _: Pointer(c.randrange(2, 10**6), "0" * 64).to_json()), StoreError, "is missing"
    ),
    "pointer that leads out": Kind(
        pointer(
            lambda c, s: json.dumps(
                json.loads(s) | {"release": c.choice(["../x", 0, -1, 1.5, None])}
            ).encode()
        ),
        IntegrityError,
        "release.json: release: ",
        5,
    ),
    "pointer of another digest": Kind(
        pointer(lambda c, _: Pointer(1, c.randbytes(32).hex()).to_json()), IntegrityError, "sha256 is"
    ),
    "pointer of another format": Kind(
        pointer(lambda c, s: json.dumps(json.loads(s) | {"format": c.choice([0, 2, "1", None])}).encode()),
        IncompatibleError,
        "expected 1",
        4,
    ),
    "changed byte": Kind(file(flip), IntegrityError, "sha256 is .* the release says", 4),
    "truncated file": Kind(
        file(lambda path, c: os.truncate(path, c.randrange(path.stat().st_size))),
        IntegrityError,
        "sha256 is",
        4,
    ),
    "missing file": Kind(file(lambda path, _: path.unlink()), StoreError, "is missing", 4),
    "missing folder": Kind(file(lambda path, _: shutil.rmtree(path.parent)), StoreError, "is missing", 4),
    "linked file": Kind(file(link), IntegrityError, "is a symlink", 4),
    "linked folder": Kind(link_place, IntegrityError, "is a symlink", 10),
    "linked ledger": Kind(
        lambda root, c: link(root / "releases" / "0001.json", c), IntegrityError, "is a symlink", 1
    ),
    "FIFO for a part": Kind(file(fifo), IntegrityError, "is not a regular file", 4),
    "FIFO for a document": Kind(ledger(fifo), IntegrityError, "is not a regular file", 2),
    "files beside": Kind(
        file(beside), IntegrityError, "is a pickle by its name|has no place in a published", 4
    ),
}
OF_FOLDERS = {name for name in KINDS if name.startswith(("linked", "FIFO", "files beside"))}
TOLD_BEHIND_A_URL = {
    # What has the digest of something that was just fetched is not asked for: its content is refused then.
    "canary that is not there": "is missing|is the card of 'legal', expected 'medical'",
    "a backbone that is not there": "is missing|is not that of its files",
    "a file left out": "release names .* expected|is not that of its files",
    "pointer to nowhere": "sha256 is missing",
}
CASES = [(name, number) for name, kind in KINDS.items() for number in range(kind.times)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, make_workshop: Callable[[Path], "Workshop"]) -> Store:
    return make_workshop(tmp_path_factory.mktemp("sound")).store()


@pytest.mark.parametrize(("name", "number"), CASES)
def test_refused(name: str, number: int, sound: Store, nth: "Callable[[int], Nth]", tmp_path: Path) -> None:
    kind, store = KINDS[name], Store(tmp_path / "store")
    shutil.copytree(sound.root, store.root)
    chance = nth(number)
    kind.spoil(store.root, chance)
    assert chance.options <= kind.times, "every option of a kind is a case"
    with pytest.raises(kind.error, match=kind.told) as caught:
        verify_release(store, store.live())
    assert type(caught.value) is kind.error
    assert len(str(caught.value)) < 1000, "an attacker's text is not to fill the log"
    try:
        assert store.rollback(1).same_content(sound.live()), "only a pointer is mended by going back"
        verify_release(store, store.live())
    except StoreError:
        assert len(list(store.root.glob("releases/*"))) <= 1


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, number in CASES if name not in OF_FOLDERS]
)
def test_refused_behind_a_url(
    name: str, number: int, sound: Store, nth: "Callable[[int], Nth]", tmp_path: Path
) -> None:
    """As it lies in an object store: no links, no FIFOs, and what no document names is never fetched."""
    kind, there = KINDS[name], tmp_path / "store"
    shutil.copytree(sound.root, there)
    kind.spoil(there, nth(number))
    files, bucket = fsspec.filesystem("memory"), f"/hostile/{uuid.uuid4().hex}"
    for path in there.rglob("*.*"):
        if path.is_file():
            files.pipe_file(f"{bucket}/{path.relative_to(there).as_posix()}", path.read_bytes())
    mirror = mirror_of(StoreUrl(f"memory:/{bucket}"), tmp_path / "cache")
    with pytest.raises(StoreError, match=TOLD_BEHIND_A_URL.get(name, kind.told)) as caught:
        mirror.sync()
        verify_release(Store(mirror.root), Store(mirror.root).live())
    assert name in TOLD_BEHIND_A_URL or type(caught.value) is kind.error
    assert len(str(caught.value)) < 1000
    inside = {path for path in tmp_path.rglob("*") if not path.is_relative_to(there)}
    assert all(path.is_relative_to(tmp_path / "cache") for path in inside)
    files.rm(bucket, recursive=True)


def test_what_it_is_made_of_is_sound(sound: Store) -> None:
    verify_release(sound, sound.live(), max_rank=4)
