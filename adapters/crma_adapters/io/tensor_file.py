"""Safetensors files from anyone: the header is checked before it is believed, every number must be finite.

Owns: the format (https://github.com/huggingface/safetensors#format). Knows not what the tensors are for.
"""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from crma_adapters.errors import IntegrityError
from crma_adapters.io.document import parse_json
from crma_adapters.io.regular_files import open_regular

# The format allows 100 MB; a LoRA on every expert of a 128-expert, 48-layer model needs 6.
MAX_HEADER_BYTES = 16 * 2**20

_CHUNK_BYTES = 2**22
_ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_EXPONENT_BF16 = 0x7F80


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file; `start` and `end` are byte offsets from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_tensor_infos(path: Path) -> dict[str, TensorInfo]:
    """Check the header against the file and return what it holds, by name. Raises `IntegrityError`."""
    with open_regular(path) as file:
        return _read_infos(file, path)


def check_finite(path: Path) -> dict[str, TensorInfo]:
    """As `read_tensor_infos`, and raise `IntegrityError` if any number of any tensor is NaN or infinite."""
    with open_regular(path) as file:
        infos = _read_infos(file, path)
        for info in infos.values():
            if not _is_finite(file, info):
                raise IntegrityError(f"{path}: tensor {info.name} has NaN or Inf; train it again")
    return infos


def _read_infos(file: BinaryIO, path: Path) -> dict[str, TensorInfo]:
    file_bytes = os.fstat(file.fileno()).st_size
    start = file.read(8)
    header_bytes = int.from_bytes(start, "little")
    if len(start) < 8 or header_bytes > min(MAX_HEADER_BYTES, file_bytes - 8):
        raise IntegrityError(_not_a_tensor_file(path, start, header_bytes, file_bytes))
    document = parse_json(file.read(header_bytes), f"{path} header")
    if not isinstance(document, dict):
        raise IntegrityError(f"{path}: header is {type(document).__name__}, expected a JSON object")
    document.pop("__metadata__", None)
    infos = {name: _info(name, entry, 8 + header_bytes, path) for name, entry in document.items()}
    _check_layout(infos, 8 + header_bytes, file_bytes, path)
    return infos


def _not_a_tensor_file(path: Path, start: bytes, header_bytes: int, file_bytes: int) -> str:
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return f"{path}: looks like a pickle, which may run code; save the tensors as safetensors"
    return (
        f"{path}: header claims {header_bytes} bytes in a file of {file_bytes}, at most {MAX_HEADER_BYTES} "
        "are read; the file is truncated or no safetensors: copy or train it again"
    )


def _info(name: str, entry: object, data_start: int, path: Path) -> TensorInfo:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(start), int(end)], **rest} if (
            not rest
        ):
            sizes_are_sane = len(shape) <= 8 and all(
                type(size) is int and 0 <= size < 2**62 for size in shape
            )
            if sizes_are_sane and 0 <= start <= end:
                return _sized(
                    TensorInfo(name, dtype, tuple(shape), data_start + start, data_start + end), path
                )
    raise IntegrityError(
        f"{path}: tensor {name}: {json.dumps(entry)[:120]}; expected dtype, shape and data_offsets only"
    )


def _sized(info: TensorInfo, path: Path) -> TensorInfo:
    if info.dtype not in _ITEM_BYTES:
        raise IntegrityError(
            f"{path}: tensor {info.name} has dtype {info.dtype}; use one of {', '.join(_ITEM_BYTES)}"
        )
    expected_bytes = math.prod(info.shape) * _ITEM_BYTES[info.dtype]
    if info.end - info.start != expected_bytes:
        raise IntegrityError(
            f"{path}: tensor {info.name} of shape {list(info.shape)} {info.dtype} has {info.end - info.start}"
            f" bytes, expected {expected_bytes}; copy or train it again"
        )
    return info


def _check_layout(infos: dict[str, TensorInfo], data_start: int, file_bytes: int, path: Path) -> None:
    at = data_start
    for info in sorted(infos.values(), key=lambda info: (info.start, info.end)):
        if info.start != at:
            raise IntegrityError(
                f"{path}: tensor {info.name} begins at byte {info.start}, expected {at}; no gap or overlap"
            )
        at = info.end
    if at != file_bytes:
        raise IntegrityError(
            f"{path}: is {file_bytes} bytes, its header says {at}; it is truncated or has a tail"
        )


def _is_finite(file: BinaryIO, info: TensorInfo) -> bool:
    if info.dtype not in {"F64", "F32", "F16", "BF16"}:
        return True
    file.seek(info.start)
    left = info.end - info.start
    while left > 0:
        chunk = file.read(min(left, _CHUNK_BYTES))
        left -= len(chunk)
        if not chunk or not _chunk_is_finite(chunk, info.dtype):
            return False
    return True


def _chunk_is_finite(chunk: bytes, dtype: str) -> bool:
    if dtype == "BF16":  # numpy has none; all exponent bits set means NaN or Inf
        return bool(np.all((np.frombuffer(chunk, "<u2") & _EXPONENT_BF16) != _EXPONENT_BF16))
    return bool(np.isfinite(np.frombuffer(chunk, {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype])).all())
