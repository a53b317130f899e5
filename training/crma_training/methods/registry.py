"""Every method by name."""

from crma_adapters.errors import ConfigError
from crma_training.methods.consolidated import Consolidated
from crma_training.methods.ewc import Ewc
from crma_training.methods.inf_lora import InfLora
from crma_training.methods.merging import Merging
from crma_training.methods.method import Method
from crma_training.methods.modular import Modular, Refreshed, Unpinned
from crma_training.methods.o_lora import OLora
from crma_training.methods.per_domain import FROZEN, PerDomain
from crma_training.methods.plain import Joint, Naive
from crma_training.methods.replay import Replay
from crma_training.methods.shared_lora import SharedLora

CORE: tuple[Method, ...] = (
    Naive(),
    FROZEN,
    PerDomain("frozen-matched", matched=True),
    PerDomain("mixer-16", adapter="mixer", mixing_rank=16),
    Modular(),
    Unpinned(),
)
"""The methods of the main table."""

COMPARISONS: tuple[Method, ...] = (
    PerDomain("frozen-4x", times_steps=4),
    PerDomain("warm-previous", start="previous"),
    PerDomain("warm-mean", start="mean"),
    PerDomain("warm-nearest", start="nearest"),
    SharedLora(),
    PerDomain("mixer-4", adapter="mixer", mixing_rank=4),
    PerDomain("mixer-free", adapter="mixer", mode="free"),
    PerDomain("mixer-identity", adapter="mixer", mode="identity"),
    PerDomain("lora-2", rank=2),
    PerDomain("shared-maps", adapter="mixer", shared_maps=True),
    Refreshed(),
    Modular("modular-nonexpansive", mode="nonexpansive"),
    Modular("modular-identity", mode="identity"),
    Modular("modular-free", mode="free"),
    Modular("modular-frozen-after-1", frozen_after=1),
    Replay("replay-1", percent=1),
    Replay("replay-10", percent=10),
    Ewc(),
    OLora(),
    InfLora(),
    Merging("merge-ties", combination="ties"),
    Merging("merge-mean", combination="mean"),
    Consolidated("consolidated"),
    Consolidated("consolidated-lora", student="lora"),
    Consolidated("consolidated-mixers", basis="mixer-16"),
    Joint(),
    Joint("joint-5x", times_steps=5),
)
"""Controls of CRMA, published baselines and the upper bound."""

METHODS: dict[str, Method] = {method.name: method for method in (*CORE, *COMPARISONS)}


def methods_named(names: tuple[str, ...]) -> tuple[Method, ...]:
    """The methods in the order named. Raises `ConfigError` for names that no method has."""
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise ConfigError(f"unknown method {', '.join(unknown)}; choose among {', '.join(METHODS)}")
    return tuple(METHODS[name] for name in names)
