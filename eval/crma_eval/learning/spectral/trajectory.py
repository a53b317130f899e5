"""The spectral readings that training logged, step by step, over a sequence of domains.

Owns: finding the stages of a run and putting their logs in order. Knows nothing of plots or of what a
reading means.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crma_adapters.errors import DataError
from crma_training.metrics import FILE_NAME
from crma_training.run_folder import IDENTITY
from crma_training.spectral import SpectralReading


@dataclass(frozen=True)
class Stage:
    """One domain's training: a reading per optimizer step. `backbone` is the CRMA it left, if it is there."""

    domain: str
    readings: tuple[SpectralReading, ...]
    backbone: Path | None


@dataclass(frozen=True)
class Trajectory:
    """A sequence of domains in learning order. `name` tells the sequences of one folder apart."""

    name: str
    stages: tuple[Stage, ...]

    @property
    def readings(self) -> tuple[SpectralReading, ...]:
        """Every step, first to last."""
        return tuple(reading for stage in self.stages for reading in stage.readings)

    @property
    def starts(self) -> tuple[int, ...]:
        """The optimizer step, counted over the sequence from 0, at which each stage begins."""
        lengths = [len(stage.readings) for stage in self.stages]
        return tuple(sum(lengths[:index]) for index in range(len(lengths)))


def read_trajectories(run: Path) -> list[Trajectory]:
    """Every sequence under `run`: one for a folder of `crma-train`, one for each method and seed of
    `crma-eval forgetting`. Sequences without CRMA are left out.

    Raises:
        DataError: no such folder, nothing in it was trained with CRMA, or a log is damaged.
    """
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; give a run folder of crma-train or crma-eval forgetting")
    logs = [path for path in run.glob(f"**/{FILE_NAME}") if not _hidden(path.relative_to(run))]
    sequences = sorted({path.parent.parent for path in logs})
    found = [Trajectory(_name(run, folder), tuple(_stages(folder))) for folder in sequences]
    with_crma = [trajectory for trajectory in found if trajectory.readings]
    if not with_crma:
        what = "no logs of training" if not found else f"{len(found)} sequences, none of them with CRMA"
        raise DataError(f"{run}: {what}; give a run folder whose stages hold {FILE_NAME} of CRMA training")
    return with_crma


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _name(run: Path, folder: Path) -> str:
    return "-".join(folder.relative_to(run).parts)


def _stages(sequence: Path) -> Iterator[Stage]:
    """Stages in the order of `run.json`; a folder without one has them in the order of their names."""
    existing = sorted(path.parent.name for path in sequence.glob(f"*/{FILE_NAME}"))
    identity = sequence / IDENTITY
    order = _domains(identity) if identity.is_file() else existing
    for name in order:
        if name in existing:
            backbone = sequence / name / "backbone"
            readings = tuple(_readings(sequence / name / FILE_NAME))
            yield Stage(name, readings, backbone if backbone.is_dir() else None)


def _domains(identity: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(identity.read_bytes())["domains"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{identity}: not what a run writes ({error!r}); restore it, or train again"
        ) from error


def _readings(log: Path) -> Iterator[SpectralReading]:
    for number, line in enumerate(log.read_bytes().splitlines(), start=1):
        try:
            spectral: dict[str, Any] | None = json.loads(line)["spectral"]
            if spectral is not None:
                yield SpectralReading(**{name: float(value) for name, value in spectral.items()})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{log}:{number}: not a step of training ({error!r}); the log is damaged, train again"
            ) from error
