"""A run folder read back: what was asked for, what each finished domain left, how far the adapters moved."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from crma_adapters.errors import TrainingError
from crma_adapters.store.card import AdapterCard, read_card
from crma_adapters.store.names import check_domain_name
from crma_training.learn import ADAPTER
from crma_training.run_folder import IDENTITY
from crma_training.sequence import DRIFT
from crma_training.trainer.metrics import LoggedStep, read_steps
from crma_training.visibility.environment import FILE_NAME as ENVIRONMENT
from crma_training.visibility.holdout import HoldoutReading, read_holdout

T = TypeVar("T")


@dataclass(frozen=True)
class Identity:
    """`run.json`. `domains` are those to train, in order."""

    config: dict[str, Any]
    base_fingerprint: str
    data_sha256: str
    domains: tuple[str, ...]


@dataclass(frozen=True)
class DomainRecord:
    """A finished domain. `holdout` is empty if it was not measured in training, `environment` if the run is
    older than that file.
    """

    name: str
    card: AdapterCard
    steps: tuple[LoggedStep, ...]
    holdout: tuple[HoldoutReading, ...]
    environment: dict[str, str]

    @property
    def seconds(self) -> float:
        """Time of the training steps; loading and measuring are not in it."""
        return sum(step.tokens / step.tokens_per_s for step in self.steps if step.tokens_per_s > 0)

    @property
    def tokens(self) -> int:
        """Of all steps, prompts included."""
        return sum(step.tokens for step in self.steps)


@dataclass(frozen=True)
class RunRecord:
    """A run. `domains` are the finished ones, in order; `drift` is None until all are."""

    name: str
    identity: Identity
    domains: tuple[DomainRecord, ...]
    drift: dict[str, float | None] | None

    def final_loss(self, domain: DomainRecord) -> float:
        """Holdout loss of the domain's LoRA under the final backbone; for a run that has its drift."""
        drift = (self.drift or {}).get(
            domain.name
        ) or 0.0  # none: the final backbone is the one it trained on
        return domain.card.holdout_loss.after * (1 + drift)


def read_run(path: Path) -> RunRecord:
    """The run as far as it has come.

    Raises:
        TrainingError: it is no run folder, no domain is finished yet, or a file in it cannot be read.
        StoreError: it names a domain that cannot be one, or a card is missing.
    """
    if not (path / IDENTITY).is_file():
        raise TrainingError(f"{path} is not a run folder of crma-train: it has no {IDENTITY}")
    identity = _json(Identity, path / IDENTITY)
    names = [check_domain_name(name) for name in identity.domains]
    domains = tuple(_domain(path / name) for name in names if (path / name).is_dir())
    if not domains:
        raise TrainingError(f"{path}: no domain is finished yet, so there is nothing to report")
    drift = path / DRIFT / "drift.json"
    measured = _json(dict[str, float | None], drift) if drift.exists() else None
    return RunRecord(path.resolve().name, identity, domains, measured)


def _domain(stage: Path) -> DomainRecord:
    environment = stage / ENVIRONMENT
    return DomainRecord(
        name=stage.name,
        card=read_card(stage / ADAPTER),
        steps=read_steps(stage),
        holdout=read_holdout(stage),
        environment=_json(dict[str, str], environment) if environment.exists() else {},
    )


def _json(kind: type[T], path: Path) -> T:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise TrainingError(f"{path} cannot be read ({error})".replace("\n", " ")) from error
