"""Event files that TensorBoard shows, written while a domain trains or from a finished stage."""

import shutil
from pathlib import Path
from types import TracebackType

from crma_training.trainer.metrics import LoggedStep, read_steps
from crma_training.visibility.holdout import HoldoutReading, read_holdout

EVENTS = "tensorboard.d"  # beside the stages; no domain's name has a dot

FLUSH_S = 5  # what a live view lags behind


class EventWriter:
    """One domain's event file in `folder`, which is emptied first: a domain that starts again shows once."""

    def __init__(self, folder: Path) -> None:
        # Takes a second to import, and the command line is read before.
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), flush_secs=FLUSH_S)

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def step(self, line: LoggedStep) -> None:
        """The scalars of one step."""
        for tag, value in {**line.flat(), "speed/tokens_per_s": line.tokens_per_s}.items():
            self._writer.add_scalar(tag, value, line.step)

    def holdout(self, reading: HoldoutReading) -> None:
        """One holdout loss."""
        self._writer.add_scalar(f"holdout/{reading.domain}", reading.loss, reading.step)


def write_events(stage: Path, folder: Path) -> None:
    """The event file of a finished stage, from its logs. Raises `TrainingError` if they cannot be read."""
    steps, readings = read_steps(stage), read_holdout(stage)
    with EventWriter(folder) as events:
        for line in steps:
            events.step(line)
        for reading in readings:
            events.holdout(reading)
