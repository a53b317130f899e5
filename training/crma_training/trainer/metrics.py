"""What a training step leaves behind: a JSON line in the run folder, a line of progress on the terminal."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from crma_training.json_lines import read_lines
from crma_training.processes import is_main
from crma_training.trainer.spectral import SpectralReading

FILE_NAME = "metrics.jsonl"


@dataclass(frozen=True)
class StepMetrics:
    """One optimizer step. Per-group values are keyed by parameter group.

    Attributes:
        loss: nats per answer token, before the update.
        gradient_norm, clipped: L2 norm before clipping, and whether ZClip scaled it.
        spectral: what CRMA's blocks did, after the update; None without CRMA.
        tokens: of the batch, prompts included, padding not.
        skipped: the gradients were not finite, so nothing was updated.
    """

    domain: str
    step: int
    loss: float
    gradient_norm: dict[str, float]
    clipped: dict[str, bool]
    learning_rate: dict[str, float]
    spectral: SpectralReading | None
    tokens: int
    skipped: bool = field(default=False, kw_only=True)

    def flat(self) -> dict[str, float]:
        """The values by the tags that TensorBoard and other trackers show."""
        scalars = {"loss/train": self.loss}
        for group, norm in self.gradient_norm.items():
            scalars[f"grad_norm/{group}"] = norm
            scalars[f"clipped/{group}"] = float(self.clipped[group])
            scalars[f"lr/{group}"] = self.learning_rate[group]
        if self.spectral is not None:
            scalars |= {f"crma/{name}": value for name, value in asdict(self.spectral).items()}
        return scalars


@dataclass(frozen=True)
class LoggedStep(StepMetrics):
    """A line of `metrics.jsonl`: a step and its speed, pauses left out."""

    tokens_per_s: float


class MetricsLog:
    """Appends steps to `metrics.jsonl` in `folder`, moves a progress bar, measures speed from step to step.

    `watch` is given every line too. `begin` says at which step it starts; lines from there on are dropped.
    """

    def __init__(
        self,
        directory: Path,
        domain: str,
        steps: int,
        watch: Callable[[LoggedStep], None] | None = None,
    ) -> None:
        self.domain, self.steps, self.folder = domain, steps, directory
        self._watch = watch
        self._file = (directory / FILE_NAME).open("a", encoding="utf-8")
        # A bar that is piped into a file is a line per update: there, one every 10 s is enough.
        pause_s = 0.1 if sys.stderr.isatty() else 10.0
        self._bar = tqdm(
            total=steps,
            desc=domain,
            unit="step",
            dynamic_ncols=True,
            mininterval=pause_s,
            disable=not is_main(),
        )
        self._started = self._last = time.perf_counter()
        self._tokens = self._skipped = 0

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._bar.close()

    def begin(self, step: int) -> None:
        """Goes on after `step` steps: their lines stay, and are given to `watch` again."""
        kept = (self.folder / FILE_NAME).read_bytes().splitlines(keepends=True)[:step]
        self._file.truncate(sum(map(len, kept)))
        if self._watch is not None:
            for line in read_steps(self.folder):
                self._watch(line)
        self._bar.update(step)
        self._started = self._last = time.perf_counter()

    def write(self, metrics: StepMetrics) -> None:
        """One step; flushed, so that a reader sees it at once."""
        now = time.perf_counter()
        line = LoggedStep(**vars(metrics), tokens_per_s=round(metrics.tokens / (now - self._last), 1))
        self._last = now
        self._tokens += metrics.tokens
        self._skipped += metrics.skipped
        self._file.write(json.dumps(asdict(line)) + "\n")
        self._file.flush()
        if self._watch is not None:
            self._watch(line)
        spectral = metrics.spectral
        crma = (
            f"||M|| {1 + spectral.mixing_norm_error:.6f}, alpha {spectral.alpha_mean:.4f}, "
            if spectral
            else ""
        )
        skipped = f", {self._skipped} steps skipped" if self._skipped else ""
        speed = self._tokens / (now - self._started)
        self._bar.set_postfix_str(f"loss {metrics.loss:.3f}, {crma}{speed:.0f} tok/s{skipped}", refresh=False)
        self._bar.update()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time spent in here is no training time and does not count for the speed."""
        began = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - began
            self._started += passed
            self._last += passed


def read_steps(directory: Path) -> tuple[LoggedStep, ...]:
    """The lines of a finished stage's `metrics.jsonl`. Raises `TrainingError` if it cannot be read."""
    return read_lines(LoggedStep, directory / FILE_NAME)
