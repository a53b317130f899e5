"""Every method by name.

Owns: the list. Knows nothing of how they work.
"""

from crma_adapters.errors import ConfigError
from crma_training.methods.ewc import Ewc
from crma_training.methods.inf_lora import InfLora
from crma_training.methods.merging import Merging
from crma_training.methods.method import Method
from crma_training.methods.modular import Modular
from crma_training.methods.o_lora import OLora
from crma_training.methods.plain import Frozen, FrozenMatched, Joint, Naive
from crma_training.methods.replay import Replay

CORE: tuple[Method, ...] = (Naive(), Frozen(), FrozenMatched(), Modular())
"""The methods of the main table."""

COMPARISONS: tuple[Method, ...] = (
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
    Joint(),
)
"""Controls of CRMA, published baselines and the upper bound."""

METHODS: dict[str, Method] = {method.name: method for method in (*CORE, *COMPARISONS)}


def methods_named(names: tuple[str, ...]) -> tuple[Method, ...]:
    """The methods in the order named. Raises `ConfigError` for names that no method has."""
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise ConfigError(f"unknown method {', '.join(unknown)}; choose among {', '.join(METHODS)}")
    return tuple(METHODS[name] for name in names)
