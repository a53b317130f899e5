"""Whole numbers stay near what a schema allows, whichever of its bounds it names."""

import pytest

from crma_eval.serving.fuzz.values import _bounds


@pytest.mark.parametrize(
    ("schema", "bounds"),
    [
        ({}, (-2, 50)),
        ({"minimum": 0}, (-1, 50)),
        ({"minimum": 1024}, (1023, 1073)),
        ({"maximum": 20}, (-2, 21)),
        ({"maximum": -9}, (-8, -8)),
        ({"minimum": 0, "maximum": 2**63}, (-1, 999)),
        ({"minimum": float("-inf"), "maximum": 3}, (-2, 4)),
    ],
)
def test_bounds(schema: dict[str, float], bounds: tuple[int, int]) -> None:
    assert _bounds(schema) == bounds
