"""What a training step leaves behind: one JSON line in the run folder, one line of progress on the terminal.

Owns: names and meaning of the metrics. Knows nothing of how a step is made.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from crma_training.spectral import SpectralReading

FILE_NAME = "metrics.jsonl"


@dataclass(frozen=True)
class StepMetrics:
    """One optimizer step. Per-group values are keyed by parameter group.

    Attributes:
        loss: nats per answer token, before the update.
        gradient_norm, clipped: L2 norm before clipping, and whether ZClip scaled it.
        spectral: what CRMA's blocks did, after the update; None without CRMA.
        tokens: of the batch, prompts included, padding not.
    """

    domain: str
    step: int
    loss: float
    gradient_norm: dict[str, float]
    clipped: dict[str, bool]
    learning_rate: dict[str, float]
    spectral: SpectralReading | None
    tokens: int


class MetricsLog:
    """Appends steps to `metrics.jsonl` and moves a progress bar; measures speed from step to step."""

    def __init__(self, directory: Path, domain: str, steps: int) -> None:
        self.domain, self.steps = domain, steps
        self._file = (directory / FILE_NAME).open("w", encoding="utf-8")
        # A bar that is piped into a file is a line per update: there, one every 10 s is enough.
        pause_s = 0.1 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(total=steps, desc=domain, unit="step", dynamic_ncols=True, mininterval=pause_s)
        self._started = self._last = time.perf_counter()
        self._tokens = 0

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._bar.close()

    def write(self, metrics: StepMetrics) -> None:
        """One step; flushed, so that a reader sees it at once."""
        now = time.perf_counter()
        line = {**asdict(metrics), "tokens_per_s": round(metrics.tokens / (now - self._last), 1)}
        self._last = now
        self._tokens += metrics.tokens
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        spectral = metrics.spectral
        crma = (
            f"||M|| {1 + spectral.mixing_norm_error:.6f}, alpha {spectral.alpha_mean:.4f}, "
            if spectral
            else ""
        )
        speed = self._tokens / (now - self._started)
        self._bar.set_postfix_str(f"loss {metrics.loss:.3f}, {crma}{speed:.0f} tok/s", refresh=False)
        self._bar.update()
