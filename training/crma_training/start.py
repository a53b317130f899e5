"""What a sequence builds on: nothing, or the live release, whose other domains stay as they are.

Every adapter is pinned to the backbone it was trained on, so a new domain changes nothing under the others
and needs none of their data.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from crma_adapters.crma.backbone import read_backbone_card
from crma_adapters.errors import ConfigError, IncompatibleError
from crma_adapters.lora.lora_files import CONFIG_FILE
from crma_adapters.models.base_model import BaseModel
from crma_adapters.models.fingerprint import same_base
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_training.config import TrainConfig


@dataclass(frozen=True)
class Start:
    """`release` is the live release's number when the run began (0: none), `carried` the domains kept from
    it. `backbone` is the version whose CRMA goes on training, None for a new one.
    """

    release: int
    backbone: str | None
    carried: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"release": self.release, "backbone": self.backbone, "carried": list(self.carried)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Start":
        """Reads what `to_json` wrote."""
        return cls(values["release"], values["backbone"], tuple(values["carried"]))


def choose_start(store: Store, base: BaseModel, trained: Collection[str], config: TrainConfig) -> Start:
    """What to build on when `trained` are the domains to learn.

    Raises:
        IncompatibleError: the live release belongs to another base model.
        ConfigError: a domain has the name of a plain adapter in the store.
    """
    for name in sorted(trained):
        if (store.root / name / CONFIG_FILE).exists():
            raise ConfigError(
                f"{store.root / name} is a plain adapter, and {name} is a domain to train: one name cannot "
                "be both; rename the folder or the domain"
            )
    live = live_release(store)
    if live is None:
        return Start(0, None, ())
    if not same_base(live.base_fingerprint, base.fingerprint):
        raise IncompatibleError(
            f"{store.root}: its live release {live.number} is for {live.base_model}, this run trains "
            f"{base.name}; give --adapters another folder"
        )
    carried = tuple(sorted(live.adapters.keys() - set(trained)))
    goes_on = carried and live.backbone is not None and _same_form(store, live.backbone.version, config)
    return Start(live.number, live.backbone.version if goes_on and live.backbone else None, carried)


def live_release(store: Store) -> Release | None:
    """The live release, or None in a folder that has none yet."""
    return store.live() if (store.root / "release.json").exists() else None


def _same_form(store: Store, version: str, config: TrainConfig) -> bool:
    """Whether the live backbone is what this run would make, so that it can go on training."""
    found = read_backbone_card(store.backbone_dir(version)).config
    return (found.form, found.mode, found.rank) == (2, config.mode, config.rank_of_backbone)
