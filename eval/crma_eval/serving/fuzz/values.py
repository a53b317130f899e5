"""Values for JSON schemas: what fits, what nearly fits, and what nobody should send."""

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from hypothesis import strategies as st

from crma_eval.serving.fuzz.operations import Api, Schema

DEPTH = 4  # schemas may refer to themselves
_LONG = 5000
_HUGE = (2**31, -(2**31), 2**63, 2**64, -(2**63), 10**30, 10**400)

_text = st.text(max_size=20) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "../../etc/passwd",
        "file:///etc/passwd",
        "%s%n",
        "{{7*7}}",
        "ＡＢ",
        "a" * _LONG,
    ]
)
_numbers = st.integers(-3, 100) | st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(_HUGE)
_scalars = st.none() | st.booleans() | _numbers | _text
HOSTILE = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
"""Any JSON value at all; NaN and infinities too, which Python's reader takes."""


def value_for(
    api: Api, schema: Schema, hints: Mapping[str, st.SearchStrategy[Any]], depth: int = DEPTH
) -> st.SearchStrategy[Any]:
    """Mostly values the schema allows. `hints` are better values for members of these names."""
    schema = api.resolve(schema)
    for choice in ("anyOf", "oneOf"):
        if options := schema.get(choice):
            return st.one_of([value_for(api, each, hints, depth) for each in options])
    if parts := schema.get("allOf"):
        return value_for(api, parts[0], hints, depth)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(list(schema["enum"]))
    return _of_type(api, schema, hints, depth)


def _of_type(
    api: Api, schema: Schema, hints: Mapping[str, st.SearchStrategy[Any]], depth: int
) -> st.SearchStrategy[Any]:
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _object(api, schema, hints, depth)
    if kind == "array":
        if depth <= 0:
            return st.just([])
        return st.lists(value_for(api, schema.get("items", {}), hints, depth - 1), max_size=3)
    if kind == "string":
        return _text
    if kind == "integer":
        return st.integers(*_bounds(schema)) | st.sampled_from(_HUGE)
    if kind == "number":
        return st.floats(-2, 4) | st.sampled_from([0, 1, math.nan, math.inf, 1e308])
    if kind == "boolean":
        return st.booleans()
    return st.none() if kind == "null" else HOSTILE


def _object(
    api: Api, schema: Schema, hints: Mapping[str, st.SearchStrategy[Any]], depth: int
) -> st.SearchStrategy[Any]:
    """Its required members, some of the others, now and then one of the wrong kind or nobody's."""
    if depth <= 0:
        return st.just({})
    members = {
        name: hints[name] if name in hints else value_for(api, each, hints, depth - 1)
        for name, each in schema.get("properties", {}).items()
    }
    required = set(schema.get("required", ()))

    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        others = sorted(members.keys() - required)
        some = set(draw(st.lists(st.sampled_from(others), max_size=5))) if others else set()
        wanted = [name for name in members if name in required | some | (hints.keys() & members.keys())]
        made = {name: draw(members[name]) for name in wanted}
        spoil = draw(st.integers(0, 9))
        if spoil == 0 and made:
            made[draw(st.sampled_from(sorted(made)))] = draw(HOSTILE)
        elif spoil == 1 and made:
            del made[draw(st.sampled_from(sorted(made)))]
        elif spoil == 2:
            made[draw(st.text(max_size=8))] = draw(HOSTILE)
        return made

    return build()


def _bounds(schema: Schema) -> tuple[int, int]:
    """Around what the schema allows, one beyond it at each end; not far up, since some numbers are sizes."""
    least, most = schema.get("minimum"), schema.get("maximum")
    low = int(least) - 1 if _is_finite(least) else None
    high = int(most) + 1 if _is_finite(most) else None
    if low is None:
        low = -2 if high is None else min(-2, high)
    return low, max(low, min(low + 1000, 50 + max(low, 0) if high is None else high))


def _is_finite(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and math.isfinite(value)
