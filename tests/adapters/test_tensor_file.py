"""What is accepted is what safetensors itself reads, and finite; what is refused says why."""

import json
import math
import pickle
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from crma_adapters.errors import IntegrityError
from crma_adapters.io.tensor_file import MAX_HEADER_BYTES, check_finite, read_tensor_infos

SOUND = save(
    {"a": np.ones((2, 3), np.float32), "b": np.arange(4, dtype=np.float16)}, metadata={"format": "pt"}
)


def tensor_file(header: object, data: bytes = b"") -> bytes:
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def one(
    dtype: str = "F32", shape: object = (2,), start: object = 0, end: object = 8, **more: object
) -> object:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end], **more}}


def test_a_sound_file_is_described(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(SOUND)
    infos = check_finite(path)
    assert {name: (info.dtype, info.shape, info.end - info.start) for name, info in infos.items()} == {
        "a": ("F32", (2, 3), 24),
        "b": ("F16", (4,), 8),
    }
    assert SOUND[infos["a"].start : infos["a"].end] == np.ones((2, 3), np.float32).tobytes()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        pytest.param(b"", "header claims 0 bytes in a file of 0", id="zero bytes"),
        pytest.param(b"\0" * 7, "truncated or no safetensors", id="seven bytes"),
        pytest.param(
            (10 * 2**30).to_bytes(8, "little") + b"{}", "header claims 10737418240 bytes", id="10 GB header"
        ),
        pytest.param(b"\xff" * 64, "header claims 18446744073709551615", id="largest header"),
        pytest.param(SOUND[:-1], "truncated or has a tail", id="one byte short"),
        pytest.param(SOUND[:100], "truncated", id="header cut"),
        pytest.param(SOUND + b"\0", "truncated or has a tail", id="tail"),
        pytest.param(pickle.dumps({"a": [0] * 999}), "looks like a pickle", id="pickle"),
        pytest.param(b"PK\x03\x04" + b"\0" * 64, "looks like a pickle", id="torch zip"),
        pytest.param(b"\x02\0\0\0\0\0\0\0[]", "expected a JSON object", id="header is a list"),
        pytest.param(b'\x08\0\0\0\0\0\0\0{"a": 1,', "not JSON", id="header is no JSON"),
        pytest.param(tensor_file({"a": 1}), "expected dtype, shape and data_offsets", id="entry is a number"),
        pytest.param(tensor_file(one(extra=1), b"\0" * 8), "expected dtype", id="unknown key"),
        pytest.param(tensor_file(one(shape=[-2]), b"\0" * 8), "expected dtype", id="negative size"),
        pytest.param(tensor_file(one(shape=[2.0]), b"\0" * 8), "expected dtype", id="fractional size"),
        pytest.param(tensor_file(one(shape=[10**400] * 8), b"\0" * 8), "expected dtype", id="absurd size"),
        pytest.param(tensor_file(one(shape=[1] * 9)), "expected dtype", id="nine dimensions"),
        pytest.param(
            tensor_file(one(start=8, end=0), b"\0" * 8), "expected dtype", id="ends before it starts"
        ),
        pytest.param(
            tensor_file(one("F8_E4M3"), b"\0" * 8), "has dtype F8_E4M3; use one of", id="unknown dtype"
        ),
        pytest.param(
            tensor_file(one(shape=[3]), b"\0" * 8), r"\[3\] F32 has 8 bytes, expected 12", id="size"
        ),
        pytest.param(tensor_file(one(start=4, end=12), b"\0" * 12), "begins at byte", id="gap"),
        pytest.param(
            tensor_file({**one(), "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, b"\0" * 8),  # type: ignore[dict-item]
            "begins at byte",
            id="overlap",
        ),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=told) as caught:
        read_tensor_infos(path)
    assert str(caught.value).startswith(str(path))


def test_a_huge_header_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little"))
        file.truncate(MAX_HEADER_BYTES * 4)  # sparse: the claim alone is within the file
    with pytest.raises(IntegrityError, match=f"at most {MAX_HEADER_BYTES}"):
        read_tensor_infos(path)


BF16_BAD = {"nan": 0x7FC1, "inf": 0x7F80, "-inf": 0xFF80}
BF16_SOUND = {"largest": 0x7F7F, "-largest": 0xFF7F, "zero": 0, "subnormal": 0x0001}


@pytest.mark.parametrize("name", [*BF16_BAD, *BF16_SOUND])
def test_bfloat16_is_finite_or_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(
        tensor_file(one("BF16", [2], 0, 4), struct.pack("<2H", 0, (BF16_BAD | BF16_SOUND)[name]))
    )
    if name in BF16_SOUND:
        check_finite(path)
    else:
        with pytest.raises(IntegrityError, match="tensor a has NaN or Inf"):
            check_finite(path)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_one_bad_number_in_the_last_chunk_is_found(tmp_path: Path, bad: float, dtype: type) -> None:
    path = tmp_path / "x.safetensors"
    values: Any = np.zeros(3 * 2**20 + 1, dtype)
    path.write_bytes(save({"sound": np.zeros(3, np.float32), "a": values}))
    check_finite(path)
    values[-1] = bad
    path.write_bytes(save({"sound": np.zeros(3, np.float32), "a": values}))
    with pytest.raises(IntegrityError, match="tensor a has NaN or Inf"):
        check_finite(path)


@given(at=st.integers(0, len(SOUND) - 1), to=st.binary(max_size=12), cut=st.integers(0, 12))
def test_what_is_accepted_safetensors_reads_alike(at: int, to: bytes, cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        path.write_bytes(SOUND[:at] + to + SOUND[at + cut :])
        try:
            infos = read_tensor_infos(path)
        except IntegrityError:
            return
        with safe_open(path, "numpy") as file:
            assert set(file.keys()) == set(infos)
            for name, info in infos.items():
                assert (file.get_slice(name).get_dtype(), tuple(file.get_slice(name).get_shape())) == (
                    info.dtype,
                    info.shape,
                )
