"""Which key opens which route; what the table does not name needs an admin key, so that no route which is
added anywhere (by vLLM's next version, a plugin, a flag) is open by oversight."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Access(Enum):
    """Who may use a route."""

    PUBLIC = "public"
    INFERENCE = "inference"
    ADMIN = "admin"
    EITHER = "either"  # an inference key or an admin key


@dataclass(frozen=True)
class Principal:
    """Who sent a request: what it was let through as, and the fingerprint of the key ("" without one)."""

    access: Access
    key: str


_READING = ("GET", "HEAD")
# Probes, and the dashboard's page, which holds no data.
_PUBLIC = frozenset({"/health", "/ready", "/ping", "/crma", "/crma/"})
_PUBLIC_FOLDER = "/crma/static/"
_EITHER = frozenset({"/metrics", "/metrics/"})

# What inference may use. `_GENERATING` are answered by a model; the others say what there is.
_READABLE = frozenset(
    {
        "/v1/models",
        "/openapi.json",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/load",
        "/version",
        "/kv_event_sources",
    }
)
_READABLE_FOLDERS = ("/v1/models/", "/v1/responses/")
_GENERATING = frozenset(
    {
        "/ping",
        "/tokenize",
        "/detokenize",
        "/invocations",
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "/v1/chat/completions/render",
        "/v1/chat/completions/derender",
        "/v1/completions",
        "/v1/completions/render",
        "/v1/completions/derender",
        "/v1/responses",
        "/v1/responses/render",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/messages/render",
        "/v1/systemone",
        "/generative_scoring",
        "/inference/v1/generate",
        "/inference/v1/abort_requests",
    }
)
_CANCEL = re.compile(r"/v1/responses/[^/]+/cancel")


def access_to(method: str, path: str) -> Access:
    """Who may use `method` on `path`, a path without the server's root path, as the router sees it."""
    if method in _READING:
        if path in _PUBLIC or _is_static(path):
            return Access.PUBLIC
        if path in _EITHER:
            return Access.EITHER
        reads = path in _READABLE or path.startswith(_READABLE_FOLDERS)
        return Access.INFERENCE if reads else Access.ADMIN
    generates = method == "POST" and (path in _GENERATING or _CANCEL.fullmatch(path) is not None)
    return Access.INFERENCE if generates else Access.ADMIN


def route_path(scope: Mapping[str, Any]) -> str:
    """The path a request is routed by: without the root path, by the rules Starlette routes by."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


def _is_static(path: str) -> bool:
    """A file directly in the folder: nothing that could lead out of it."""
    name = path.removeprefix(_PUBLIC_FOLDER)
    return name != path and name != "" and not any(sign in name for sign in ("/", "\\", ".."))
