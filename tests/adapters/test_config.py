"""A CRMA configuration that cannot work is refused by name."""

import pytest

from crma_adapters.crma.config import CrmaConfig
from crma_adapters.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "orthogonal"}, "mode 'orthogonal'.*residual, nonexpansive"),
        ({"rank": 0}, "rank is 0"),
        ({"rank": 9}, "rank 9 for a hidden size of 8"),
        ({"rank": 2.0}, r"rank is 2\.0"),
        ({"form": 3}, "form 3 is unknown"),
        ({"num_layers": -1}, "num_layers is -1"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"sinkhorn_iterations": 0}, "sinkhorn_iterations is 0"),
        ({"logit_range": 0.0}, "logit_range is 0.0"),
        ({"logit_range": float("nan")}, "logit_range is nan"),
        ({"initial_alpha": 0.0}, "initial_alpha is 0.0"),
        ({"initial_alpha": 1.0}, "initial_alpha is 1.0"),
        ({"initial_logit": float("inf")}, "initial_logit is inf"),
    ],
)
def test_refuses(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CrmaConfig(**({"hidden_size": 8, "num_layers": 2, "rank": 4} | values))  # type: ignore[arg-type]


def test_defaults_are_the_designs() -> None:
    config = CrmaConfig(hidden_size=576, num_layers=30)
    assert (config.rank, config.mode, config.form, config.sinkhorn_iterations) == (16, "residual", 2, 20)
    assert (config.logit_range, config.initial_logit) == (8.0, 4.0)
