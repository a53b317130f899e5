"""The requests that are sent: for each route in turn, mostly well-formed, some not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from crma_eval.serving.fuzz.operations import Api, Operation
from crma_eval.serving.fuzz.values import HOSTILE, value_for

_BROKEN = (b"", b"{", b"[" * 3000, b"\xff\xfe", b'{"model": "auto"', b"null", b"[]", b'"auto"', b"1e999")
_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens", "n", "best_of")


@dataclass(frozen=True)
class Case:
    """One request; `content` None: without a body."""

    operation: Operation
    url: str
    content: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


def generate(api: Api, models: Sequence[str], count: int, chosen_seed: int) -> list[Case]:
    """`count` requests, as many for each operation; `models` are names the server knows."""
    cases: list[Case] = []
    share, more = divmod(count, len(api.operations))
    for at, operation in enumerate(api.operations):
        wanted = share + (at < more)
        if wanted:
            cases += _for_operation(api, operation, models, wanted, chosen_seed)
    return cases


def hints(models: Sequence[str]) -> dict[str, st.SearchStrategy[Any]]:
    """Names the server knows, and answers that end soon: a mile of tokens would test the engine instead."""
    names = st.sampled_from([*models, "auto", "base", "auto:crma-off", "nobody", "medical@0", ""])
    few = st.integers(1, 4)
    return {"model": names} | dict.fromkeys(_TOKENS, few)


def _for_operation(
    api: Api, operation: Operation, models: Sequence[str], count: int, chosen_seed: int
) -> list[Case]:
    cases: list[Case] = []
    strategy = _strategy(api, operation, models)

    # hypothesis as a generator: it varies what it draws, and draws the same for the same seed.
    @seed(chosen_seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    if not cases:
        raise AssertionError(f"{operation.name}: nothing was generated")
    # A route without parameters has few requests that differ; they are sent again.
    return [cases[at % len(cases)] for at in range(count)]


def _strategy(api: Api, operation: Operation, models: Sequence[str]) -> st.SearchStrategy[Case]:
    known = hints(models)
    bodies = HOSTILE if operation.body is None else value_for(api, operation.body, known)
    takes_body = operation.body is not None or operation.method in ("POST", "PUT", "PATCH")

    @st.composite
    def build(draw: st.DrawFn) -> Case:
        url, query = operation.path, []
        for parameter in operation.parameters:
            value = draw(value_for(api, parameter.schema, known) if draw(st.booleans()) else HOSTILE)
            if parameter.place == "path":
                url = url.replace("{" + parameter.name + "}", _quoted(value) or "x")
            elif parameter.place == "query":
                query.append(f"{parameter.name}={_quoted(value)}")
        # A route that lists no body may read one all the same.
        content = _content(draw, draw(bodies)) if takes_body and draw(st.integers(0, 19)) else None
        kind = draw(st.sampled_from(["application/json"] * 9 + ["text/plain", "application/json; x", ""]))
        return Case(
            operation, url + ("?" + "&".join(query) if query else ""), content, {"content-type": kind}
        )

    return build()


def _content(draw: st.DrawFn, body: Any) -> bytes:
    how = draw(st.integers(0, 19))
    if how == 0:
        return draw(st.sampled_from(_BROKEN))
    if how == 1:
        body = draw(HOSTILE)
    return json.dumps(body).encode("utf-8", "surrogatepass")


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text.encode("utf-8", "surrogatepass")[:500], safe="")
