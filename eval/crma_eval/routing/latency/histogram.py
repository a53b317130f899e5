"""The server's own account of its router: the histogram `crma_router_seconds` of /metrics."""

from collections.abc import Iterable
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from crma_adapters.errors import ConfigError
from crma_eval.routing.latency.timing import Quantiles

NAME = "crma_router_seconds"


@dataclass(frozen=True)
class Histogram:
    """Decisions of at most each bound, in seconds: ascending, the last one without a bound (inf)."""

    buckets: tuple[tuple[float, float], ...]

    @property
    def count(self) -> int:
        return int(self.buckets[-1][1])

    def since(self, former: "Histogram") -> "Histogram":
        """What came after `former` was read."""
        before = dict(former.buckets)
        return Histogram(tuple((bound, value - before.get(bound, 0)) for bound, value in self.buckets))

    def quantile_ms(self, share: float) -> float:
        """As Prometheus' histogram_quantile: even within a bucket; past the last bound, that bound."""
        wanted = share * self.count
        lower, below = 0.0, 0.0
        for bound, value in self.buckets:
            if value >= wanted:
                if bound == float("inf"):
                    break
                part = (wanted - below) / (value - below) if value > below else 1.0
                return (lower + (bound - lower) * part) * 1000
            lower, below = bound, value
        return lower * 1000

    def quantiles(self) -> Quantiles:
        return Quantiles(self.quantile_ms(0.5), self.quantile_ms(0.9), self.quantile_ms(0.99))


def read_histogram(client: httpx.Client) -> Histogram:
    """The server's histogram now. Raises `ConfigError` if there is no crma-serve."""
    try:
        text = client.get("/metrics").raise_for_status().text
        return parse_histogram(text)
    except httpx.HTTPError as error:
        raise ConfigError(f"{client.base_url}/metrics: {error}; expected a running crma-serve") from error


def parse_histogram(exposition: str) -> Histogram:
    """Of Prometheus' text format; several processes' series are added up."""
    sums: dict[float, float] = {}
    for sample in _samples(exposition):
        bound = float(sample[0])
        sums[bound] = sums.get(bound, 0.0) + sample[1]
    if float("inf") not in sums:
        raise ConfigError(f"no {NAME} among the metrics; expected those of a crma-serve that routes")
    return Histogram(tuple(sorted(sums.items())))


def _samples(exposition: str) -> Iterable[tuple[str, float]]:
    for family in text_string_to_metric_families(exposition):
        if family.name == NAME:
            for sample in family.samples:
                if sample.name == f"{NAME}_bucket":
                    yield sample.labels["le"], sample.value
