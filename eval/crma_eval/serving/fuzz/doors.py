"""Whether a route opens without the key it needs."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from crma_eval.serving.fuzz.operations import Operation

PUBLIC = frozenset({"/health", "/ready", "/ping", "/crma", "/crma/static/{name}"})
_ADMIN_PREFIX = "/crma/v1/"
# Beside that prefix: vLLM's own routes that change the server for everyone.
_ADMIN = frozenset(
    {
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/scale_elastic_ep",
        "/is_scaling_elastic_ep",
        "/collective_rpc",
    }
)
_EITHER = frozenset({"/metrics", "/metrics/"})
# Routes a server has but does not list.
UNLISTED = tuple(
    Operation(method, path)
    for method, path in (
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("POST", "/inference/v1/generate"),
        ("POST", "/inference/v1/abort_requests"),
        ("POST", "/v1/chat/completions/render"),
        ("POST", "/v1/completions/render"),
        ("GET", "/metrics/"),
        ("GET", "//health"),
        ("GET", "/health/"),
        ("GET", "/crma/static/%2e%2e/v1/status"),
        ("POST", "/collective_rpc"),
        ("GET", "/nothing"),
    )
)


@dataclass(frozen=True)
class Keys:
    """A key of each kind."""

    inference: str
    admin: str


@dataclass(frozen=True)
class Door:
    """A route and the statuses it answered with: by what was sent in place of the right key."""

    operation: Operation
    kind: str
    statuses: Mapping[str, int]

    @property
    def is_open(self) -> bool:
        """Whether anything but the right key got through."""
        return self.kind != "public" and any(status != 401 for status in self.statuses.values())


def kind_of(operation: Operation) -> str:
    """`public`, `admin`, `either` or `inference`, which is what any other route is."""
    if operation.path in PUBLIC and operation.method in ("GET", "HEAD"):
        return "public"
    if operation.path in _EITHER:
        return "either"
    admin = operation.path in _ADMIN or operation.path.startswith(_ADMIN_PREFIX)
    return "admin" if admin else "inference"


def header(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def key_for(operation: Operation, keys: Keys) -> dict[str, str]:
    """The header that opens a route."""
    return header(keys.admin if kind_of(operation) == "admin" else keys.inference)


def try_door(client: httpx.Client, operation: Operation, keys: Keys) -> Door:
    """Ask for a route with everything that must not open it."""
    kind = kind_of(operation)
    tries = {"none": {}, "wrong": header("wrong"), "empty": {"authorization": "Bearer", "x-api-key": ""}}
    if kind == "admin":
        tries["inference"] = header(keys.inference)
    if kind == "inference":
        tries["admin"] = header(keys.admin)
    path = operation.path.replace("{", "").replace("}", "")
    statuses = {
        name: client.request(operation.method, path, headers=headers).status_code
        for name, headers in tries.items()
    }
    return Door(operation, kind, statuses)
