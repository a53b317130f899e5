"""Adapter folders made to harm: every kind is refused with an error that names it, and nothing changes.

The table below is the list of kinds; each is made several times with other numbers. The folder is offered as
a user would publish it, and as a plain LoRA dropped into the store where the kind makes sense there.
"""

import json
import math
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from crma_adapters.errors import IncompatibleError, IntegrityError, StoreError
from crma_adapters.io.document import MAX_DOCUMENT_BYTES
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_plain, verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Nth, Workshop

Spoil = Callable[[Path, "Nth"], object]
CARD, CONFIG, WEIGHTS = "adapter.json", "adapter_config.json", "adapter_model.safetensors"
MODULE = "base_model.model.model.layers.0.self_attn.q_proj"
A, B = f"{MODULE}.lora_A.weight", f"{MODULE}.lora_B.weight"
Header = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A way to harm: how a sound folder becomes one, and what refuses it. Not for a plain LoRA if its card,
    which a plain LoRA has none of, is what is wrong."""

    spoil: Spoil
    error: type[StoreError]
    told: str
    plain: bool = True
    times: int = 1


def read(folder: Path) -> tuple[Header, bytes]:
    data = (folder / WEIGHTS).read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write(folder: Path, header: bytes | Header, body: bytes) -> None:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(raw)) + raw + body)


def header(change: Callable[[Header, "Nth"], object]) -> Spoil:
    """The tensors stay, the header lies."""

    def spoil(folder: Path, chance: "Nth") -> None:
        document, body = read(folder)
        change(document, chance)
        write(folder, document, body)

    return spoil


def tensors(make: Callable[["Nth"], dict[str, Any]]) -> Spoil:
    """A well-formed file of other tensors; values are numpy arrays."""

    def spoil(folder: Path, chance: "Nth") -> None:
        found: Header = {}
        body = b""
        names = {"float64": "F64", "float32": "F32", "float16": "F16", "int32": "I32", "uint8": "U8"}
        for name, value in make(chance).items():
            data = value.tobytes()
            ends = [len(body), len(body) + len(data)]
            found[name] = {"dtype": names[value.dtype.name], "shape": value.shape, "data_offsets": ends}
            body += data
        write(folder, found, body)

    return spoil


def pair(a: Any, b: Any) -> dict[str, Any]:
    return {A: a, B: b}


def ones(*shape: int, dtype: str = "float32") -> Any:
    return np.ones(shape, dtype)


def not_finite(chance: "Nth") -> dict[str, Any]:
    dtype = chance.choice(["float16", "float32", "float64"])
    a, b = ones(4, 8, dtype=dtype), ones(8, 4, dtype=dtype)
    spoilt = chance.choice([a, b])
    spoilt.flat[chance.randrange(spoilt.size)] = chance.choice([math.nan, math.inf, -math.inf])
    return pair(a, b)


def not_finite_bfloat16(folder: Path, chance: "Nth") -> None:
    document, _ = read(folder)
    words = np.full(64, 0x3F80, "<u2")  # 1.0
    words[chance.randrange(64)] = chance.choice([0x7F80, 0xFF80, 0x7FC0, 0xFFFF])
    for name, ends in ((A, [0, 64]), (B, [64, 128])):
        document[name] |= {"dtype": "BF16", "data_offsets": ends}
    write(folder, document, words.tobytes())


def edit(file: str, **choices: list[Any]) -> Spoil:
    """Another value for keys of a JSON document."""

    def spoil(folder: Path, chance: "Nth") -> None:
        document = json.loads((folder / file).read_text())
        document |= {key: chance.choice(values) for key, values in choices.items()}
        (folder / file).write_text(json.dumps(document))

    return spoil


def drop_key(name: str, *keys: str) -> Spoil:
    def spoil(folder: Path, chance: "Nth") -> None:
        document = json.loads((folder / name).read_text())
        del document[chance.choice(keys)]
        (folder / name).write_text(json.dumps(document))

    return spoil


def content(name: str, make: Callable[["Nth", bytes], bytes]) -> Spoil:
    """Other bytes for a file, made of the sound ones."""

    def spoil(folder: Path, chance: "Nth") -> None:
        path = folder / name
        path.write_bytes(make(chance, path.read_bytes()))

    return spoil


def any_of(*names: str) -> Callable[[Callable[[Path, "Nth"], object]], Spoil]:
    """A harm to any one of these files."""

    def bind(harm: Callable[[Path, "Nth"], object]) -> Spoil:
        return lambda folder, chance: harm(folder / chance.choice(names), chance)

    return bind


class Runs:
    """Unpickled, it would leave a trace."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


def pickled(chance: "Nth", _: bytes) -> bytes:
    return pickle.dumps([Runs()] * 9, protocol=chance.randrange(6)) * 9


def link(path: Path, chance: "Nth") -> None:
    outside = path.parent.parent / "outside"
    shutil.copy(path, outside)
    path.unlink()
    path.symlink_to(chance.choice(["/etc/passwd", "/dev/zero", "absent", "..", str(outside), path.name]))


def fifo(path: Path, _: "Nth") -> None:
    path.unlink()
    os.mkfifo(path)


def folder_instead(path: Path, _: "Nth") -> None:
    path.unlink()
    path.mkdir()


def pickle_beside(folder: Path, chance: "Nth") -> None:
    suffix = chance.choice([".bin", ".pt", ".pkl", ".ckpt", ".npz"])
    name = "adapter_model" + chance.choice([suffix, suffix.upper()])
    (folder / name).write_bytes(pickle.dumps(Runs()))


def twice(chance: "Nth", sound: bytes) -> bytes:
    keys = list(json.loads(sound))
    key = keys[chance.randrange(len(keys))]
    return sound.strip()[:-1] + f', "{key}": 1}}'.encode()


def twice_in_header(folder: Path, chance: "Nth") -> None:
    document, body = read(folder)
    write(folder, twice(chance, json.dumps(document).encode()), body)


def shift(document: Header, chance: "Nth") -> None:
    by = chance.choice([-1, 1, -64, 10**9, 2**63])
    document[chance.choice([A, B])]["data_offsets"] = [by, 128 + by]


def claim(chance: "Nth", sound: bytes) -> bytes:
    size = chance.choice([10 * 2**30, 2**63, 2**64 - 1, len(sound), len(sound) - 7])
    return struct.pack("<Q", size) + sound[8:]


def huge_shape(document: Header, chance: "Nth") -> None:
    shapes: list[list[Any]] = [
        [2**61, 2**61],
        [-4, -8],
        [4, 8, 2**70],
        ["4", 8],
        [True, 8],
        [4.0, 8],
        [1] * 99,
    ]
    document[A]["shape"] = chance.choice(shapes)


def wide(chance: "Nth", _: bytes) -> bytes:
    return chance.choice([b'"', b"[", b" "]) * (MAX_DOCUMENT_BYTES + 1)


def deep(chance: "Nth", _: bytes) -> bytes:
    opening = chance.choice([b"[", b'{"a":'])
    return opening * (100_000 if opening == b"[" else 50_000)


def not_text(chance: "Nth", sound: bytes) -> bytes:
    return chance.choice([b"\xff\xfe", b"\x80", b"\x00"]) + sound + chance.choice([b"", b"\xc3"])


def no_number(chance: "Nth", sound: bytes) -> bytes:
    word = chance.choice([b"NaN", b"Infinity", b"-Infinity", b"1e999"])
    return sound.strip()[:-1] + b', "more": ' + word + b"}"


ALL = any_of(CARD, CONFIG, WEIGHTS)
BOTH = any_of(CONFIG, WEIGHTS)
KINDS: dict[str, Kind] = {
    "truncated weights": Kind(
        content(WEIGHTS, lambda chance, sound: sound[: chance.randrange(1, len(sound))]),
        IntegrityError,
        r"truncated|expected .* bytes|bytes, its header says|header claims",
        times=4,
    ),
    "truncated configuration": Kind(
        content(CONFIG, lambda chance, sound: sound[: chance.randrange(1, len(sound) - 2)]),
        IntegrityError,
        "adapter_config.json: not JSON",
        times=2,
    ),
    "zero bytes of weights": Kind(
        content(WEIGHTS, lambda _, __: b""), IntegrityError, "in a file of 0", times=1
    ),
    "zero bytes of a document": Kind(content(CONFIG, lambda _, __: b""), IntegrityError, "not JSON", times=1),
    "header that claims gigabytes": Kind(content(WEIGHTS, claim), IntegrityError, "header claims", times=5),
    "noise for weights": Kind(
        content(WEIGHTS, lambda chance, _: chance.randbytes(chance.randrange(1, 4096))),
        IntegrityError,
        "header claims|header|looks like a pickle",
        times=2,
    ),
    "pickle for weights": Kind(content(WEIGHTS, pickled), IntegrityError, "pickle|header claims", times=3),
    "torch archive for weights": Kind(
        content(WEIGHTS, lambda chance, _: b"PK\x03\x04" + chance.randbytes(99)), IntegrityError, "a pickle"
    ),
    "pickle for a document": Kind(content(CONFIG, pickled), IntegrityError, "not JSON"),
    "pickle beside": Kind(pickle_beside, IntegrityError, "is a pickle by its name", times=5),
    "NaN or Inf": Kind(tensors(not_finite), IntegrityError, "has NaN or Inf", times=6),
    "NaN or Inf in bfloat16": Kind(not_finite_bfloat16, IntegrityError, "has NaN or Inf", times=4),
    "shapes that do not multiply": Kind(
        tensors(lambda c: pair(ones(4, 8), ones(8, c.choice([1, 3, 5, 8])))),
        IntegrityError,
        "expected .rank, in",
        times=4,
    ),
    "shapes of other dimension": Kind(
        tensors(lambda c: pair(c.choice([ones(32), ones(4, 4, 2), ones(1, 4, 8)]), ones(8, 4))),
        IntegrityError,
        "expected .rank, in",
        times=3,
    ),
    "empty tensors": Kind(tensors(lambda _: pair(ones(4, 0), ones(0, 4))), IntegrityError, "expected .rank"),
    "no tensors": Kind(tensors(lambda _: {}), IntegrityError, "holds no tensors", times=1),
    "rank that is not the configuration's": Kind(
        tensors(lambda c: pair(ones(r := c.choice([1, 2, 8, 64]), 8), ones(8, r))),
        IntegrityError,
        "has rank",
        times=4,
    ),
    "half a pair": Kind(
        tensors(lambda c: c.choice([{A: ones(4, 8)}, {B: ones(8, 4)}])),
        IntegrityError,
        "expected A and B",
        times=2,
    ),
    "whole numbers": Kind(
        tensors(lambda c: pair(ones(4, 8, dtype=c.choice(["int32", "uint8"])), ones(8, 4))),
        IntegrityError,
        "expected floating point",
        times=2,
    ),
    "more than a LoRA": Kind(
        tensors(
            lambda c: (
                pair(ones(4, 8), ones(8, 4))
                | {
                    c.choice(
                        [f"{MODULE}.lora_magnitude_vector", f"{MODULE}.bias", "lm_head.weight", "../x"]
                    ): ones(8)
                }
            )
        ),
        IntegrityError,
        "is no LoRA tensor",
        times=4,
    ),
    "unknown dtype": Kind(
        header(lambda d, c: d[A].update(dtype=c.choice(["F8_E4M3", "object", "", "f32"]))),
        IntegrityError,
        "has dtype",
        times=4,
    ),
    "offsets that lie": Kind(header(shift), IntegrityError, "tensor ", times=5),
    "shapes that lie": Kind(header(huge_shape), IntegrityError, "tensor ", times=7),
    "overlap": Kind(
        header(lambda d, _: d.update({"x" + A: d[A]})), IntegrityError, "no gap or overlap", times=1
    ),
    "surplus keys in the header": Kind(
        header(lambda d, c: d[A].update({c.choice(["code", "__reduce__", "path"]): "x"})),
        IntegrityError,
        "expected dtype, shape and data_offsets only",
        times=3,
    ),
    "tail": Kind(
        content(WEIGHTS, lambda c, sound: sound + c.randbytes(c.randrange(1, 99))),
        IntegrityError,
        "has a tail",
    ),
    "name twice in the header": Kind(twice_in_header, IntegrityError, "stands twice"),
    "key twice": Kind(content(CONFIG, twice), IntegrityError, "stands twice", times=2),
    "deep nesting": Kind(content(CONFIG, deep), IntegrityError, "nested too deeply|not JSON", times=2),
    "document without end": Kind(
        content(CONFIG, wide), IntegrityError, "expected a small JSON document", times=3
    ),
    "no text": Kind(content(CONFIG, not_text), IntegrityError, "not JSON", times=3),
    "no number": Kind(content(CONFIG, no_number), IntegrityError, "not JSON", times=4),
    "no object": Kind(
        content(CONFIG, lambda c, _: c.choice([b"[]", b"1", b'"x"', b"null"])),
        IntegrityError,
        "adapter_config",
        times=4,
    ),
    "rank that is none": Kind(
        edit(CONFIG, r=[0, -1, 4.5, "4", True, 2**70]),
        IntegrityError,
        "adapter_config.json: r: |has rank",
        times=6,
    ),
    "alpha that is none": Kind(
        edit(CONFIG, lora_alpha=[0, -8, "8", None, {}]),
        IntegrityError,
        "adapter_config.json: lora_alpha: ",
        times=5,
    ),
    "other adapters": Kind(
        edit(CONFIG, peft_type=["IA3", "PROMPT_TUNING", None, 1]), IncompatibleError, "peft_type", times=4
    ),
    "ranks of a pattern that are none": Kind(
        edit(CONFIG, rank_pattern=[{"q": 0}, {"q": "4"}, [], "q", {"q": -4}]),
        IntegrityError,
        "rank_pattern",
        times=5,
    ),
    "pattern that takes for ever": Kind(
        edit(CONFIG, rank_pattern=[{p: 4} for p in ("(a+)+b", "(.*)*x", "((x?){9}){9}")]),
        IntegrityError,
        "rank_pattern.* expected a module's name",
        times=3,
    ),
    "alphas of a pattern": Kind(
        edit(CONFIG, alpha_pattern=[{"(a+)+b": 4}, {"q": -1}, {"q": "x"}, {"[": 4}, ["q"]]),
        IntegrityError,
        "alpha_pattern",
        times=5,
    ),
    "configuration without": Kind(
        drop_key(CONFIG, "r", "lora_alpha", "target_modules"),
        IntegrityError,
        "Field required",
        times=3,
    ),
    "configuration of no kind": Kind(
        drop_key(CONFIG, "peft_type"), IncompatibleError, "peft_type None; expected a plain LoRA", times=1
    ),
    "symlink": Kind(BOTH(link), IntegrityError, "is a symlink", times=6),
    "FIFO": Kind(BOTH(fifo), IntegrityError, "is not a regular file", times=2),
    "folder for a file": Kind(BOTH(folder_instead), IntegrityError, "is not a regular file", times=2),
    "missing file": Kind(BOTH(lambda path, _: path.unlink()), StoreError, "has no|is missing", times=2),
    # The card, which only a published adapter has.
    "linked card": Kind(any_of(CARD)(link), IntegrityError, "is a symlink", plain=False, times=6),
    "card as a FIFO": Kind(any_of(CARD)(fifo), IntegrityError, "is not a regular file", plain=False, times=1),
    "spoilt card": Kind(
        lambda folder, chance: content(
            CARD, chance.choice([pickled, twice, deep, wide, not_text, no_number])
        )(folder, chance),
        IntegrityError,
        "adapter.json: ",
        plain=False,
        times=6,
    ),
    "name that leads out": Kind(
        edit(
            CARD,
            name=["../medical", "/etc", "..", "medical/../../x", "a\0b", "Medical", "releases", "x" * 64],
        ),
        IntegrityError,
        "adapter.json: name: ",
        plain=False,
        times=8,
    ),
    "another domain's card": Kind(
        edit(CARD, name=["legal", "code"]), IncompatibleError, "is the card of", plain=False, times=2
    ),
    "another base": Kind(
        edit(CARD, base_fingerprint=["cd" * 32, "", "../.."]),
        IncompatibleError,
        "the release is for",
        plain=False,
        times=3,
    ),
    "another backbone": Kind(
        edit(CARD, backbone=["0" * 12, "f" * 12]),
        StoreError,
        "backbone [0f]{12}: not in the store",
        plain=False,
        times=2,
    ),
    "backbone that leads out": Kind(
        edit(CARD, backbone=["../../../etc", "..", "/", "0" * 11, "0" * 13, 0]),
        IntegrityError,
        "adapter.json: backbone: ",
        plain=False,
        times=6,
    ),
    "card of other files": Kind(
        edit(CARD, rank=[1, 8, 2**31], alpha=[1.0, 16.0]),
        IntegrityError,
        "take both files",
        plain=False,
        times=3,
    ),
    "surplus keys in the card": Kind(
        edit(CARD, path=["/etc/passwd"]), IntegrityError, "adapter.json: path: ", plain=False, times=1
    ),
    "card of another format": Kind(
        edit(CARD, format=[0, 3, "1", None]), IncompatibleError, "format .* expected 2", plain=False, times=4
    ),
    "kind of no adapter": Kind(
        edit(CARD, format=[2], kind=["prompt", 1, None]),
        IntegrityError,
        "adapter.json: kind: ",
        plain=False,
        times=3,
    ),
    "mixer that is not there": Kind(
        edit(CARD, format=[2], kind=["mixer", "both"], mixing_rank=[4]),
        StoreError,
        r"mixer\.json: is missing; adapter\.json says kind",
        plain=False,
        times=2,
    ),
    "mixer that the card does not know": Kind(
        lambda folder, _: [
            (folder / name).write_bytes(b"{}") for name in ("mixer.json", "mixer.safetensors")
        ],
        IntegrityError,
        "says kind 'lora', which has no such file",
        plain=False,
        times=1,
    ),
    "card without": Kind(
        drop_key(CARD, "name", "rank", "base_fingerprint", "data"),
        IntegrityError,
        "Field required",
        plain=False,
        times=4,
    ),
}
CASES = [(name, number) for name, kind in KINDS.items() for number in range(kind.times)]


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, make_workshop: Callable[[Path], "Workshop"]
) -> Iterator[Store]:
    """A store with a live release that must be as it was after every attempt on it."""
    store = make_workshop(tmp_path_factory.mktemp("served")).store()
    live = store.live()
    yield store
    assert store.live() == live and len(store.releases()) == 1
    verify_release(store, live)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_refused(
    name: str,
    number: int,
    served: Store,
    workshop: "Workshop",
    nth: "Callable[[int], Nth]",
    tmp_path: Path,
) -> None:
    kind, live = KINDS[name], served.live()
    assert live.backbone is not None
    folder = workshop.adapter(seed=99, backbone=live.backbone.version)
    chance = nth(number)
    kind.spoil(folder, chance)
    assert chance.options <= kind.times, "every option of a kind is a case"
    refusals: list[Callable[[], object]] = [
        lambda: publish_parts(served, Publication(adapters={"medical": folder}))
    ]
    if kind.plain:
        refusals.append(lambda: verify_plain(folder))
    for refused in refusals:
        with pytest.raises(kind.error, match=kind.told) as caught:
            refused()
        assert type(caught.value) is kind.error
        assert len(str(caught.value)) < 1000, "an attacker's text is not to fill the log"
    assert served.live() == live
    assert not (tmp_path / "unpickled").exists() and not Path("unpickled").exists()


def test_a_sound_one_is_taken(workshop: "Workshop") -> None:
    """The folder all the kinds are made of is refused for what was done to it alone."""
    store = workshop.store()
    backbone = store.live().backbone
    assert backbone is not None
    folder = workshop.adapter(seed=99, backbone=backbone.version)
    verify_plain(folder)
    assert publish_parts(store, Publication(adapters={"medical": folder})).number == 2
