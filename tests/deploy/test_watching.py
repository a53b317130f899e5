"""Dashboard and alert rules name metrics that a server has, with labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from crma_server.observability.metrics import Metrics

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "crma.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
VLLMS = {"vllm:num_requests_waiting", "vllm:num_requests_running"}
_METRIC = re.compile(r"\b(crma_[a-z_]+|vllm:[a-z_]+)")
_LABELS = re.compile(r"(?:by|without) \(([^)]*)\)")


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """Every sample name of a server's own metrics, and its labels."""
    registry, found = CollectorRegistry(), dict[str, set[str]]()
    metrics = Metrics(registry)
    collectors = set(registry._names_to_collectors.items())
    for name, collector in collectors:
        found[name] = set(vars(collector)["_labelnames"]) | ({"le"} if name.endswith("_bucket") else set())
    assert metrics is not None
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for group in ALERTS["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


@pytest.mark.parametrize(("title", "expression"), [*expressions()])
def test_it_asks_for_metrics_and_labels_there_are(
    title: str, expression: str, known: dict[str, set[str]]
) -> None:
    names = set(_METRIC.findall(expression))
    assert names <= known.keys() | VLLMS, title
    labels = {"instance", "le", *(label for name in names & known.keys() for label in known[name])}
    grouped = {each.strip() for found in _LABELS.findall(expression) for each in found.split(",")}
    assert grouped <= labels, title
    for inner in re.findall(r"{([^}]*)}", expression):
        used = {pair.partition("=")[0].rstrip("~!").strip() for pair in inner.split(",") if pair}
        assert used <= labels | {"job"}, title


def test_legends_use_labels_there_are(known: dict[str, set[str]]) -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            names = set(_METRIC.findall(target["expr"])) & known.keys()
            labels = {"instance", *(label for name in names for label in known[name])}
            assert set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"])) <= labels, panel["title"]


def test_panels_have_room_of_their_own() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "two panels overlap"
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"].keys() == {"summary", "description"}
