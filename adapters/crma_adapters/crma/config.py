"""What a CRMA is made of: its form, its sizes and its starting point."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict

from crma_adapters.errors import ConfigError
from crma_adapters.io.document import STRICT

Mode = Literal["residual", "nonexpansive", "identity", "free"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class CrmaConfig:
    """Shape and form of one CRMA over a whole decoder. Raises `ConfigError` on values that cannot work.

    Attributes:
        hidden_size: d, the width of the residual stream.
        num_layers: blocks of the decoder; one map each.
        rank: n, the rank of a block's map U M V.
        mode: how M and the map are bound (docs/crma.md): `residual` mixes with a doubly stochastic matrix,
            `nonexpansive` bounds the whole map's norm, `identity` and `free` are controls.
        form: 2 starts at U = 0 with a random orthonormal V and has no gate; 1 is the form of the first
            releases, with a learnt gate, which is read and served but no longer started.
        sinkhorn_iterations: log-domain iterations before Newton's steps.
        logit_range: range to which the logits of M are capped.
        initial_logit: diagonal of the logits at the start.
        initial_alpha: the gate at the start; form 1 only.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    hidden_size: int
    num_layers: int
    rank: int = 16
    mode: Mode = "residual"
    form: Literal[1, 2] = 2
    sinkhorn_iterations: int = 20
    logit_range: float = 8.0
    initial_logit: float = 4.0
    initial_alpha: float = 0.01

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"CRMA mode {self.mode!r} is unknown; use one of {', '.join(MODES)}")
        if self.form not in (1, 2):
            raise ConfigError(f"CRMA form {self.form!r} is unknown; use 2, or 1 for what was trained as such")
        for name in ("hidden_size", "num_layers", "rank", "sinkhorn_iterations"):
            _require_positive_int(name, getattr(self, name))
        if self.rank > self.hidden_size:
            raise ConfigError(
                f"CRMA has rank {self.rank} for a hidden size of {self.hidden_size}; use a smaller rank"
            )
        if not 0 < self.logit_range < float("inf"):
            raise ConfigError(f"logit_range is {self.logit_range}; use a positive number, such as 8.0")
        if not 0 < self.initial_alpha < 1:
            raise ConfigError(f"initial_alpha is {self.initial_alpha}; use a number between 0 and 1")
        if not abs(self.initial_logit) < float("inf"):
            raise ConfigError(f"initial_logit is {self.initial_logit}; use a finite number, such as 4.0")


@dataclass(frozen=True)
class Form1Config:
    """A form-1 configuration as its documents spell it; `current` is the same in today's words."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    hidden_size: int
    num_layers: int
    streams: int = 4
    mode: Mode = "residual"
    sinkhorn_iterations: int = 20
    logit_range: float = 8.0
    initial_logit: float = 4.0
    initial_alpha: float = 0.01

    def current(self) -> CrmaConfig:
        """The configuration, checked. Raises as `CrmaConfig`."""
        values = {name: value for name, value in vars(self).items() if name != "streams"}
        return CrmaConfig(rank=self.streams, form=1, **values)

    @classmethod
    def of(cls, config: CrmaConfig) -> "Form1Config":
        """The spelling of a form-1 `config`."""
        values = {name: value for name, value in vars(config).items() if name not in ("rank", "form")}
        return cls(streams=config.rank, **values)


def _require_positive_int(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"CRMA {name} is {value!r}; use a positive integer")
