"""Hyperparameters: bounds, choices, digest."""

import pytest

from crma_adapters.errors import ConfigError
from crma_training.config import TrainConfig, digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "--rank is 0; give a value that is at least 1"),
        ({"steps": -1}, "--max-steps is -1"),
        ({"holdout_every": -1}, "--holdout-every is -1; give a value that is 0 or more"),
        ({"holdout_rows": 0}, "--holdout-rows is 0; give a value that is at least 1"),
        ({"gradient_accumulation_steps": 0}, "--gradient-accumulation-steps is 0; give a value that is at"),
        ({"lora_dropout": 1.0}, r"--lora-dropout is 1.0; give a value that is in \[0, 1\)"),
        (
            {"use_dora": True},
            "--use-dora is True; .* the engine serves no DoRA; use --use-rslora or a higher",
        ),
        ({"report_to": ("paper",)}, "--report-to is .* give a value that is of wandb, mlflow, or none"),
        ({"optim": "sgd"}, "--optim is 'sgd'; give a value that is one of adamw_torch_fused"),
        ({"crma_learning_rate": 0.0}, "--crma-learning-rate is 0.0; give a value that is above 0"),
        ({"warmup": 1.0}, r"--warmup-ratio is 1.0; give a value that is in \[0, 1\)"),
        ({"mode": "loose"}, "--mode is 'loose'; give a value that is one of residual, nonexpansive"),
        ({"dtype": "int8"}, "--dtype is 'int8'; give a value that is one of auto, float32, bfloat16"),
        ({"target_modules": ()}, "--target-modules is ()"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan"),
    ],
)
def test_an_impossible_value_is_refused_by_its_flag(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("()", r"\(\)")):
        TrainConfig(**changes)  # type: ignore[arg-type]


def test_the_digest_depends_on_values_and_not_on_their_order() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(TrainConfig().to_json()) != digest(TrainConfig(seed=1).to_json())


def test_what_only_decides_how_a_run_gets_there_is_not_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a run that ran out of memory goes on with smaller batches that make the same steps."""
    plain = TrainConfig(batch_size=8)
    smaller = TrainConfig(
        batch_size=2, gradient_accumulation_steps=4, gradient_checkpointing=True, save_steps=9
    )
    assert smaller.identity() == plain.identity()
    assert TrainConfig(batch_size=4).identity() != plain.identity()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert TrainConfig(batch_size=2).identity()["step_rows"] == 8
