"""Checkpoints inside a domain: sealed when whole, so that a killed training goes on from it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from crma_training.run_folder import SEAL, file_digests

CHECKPOINTS = "checkpoints"  # beside a domain's log while it trains
KEPT = 2  # the last one, and the best or the one before: one is always whole
STATE = "trainer_state.json"


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint after `step` optimizer steps."""

    path: Path
    step: int

    def state(self) -> TrainerState:
        """What transformers keeps of the training."""
        return TrainerState.load_from_json(str(self.path / STATE))

    def ended(self) -> bool:
        """Whether training came to its end here: by its steps, or stopped early."""
        state = self.state()
        control = state.stateful_callbacks.get("TrainerControl", {}).get("args", {})
        return state.global_step >= state.max_steps or bool(control.get("should_training_stop"))


def last_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint below `folder` whose files are what its seal says; None if there is none."""
    found = [path for path in (folder / CHECKPOINTS).glob("checkpoint-*") if path.name[11:].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        if _whole(path):
            return Checkpoint(path, int(path.name[11:]))
    return None


class Sealing(TrainerCallback):  # type: ignore[misc]
    """Seals each checkpoint once it is written."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """After transformers wrote a checkpoint."""
        path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and path.is_dir():
            (path / SEAL).write_text(json.dumps(_digests(path)), encoding="utf-8")


def _whole(path: Path) -> bool:
    try:
        sealed = json.loads((path / SEAL).read_bytes())
        return bool(sealed == _digests(path))
    except (OSError, ValueError):
        return False


def _digests(path: Path) -> dict[str, str]:
    # Other processes write their random numbers when they come to it.
    return {name: d for name, d in file_digests(path).items() if not name.startswith("rng_state_")}
