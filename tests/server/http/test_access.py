"""Which key opens which route."""

import pytest

from crma_server.http.access import Access, access_to, route_path


@pytest.mark.parametrize("path", ["/health", "/ready", "/ping", "/crma", "/crma/", "/crma/static/app.js"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_and_the_page_are_public(method: str, path: str) -> None:
    assert access_to(method, path) is Access.PUBLIC


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/ping"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/medical@0123:crma-off"),
        ("GET", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/chat/completions"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
    ],
)
def test_what_is_named_for_inference_needs_an_inference_key(method: str, path: str) -> None:
    assert access_to(method, path) is Access.INFERENCE


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/health"),
        ("GET", "/healthz"),
        ("GET", "//health"),
        ("GET", "/health/"),
        ("GET", "/HEALTH"),
        ("GET", "/health/../v1/models"),
        ("GET", "/crma/static/"),
        ("GET", "/crma/static/../v1/status"),
        ("GET", "/crma/static/a/b"),
        ("GET", "/crma/static/..\\v1"),
        ("OPTIONS", "/health"),
        ("GET", ""),
        ("GET", "/"),
        ("GET", "/metricsx"),
        ("POST", "/metrics"),
        ("DELETE", "/v1/models/medical"),
        ("POST", "/v1/models"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/responses/a/b/cancel"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/something/of/the/next/version"),
    ],
)
def test_what_is_not_named_needs_an_admin_key(method: str, path: str) -> None:
    assert access_to(method, path) is Access.ADMIN


@pytest.mark.parametrize(
    "path",
    [
        "/crma/v1",
        "/crma/v1/",
        "/crma/v1/status",
        "/crma/v1/../../health",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/load_lora_adapter/",
        "/adapters",
        "/adapters/medical",
        "/collective_rpc",
        "/scale_elastic_ep",
        "/sleep",
        "/fault_tolerance/apply",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_what_changes_the_server_needs_an_admin_key_by_any_method(method: str, path: str) -> None:
    assert access_to(method, path) is Access.ADMIN


def test_metrics_take_either() -> None:
    assert access_to("GET", "/metrics") is Access.EITHER


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("", "/v1/models", "/v1/models"),
        ("/api", "/api/v1/models", "/v1/models"),
        ("/api", "/v1/models", "/v1/models"),
        ("/api", "/apicrma/v1/status", "/apicrma/v1/status"),
        ("/api", "/api", ""),
    ],
)
def test_the_path_is_the_one_the_router_sees(root: str, path: str, expected: str) -> None:
    from starlette._utils import get_route_path

    scope = {"type": "http", "path": path, "root_path": root}
    assert route_path(scope) == expected == get_route_path(scope)
