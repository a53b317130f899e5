import pytest
from prometheus_client import CollectorRegistry, generate_latest

from crma_adapters.release import AdapterEntry, Part, Release
from crma_router.policy import RoutingDecision
from crma_router.usual import Drift
from crma_server.metrics import Metrics

RELEASE = Release(
    number=7,
    created="2026-01-01T00:00:00Z",
    base_model="smollm2",
    base_fingerprint="f",
    backbone=Part("b" * 12, {}),
    adapters={"medical": AdapterEntry(Part("a" * 12, {}), None, None)},
    router=None,
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def shown(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def test_requests_and_decisions_are_counted(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.count_request("medical", "routed")
    metrics.count_request("medical", "routed")
    metrics.count_fallback("out of domain")
    metrics.observe_decision(RoutingDecision("medical", 0.97, "routed", "", {}, 0, 1), 0.004)
    metrics.observe_decision(RoutingDecision(None, 0.2, "fallback", "", {}, 2, 1), 0.02)
    text = shown(registry)
    assert 'crma_requests_total{adapter="medical",path="routed"} 2.0' in text
    assert 'crma_fallbacks_total{cause="out of domain"} 1.0' in text
    assert 'crma_routing_decisions_total{domain="medical",path="routed"} 1.0' in text
    assert 'crma_routing_decisions_total{domain="none",path="fallback"} 1.0' in text
    assert 'crma_router_seconds_bucket{le="0.005"} 1.0' in text
    assert 'crma_routing_confidence_bucket{le="0.2"} 1.0' in text


def test_the_live_release_is_shown(registry: CollectorRegistry) -> None:
    Metrics(registry).set_release(RELEASE)
    text = shown(registry)
    assert f'crma_release_info{{backbone="{"b" * 12}",base_model="smollm2",release="7"}} 1.0' in text
    assert f'crma_adapter_info{{adapter="medical",version="{"a" * 12}"}} 1.0' in text


def test_sticky_decisions_sessions_and_drift_are_shown(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.observe_decision(RoutingDecision("medical", 0.4, "sticky", "", {}, 0, 1, "follow-up"), 0.004)
    metrics.set_sessions(3)
    metrics.set_drift(Drift(domains=0.3, confidence=0.05))
    text = shown(registry)
    assert 'crma_routing_decisions_total{domain="medical",path="sticky"} 1.0' in text
    assert 'crma_sticky_decisions_total{cause="follow-up"} 1.0' in text
    assert "crma_sessions 3.0" in text
    assert 'crma_routing_psi{of="domain"} 0.3' in text
    assert 'crma_routing_psi{of="confidence"} 0.05' in text
