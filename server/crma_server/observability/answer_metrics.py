"""The metrics of what the engine answered, by adapter and version.

Owns: their names, labels and buckets, and removing those of a version that is gone. Knows nothing of HTTP.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_ANSWER_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)


class AnswerMetrics:
    """What the engine did for each version of each adapter."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["adapter", "version"]
        self.answers = Counter(
            "crma_adapter_answers", "Answers by the version that gave them and whether they were finished.",
            [*labels, "finished"], registry=registry,
        )  # fmt: skip
        self.prompt_tokens = Counter("crma_adapter_prompt_tokens", "Tokens read.", labels, registry=registry)
        self.generated_tokens = Counter(
            "crma_adapter_generated_tokens", "Tokens written.", labels, registry=registry
        )
        self.first_token_seconds = Histogram(
            "crma_adapter_first_token_seconds", "Time from a request to its first token.",
            labels, buckets=_ANSWER_SECONDS, registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "crma_adapter_answer_seconds", "Time from a request to its last token.",
            labels, buckets=_ANSWER_SECONDS, registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "crma_adapter_in_flight", "Requests the engine is answering now.",
            labels, registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip

    def observe(
        self,
        labels: tuple[str, str],
        prompt_tokens: int,
        generated_tokens: int,
        ttft_s: float | None,
        latency_s: float,
        *,
        finished: bool,
    ) -> None:
        self.answers.labels(*labels, "yes" if finished else "no").inc()
        self.prompt_tokens.labels(*labels).inc(prompt_tokens)
        self.generated_tokens.labels(*labels).inc(generated_tokens)
        if ttft_s is not None:
            self.first_token_seconds.labels(*labels).observe(ttft_s)
        self.seconds.labels(*labels).observe(latency_s)

    def forget(self, adapter: str, version: str) -> None:
        """Remove every series of a version, where prometheus_client can."""
        if not can_remove():
            return
        for metric in (
            self.answers, self.prompt_tokens, self.generated_tokens,
            self.first_token_seconds, self.seconds, self.in_flight,
        ):  # fmt: skip
            metric.remove_by_labels({"adapter": adapter, "version": version})


def can_remove() -> bool:
    """In multi-process mode (several API servers) prometheus_client cannot remove a series."""
    return "PROMETHEUS_MULTIPROC_DIR" not in os.environ and "prometheus_multiproc_dir" not in os.environ
