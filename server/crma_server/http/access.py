"""Which key opens which route.

Owns: the table, by method and path. What it does not name needs an inference key, so a route that is added
anywhere (by vLLM, a plugin, a flag) is never open by oversight. Knows nothing of keys.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Access(Enum):
    """Who may use a route."""

    PUBLIC = "public"
    INFERENCE = "inference"
    ADMIN = "admin"
    EITHER = "either"  # an inference key or an admin key


_READING = ("GET", "HEAD")
# Probes, and the dashboard's page, which holds no data.
_PUBLIC = frozenset({"/health", "/ready", "/ping", "/crma", "/crma/"})
_PUBLIC_FOLDER = "/crma/static/"
_EITHER = frozenset({"/metrics", "/metrics/"})

_ADMIN_PREFIXES = ("/crma/v1", "/fault_tolerance")
# vLLM's own routes that change or stop the server for everyone. Most exist only with a flag or in its
# development mode (vllm.entrypoints.{serve,rl}), and there without any key.
_ADMIN = frozenset(
    {
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/adapters",
        "/start_profile",
        "/stop_profile",
        "/scale_elastic_ep",
        "/is_scaling_elastic_ep",
        "/collective_rpc",
        "/server_info",
        "/reset_prefix_cache",
        "/reset_mm_cache",
        "/reset_encoder_cache",
        "/sleep",
        "/wake_up",
        "/is_sleeping",
        "/release_kv_cache_memory",
        "/pause",
        "/resume",
        "/is_paused",
        "/abort_requests",
        "/init_weight_transfer_engine",
        "/shutdown_weight_transfer_engine",
        "/start_weight_update",
        "/start_draft_weight_update",
        "/update_weights",
        "/finish_weight_update",
        "/update_weight_version",
        "/weight_info",
        "/weight_checker",
        "/get_world_size",
    }
)


def access_to(method: str, path: str) -> Access:
    """Who may use `method` on `path`, a path without the server's root path, as the router sees it."""
    reading = method in _READING
    if reading and (path in _PUBLIC or _is_static(path)):
        return Access.PUBLIC
    if path in _EITHER and reading:
        return Access.EITHER
    if path.removesuffix("/") in _ADMIN or path.startswith("/adapters/"):
        return Access.ADMIN
    if any(path == prefix or path.startswith(prefix + "/") for prefix in _ADMIN_PREFIXES):
        return Access.ADMIN
    return Access.INFERENCE


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
