"""The training loop: steps in parts, rates by group, skipped steps, early stopping, going on."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crma_adapters.errors import TrainingError
from crma_training.adapter import DomainAdapter, in_training
from crma_training.fit import Fitted, fit, own_batches
from crma_training.trainer.checkpoints import CHECKPOINTS, last_checkpoint
from crma_training.trainer.groups import ParameterGroup
from crma_training.trainer.metrics import MetricsLog, read_steps

MakeCourse = Callable[..., Any]


@pytest.fixture
def learn(make_course: MakeCourse, tmp_path: Path) -> Callable[..., tuple[dict[str, Tensor], Fitted]]:
    """Trains an adapter of both kinds on `code`; returns its parameters and how it went."""

    def run(
        name: str,
        *,
        steps: int = 6,
        prepare: Callable[[DomainAdapter], None] | None = None,
        options: Callable[[DomainAdapter], dict[str, Any]] | None = None,
        validation: int = 0,
        **changes: Any,
    ) -> tuple[dict[str, Tensor], Fitted]:
        bench, tasks = make_course("code", **{"adapter": "both", "batch_size": 4, **changes}).load()
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        with in_training(bench, 3) as adapter:
            groups = adapter.groups(bench.config)
            if prepare is not None:
                prepare(adapter)
            with MetricsLog(folder, "code", steps) as log:
                fitted = fit(
                    bench,
                    groups,
                    own_batches(tasks[0], bench.config, steps),
                    log,
                    attachment=adapter.attachment,
                    validation=tasks[0].holdout[:validation],
                    **(options(adapter) if options else {}),
                )
            return parameters(groups), fitted

    return run


def parameters(groups: Sequence[ParameterGroup]) -> dict[str, Tensor]:
    """Copies of what trains, by group and number."""
    found = [(f"{g.name}.{i}", p) for g in groups for i, p in enumerate(g.parameters)]
    return {name: parameter.detach().clone() for name, parameter in found}


def assert_close(one: dict[str, Tensor], other: dict[str, Tensor], most: float) -> None:
    assert one.keys() == other.keys()
    assert max(float((one[name] - other[name]).abs().max()) for name in one) <= most


@pytest.mark.parametrize(("size", "parts"), [(2, 4), (8, 1), (3, 3)])
def test_accumulated_parts_equal_one_large_batch(learn: Any, size: int, parts: int, tmp_path: Path) -> None:
    """Answers differ in length, and (3, 3) has a part more than rows that fill it."""
    rows = size * parts
    expected, _ = learn("whole", batch_size=rows)
    found, _ = learn("parts", batch_size=size, gradient_accumulation_steps=parts)
    assert_close(found, expected, 1e-5)
    losses = [[step.loss for step in read_steps(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    tokens = [[step.tokens for step in read_steps(tmp_path / name)] for name in ("whole", "parts")]
    assert tokens[0] == tokens[1]


def test_a_penalty_counts_once_a_step_however_many_parts(learn: Any) -> None:
    def penalised(adapter: DomainAdapter) -> dict[str, Any]:
        assert adapter.lora is not None
        weights = adapter.lora.parameters()
        return {"penalty": lambda: torch.stack([(w - 0.01).square().sum() for w in weights]).sum()}

    expected, _ = learn("whole", batch_size=8, options=penalised)
    found, _ = learn("parts", batch_size=2, gradient_accumulation_steps=4, options=penalised)
    without, _ = learn("without", batch_size=8)
    assert_close(found, expected, 1e-5)
    with pytest.raises(AssertionError):
        assert_close(without, expected, 1e-5)


def test_groups_move_at_their_own_rate(learn: Any) -> None:
    """Adam's first step is the rate itself against the gradient's sign, where there is a gradient."""
    settings = {"warmup": 0.0, "schedule": "constant", "weight_decay": 0.0}
    rates = {"learning_rate": 1e-3, "crma_learning_rate": 3e-3}
    start, _ = learn("start", steps=1, **settings, learning_rate=1e-12, crma_learning_rate=1e-12)
    end, _ = learn("end", steps=1, **settings, **rates)
    moved = {name: float((end[name] - start[name]).abs().max()) for name in start}
    assert max(value for name, value in moved.items() if name.startswith("lora")) == pytest.approx(1e-3, 1e-2)
    projections = [value for name, value in moved.items() if name.startswith("mixer_projections")]
    assert max(projections) == pytest.approx(3e-3, 1e-2)


def test_an_infinite_gradient_in_one_group_skips_the_step_of_all(learn: Any, tmp_path: Path) -> None:
    def spoil(adapter: DomainAdapter) -> None:
        assert adapter.lora is not None
        given = iter([float("nan"), 1.0, 1.0])
        spoilt: Any = adapter.lora.parameters()[1]
        spoilt.register_hook(lambda gradient: gradient * next(given))

    found, _ = learn("spoilt", steps=3, prepare=spoil)
    steps = read_steps(tmp_path / "spoilt")
    assert [step.skipped for step in steps] == [True, False, False]
    assert all(bool(torch.isfinite(value).all()) for value in found.values())
    start, _ = learn("start", steps=3, learning_rate=1e-12, crma_learning_rate=1e-12, weight_decay=0.0)
    assert any(not torch.equal(found[name], start[name]) for name in found)


def test_a_stopped_training_goes_on_to_the_same_weights(learn: Any, tmp_path: Path) -> None:
    """With dropout, so that random numbers must go on too."""
    settings = {"steps": 10, "save_steps": 3, "lora_dropout": 0.3, "crma_dropout": 0.2}
    expected, _ = learn("whole", **settings, options=lambda _: {"resumable": True})

    def stops(_: DomainAdapter) -> dict[str, Any]:
        def at_eight(done: int) -> None:
            if done == 8:
                raise KeyboardInterrupt

        return {"resumable": True, "watch": at_eight}

    with pytest.raises(KeyboardInterrupt):
        learn("stopped", **settings, options=stops)
    (tmp_path / "stopped" / CHECKPOINTS / "checkpoint-6" / "optimizer.pt").write_bytes(b"half")
    checkpoint = last_checkpoint(tmp_path / "stopped")
    assert checkpoint is not None
    assert checkpoint.step == 3  # the damaged one is passed over
    watched: list[int] = []
    found, fitted = learn(
        "stopped", **settings, options=lambda _: {"resumable": True, "watch": watched.append}
    )
    assert watched == [4, 5, 6, 7, 8, 9, 10]
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [step.step for step in read_steps(tmp_path / "stopped")] == list(range(10))
    assert fitted == learn("again", **settings)[1]
    again, _ = learn("stopped", **settings, options=lambda _: {"resumable": True, "watch": watched.append})
    assert watched[-1] == 10  # it had come to its end: nothing is trained
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_early_stopping_keeps_the_best_weights(learn: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 40, "validate_every": 2, "patience": 3, "validation": 4}
    settings |= {"learning_rate": 1.0, "crma_learning_rate": 1.0, "warmup": 0.0}
    found, fitted = learn("early", **settings)
    assert fitted.steps < 40
    assert fitted.kept_step == fitted.steps - 3 * 2
    assert len(read_steps(tmp_path / "early")) == fitted.steps
    assert not (tmp_path / "early" / CHECKPOINTS).exists()
    bound, _ = learn("bound", **settings, options=lambda _: {"resumable": True})
    last = tmp_path / "bound" / CHECKPOINTS / f"checkpoint-{fitted.steps}"
    state = json.loads((last / "trainer_state.json").read_bytes())
    assert state["best_global_step"] == fitted.kept_step
    losses = {line["step"]: line["eval_loss"] for line in state["log_history"] if "eval_loss" in line}
    assert min(losses, key=lambda step: losses[step]) == fitted.kept_step
    assert all(torch.equal(found[name], bound[name]) for name in found)
    stopped, again = learn("bound", **settings, options=lambda _: {"resumable": True})
    assert again == fitted
    assert all(torch.equal(found[name], stopped[name]) for name in found)


def test_out_of_memory_says_what_to_change_and_keeps_what_was_trained(learn: Any) -> None:
    def full(_: DomainAdapter) -> dict[str, Any]:
        def at_five(done: int) -> None:
            if done == 5:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        return {"resumable": True, "watch": at_five}

    settings = {"steps": 6, "save_steps": 2}
    advice = "out of memory at step 5 .* --per-device-train-batch-size 2 --gradient-accumulation-steps 2"
    with pytest.raises(TrainingError, match=advice):
        learn("full", **settings, options=full)
    half = {"batch_size": 2, "gradient_accumulation_steps": 2}
    found, _ = learn("full", **settings, **half, options=lambda _: {"resumable": True})
    expected, _ = learn("whole", **settings)
    assert_close(found, expected, 1e-5)
