"""An arm's process: when it is told to work and when it answers, how failures end."""

from pathlib import Path

import pytest

from crma_adapters.errors import TrainingError
from crma_eval.learning.overhead.arm import Work, paced
from crma_eval.learning.overhead.race import Runner
from crma_training.config import TrainConfig
from crma_training.data.tokens import Example


def test_an_arms_error_is_told(base_model: Path, data_folder: Path) -> None:
    task = Work(data_folder, "cooking", TrainConfig(model=str(base_model)), blocks=1, steps=1)
    with Runner(task, "crma") as runner, pytest.raises(TrainingError, match="unknown domain cooking"):
        runner.block()


class FakeChannel:
    """A parent that always says go, and keeps what it is sent."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def recv(self) -> None:
        self.events.append("go")

    def send(self, found: object) -> None:
        self.events.append(found)


def test_a_block_is_sent_only_once_its_last_step_is_done() -> None:
    channel = FakeChannel()
    batches = [[Example.with_answer((1,) * length, 0)] for length in (5, 7, 11, 13)]
    for batch in paced(iter(batches), 2, channel):  # type: ignore[arg-type]
        channel.events.append(len(batch[0].token_ids))
    tokens = [getattr(event, "tokens", event) for event in channel.events]
    assert tokens == ["go", 5, 7, 12, "go", 11, 13, 24]
