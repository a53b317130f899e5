"""What a sequence builds on: nothing, or the live release of the store.

Owns: the rule for adding domains to a store that already has some, and its refusals before any training.
Knows nothing of how training or measuring is done.

The rule: if every domain of the live release is trained again, the sequence starts from a new backbone.
Otherwise it goes on from the live backbone, and the release's other domains are carried over as they are.
CRMA then changes under them, so their drift must be measured: that takes their rows in the data folder, or a
frozen backbone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crma_adapters.errors import ConfigError, IncompatibleError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_training.config import TrainConfig


@dataclass(frozen=True)
class Start:
    """`release` is the live release's number when the run began (0: none), `carried` the domains kept from
    it.

    `backbone` is the version to go on from, None for a new one.
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


def choose_start(
    store: Store, base: BaseModel, trained: set[str], at_hand: set[str], config: TrainConfig
) -> Start:
    """Applies the rule to the domains to train and those whose rows are at hand.

    Raises:
        IncompatibleError: the live release belongs to another base model.
        ConfigError: domains would be carried over whose drift or routing could not be had.
    """
    live = live_release(store)
    if live is None:
        return Start(0, None, ())
    if live.base_fingerprint != base.fingerprint:
        raise IncompatibleError(
            f"{store.root}: its live release {live.number} is for {live.base_model}, this run trains "
            f"{base.name}; give --adapters another folder"
        )
    carried = tuple(sorted(live.adapters.keys() - trained))
    if not carried:
        return Start(live.number, None, ())
    _refuse_unmeasurable(live, [name for name in carried if name not in at_hand], config)
    return Start(live.number, live.backbone.version if live.backbone else None, carried)


def live_release(store: Store) -> Release | None:
    """The live release, or None in a folder that has none yet."""
    return store.live() if (store.root / "release.json").exists() else None


def _refuse_unmeasurable(live: Release, missing: Sequence[str], config: TrainConfig) -> None:
    if not missing:
        return
    names = ", ".join(missing)
    backbone_stays = config.freeze_backbone and live.backbone is not None
    if not backbone_stays:
        raise ConfigError(
            f"release {live.number} also serves {names}, and training changes the backbone under it; put its "
            "data beside the other domains so that its drift can be measured, or give --freeze-backbone"
        )
    if config.router:
        raise ConfigError(
            f"release {live.number} also serves {names}, whose questions the router needs: "
            "put its data beside the other domains, or give --no-router to keep the live router"
        )
