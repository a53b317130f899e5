"""The journal: durable, once, in order, after kills and torn lines."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.store.journal import Appended, Journal, Position, journal_path

WRITER = """
import sys
from pathlib import Path
from crma_adapters.store.journal import Journal

journal = Journal(Path(sys.argv[1]))
for at in range(100000):
    journal.append([{"row": at}, {"row": at, "second": True}])
    print(at, flush=True)
"""


def test_values_are_written_once_and_read_in_order(tmp_path: Path) -> None:
    journal = Journal(journal_path(tmp_path))
    assert list(journal.read()) == []
    assert journal.append([{"a": 1, "b": 2}, {"a": 2}, {"b": 2, "a": 1}]) == Appended(2, 1)
    assert Journal(journal.path).append([{"a": 2}, {"a": 3}]) == Appended(1, 1)
    assert [entry.value for entry in journal.read()] == [{"a": 1, "b": 2}, {"a": 2}, {"a": 3}]
    assert [entry.number for entry in journal.read()] == [1, 2, 3]
    first = next(journal.read())
    assert [e.value["a"] for e in journal.read(Position(first.number, first.end))] == [2, 3]


def test_two_writers_see_each_others_entries(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "j"), Journal(tmp_path / "j")
    assert one.append([{"a": 1}]) == Appended(1, 0)
    assert other.append([{"a": 1}, {"a": 2}]) == Appended(1, 1)
    assert one.append([{"a": 2}, {"a": 3}]) == Appended(1, 1)
    assert [entry.value["a"] for entry in one.read()] == [1, 2, 3]


def test_a_torn_last_line_is_left_out_and_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append([{"a": 1}, {"a": 2}])
    whole = journal.path.read_bytes()
    for cut in range(len(whole) - 1, whole.index(b"\n"), -7):
        journal.path.write_bytes(whole[:cut])
        assert [entry.value["a"] for entry in Journal(journal.path).read()] == [1]
        assert Journal(journal.path).append([{"a": 2}]) == Appended(1, 0)
        assert journal.path.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append([{"a": 1}, {"a": 2}])
    journal.path.write_bytes(journal.path.read_bytes().replace(b'"a":1', b'"a":7'))
    with pytest.raises(IntegrityError, match=r"j:1: its digest is not that of its value"):
        list(journal.read())
    with pytest.raises(IntegrityError):
        Journal(journal.path).append([{"a": 3}])


def test_a_journal_that_was_cut_is_not_read_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.append([{"a": 1}, {"a": 2}])
    last = list(journal.read())[-1]
    os.truncate(journal.path, 10)
    with pytest.raises(IntegrityError, match="cut or replaced"):
        list(journal.read(Position(last.number, last.end)))


def test_what_is_no_json_or_too_long_writes_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    with pytest.raises(StoreError, match="value 2: not JSON"):
        journal.append([{"a": 1}, {"a": float("nan")}])
    with pytest.raises(StoreError, match=r"value 1: \d+ bytes"):
        journal.append([{"a": "x" * 2**20}])
    assert not journal.path.exists()


def test_every_acknowledged_value_survives_kills_and_none_is_there_twice(tmp_path: Path) -> None:
    path, chance, acknowledged = tmp_path / "j", random.Random(7), -1
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(chance.uniform(0.05, 0.3))
        os.kill(writer.pid, signal.SIGKILL)
        said = writer.stdout.read().splitlines()
        writer.wait()
        acknowledged = max([acknowledged, *(int(line) for line in said if line.isdigit())])
    rows = [json.dumps(entry.value, sort_keys=True) for entry in Journal(path).read()]
    assert acknowledged > 0
    assert len(rows) == len(set(rows)) >= 2 * (acknowledged + 1)
    assert rows[: 2 * (acknowledged + 1) : 2] == [f'{{"row": {at}}}' for at in range(acknowledged + 1)]
