"""What a CRMA is made of: its form, its sizes and its starting point.

Owns: the configuration and what makes one valid. Knows nothing of models or files.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict

from crma_adapters.errors import ConfigError
from crma_adapters.io.document import STRICT

Mode = Literal["residual", "nonexpansive", "identity", "free"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class CrmaConfig:
    """Shape and form of one CRMA over a whole decoder.

    `mode` is the form (see docs/crma.md): `residual` mixes with a doubly stochastic matrix, `nonexpansive`
    bounds the whole map's norm, `identity` and `free` are controls. Raises `ConfigError` on values that
    cannot work.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    hidden_size: int
    num_layers: int
    streams: int = 4
    mode: Mode = "residual"
    sinkhorn_iterations: int = 20
    logit_range: float = 8.0
    initial_logit: float = 4.0
    initial_alpha: float = 0.01

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"CRMA mode {self.mode!r} is unknown; use one of {', '.join(MODES)}")
        for name in ("hidden_size", "num_layers", "streams", "sinkhorn_iterations"):
            _require_positive_int(name, getattr(self, name))
        if self.streams > self.hidden_size:
            raise ConfigError(
                f"CRMA has {self.streams} streams for a hidden size of {self.hidden_size}; use fewer streams"
            )
        if not 0 < self.logit_range < float("inf"):
            raise ConfigError(f"logit_range is {self.logit_range}; use a positive number, such as 8.0")
        if not 0 < self.initial_alpha < 1:
            raise ConfigError(f"initial_alpha is {self.initial_alpha}; use a number between 0 and 1")
        if not abs(self.initial_logit) < float("inf"):
            raise ConfigError(f"initial_logit is {self.initial_logit}; use a finite number, such as 4.0")


def _require_positive_int(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"CRMA {name} is {value!r}; use a positive integer")
