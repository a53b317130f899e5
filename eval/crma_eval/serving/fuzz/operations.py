"""The routes of a server, as its own OpenAPI document lists them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crma_adapters.errors import DataError

Schema = Mapping[str, Any]
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


@dataclass(frozen=True)
class Parameter:
    """A parameter in the path, the query or a header; `place` is OpenAPI's `in`."""

    name: str
    place: str
    schema: Schema


@dataclass(frozen=True)
class Operation:
    """One method of one path; `body` is the schema of a JSON body, None if it takes none."""

    method: str
    path: str
    parameters: tuple[Parameter, ...] = ()
    body: Schema | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Api:
    """Every operation of a server, and the schemas its bodies refer to, by name."""

    operations: tuple[Operation, ...]
    schemas: Mapping[str, Schema]

    def resolve(self, schema: Schema) -> Schema:
        """The schema that `$ref` names, or the schema itself. Raises `DataError` for a name that is none."""
        reference = schema.get("$ref")
        if reference is None:
            return schema
        name = str(reference).rpartition("/")[2]
        if name not in self.schemas:
            raise DataError(f"the OpenAPI document refers to {reference}, which it does not have")
        return self.schemas[name]


def read_api(document: Any) -> Api:
    """The operations of an OpenAPI 3 document. Raises `DataError` if it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise DataError("not an OpenAPI document: it has no paths; expected what GET /openapi.json gives")
    schemas = document.get("components", {}).get("schemas", {})
    return Api(tuple(_operations(document["paths"])), schemas)


def _operations(paths: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in sorted(paths.items()):
        for method, facts in methods.items():
            if method in METHODS:
                given = [*methods.get("parameters", ()), *facts.get("parameters", ())]
                parameters = tuple(Parameter(p["name"], p["in"], p.get("schema", {})) for p in given)
                yield Operation(method.upper(), path, parameters, _body(facts))


def _body(facts: Mapping[str, Any]) -> Schema | None:
    content = facts.get("requestBody", {}).get("content", {})
    for kind, media in content.items():
        if kind.partition(";")[0].endswith("json"):
            schema: Schema = media.get("schema", {})
            return schema
    return None if not content else {}
