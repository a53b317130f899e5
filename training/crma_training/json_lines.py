"""JSON Lines files of a run folder, read back as what they were written from."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from crma_adapters.errors import TrainingError

T = TypeVar("T")


def read_lines(kind: type[T], path: Path) -> tuple[T, ...]:
    """A dataclass instance of `kind` per line.

    Raises:
        TrainingError: the file, or one of its lines, cannot be read.
    """
    adapter = TypeAdapter(kind)
    found = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        try:
            found.append(adapter.validate_json(line))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(map(str, fault["loc"])) or "the line"
            raise TrainingError(f"{path}:{number}: {where}: {fault['msg']}") from error
    return tuple(found)
