"""Quantiles of the server's histogram."""

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from crma_adapters.errors import ConfigError
from crma_eval.routing.latency.histogram import Histogram, parse_histogram, read_histogram
from crma_router.policy import RoutingDecision
from crma_server.observability.metrics import Metrics

DECISION = RoutingDecision("a", 1.0, "routed", "", {"a": 1.0}, 0.0, 1.0)


def exposition(*seconds: float) -> str:
    """What a server that took so long for its decisions shows."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for taken in seconds:
        metrics.observe_decision(DECISION, taken)
    return generate_latest(registry).decode()


def test_quantiles_lie_in_their_buckets() -> None:
    found = parse_histogram(exposition(*[0.0025] * 90, *[0.012] * 10))
    assert found.count == 100
    assert 2 <= found.quantile_ms(0.5) <= 3
    assert 10 <= found.quantile_ms(0.99) <= 15


def test_within_a_bucket_they_are_even() -> None:
    found = Histogram(((0.01, 10.0), (0.02, 30.0), (float("inf"), 30.0)))
    assert found.quantile_ms(0.5) == pytest.approx(12.5)
    assert found.quantile_ms(1.0) == pytest.approx(20)


def test_past_the_last_bound_it_is_that_bound() -> None:
    assert Histogram(((0.01, 0.0), (float("inf"), 5.0))).quantile_ms(0.5) == 10


def test_the_difference_is_what_came_after() -> None:
    former = parse_histogram(exposition(*[0.5] * 50))
    latter = parse_histogram(exposition(*[0.5] * 50, *[0.0005] * 20))
    gained = latter.since(former)
    assert gained.count == 20
    assert gained.quantile_ms(0.99) <= 1


def test_other_metrics_are_no_router() -> None:
    with pytest.raises(ConfigError, match="no crma_router_seconds"):
        parse_histogram("# TYPE other counter\nother_total 1\n")


def test_no_server_is_said() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with (
        httpx.Client(base_url="http://nowhere", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(ConfigError, match="expected a running crma-serve"),
    ):
        read_histogram(client)
