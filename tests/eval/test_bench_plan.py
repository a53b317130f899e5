"""Sizes, and the folder that follows from them."""

from dataclasses import replace
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_eval.serving.bench.place import place_of
from crma_eval.serving.bench.plan import Load, Plan, check_plan, loads_text, parse_loads


def test_loads_are_read_as_they_are_written() -> None:
    assert parse_loads("1:6,32:64") == (Load(1, 6), Load(32, 64))
    assert parse_loads(loads_text(Plan().loads)) == Plan().loads


@pytest.mark.parametrize("text", ["", "1", "1:2:3", "a:b", "1:2,"])
def test_other_loads_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="CONCURRENCY:REQUESTS"):
        parse_loads(text)


def test_the_defaults_can_be_used() -> None:
    check_plan(Plan())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"repeats": 0}, "--repeats is 0"),
        ({"output_tokens": 2}, "--output-tokens is 2"),
        ({"copies": 64}, "--copies is 64"),
        ({"minutes": 0.0}, "--minutes is 0"),
        ({"minutes": float("nan")}, "--minutes is nan"),
        ({"loads": (Load(0, 5),)}, "concurrency"),
        ({"loads": (Load(1, 0),)}, "requests"),
        ({"loads": (Load(1, 5), Load(1, 6))}, "twice"),
    ],
)
def test_sizes_that_measure_nothing_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_plan(replace(Plan(), **change))  # type: ignore[arg-type]


def test_other_facts_have_another_folder(tmp_path: Path) -> None:
    assert place_of(tmp_path, "x", {"a": 1}) == place_of(tmp_path, "x", {"a": 1})
    assert place_of(tmp_path, "x", {"a": 1}) != place_of(tmp_path, "x", {"a": 2})
