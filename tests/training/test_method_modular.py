"""MODULAR: one backbone that goes on learning or stops, LoRAs that never change, controls without mixing."""

import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file

from crma_adapters.store.refresh import compare_losses
from crma_training.methods.modular import Modular, Refreshed, Unpinned, losses_under

MakeCourse = Callable[..., Any]


def test_every_domain_has_its_own_lora_on_the_backbone_it_was_trained_on(make_course: MakeCourse) -> None:
    stages = make_course("code", "legal").learn(Modular())
    assert Modular().serving(stages, 0).adapter == stages[0] / "adapter"
    assert Modular().serving(stages, 0).backbone == stages[0] / "backbone"
    assert Unpinned().serving(stages, 0).backbone == stages[1] / "backbone"
    assert Modular().serving(stages[:1], 1).adapter is None
    first, second = (load_file(next((stage / "backbone").glob("*.safetensors"))) for stage in stages)
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_a_backbone_that_stops_after_one_domain_keeps_its_bytes(make_course: MakeCourse) -> None:
    course = make_course()
    stages = course.learn(Modular("stopped", frozen_after=1))
    backbones = [course.files(stage / "backbone") for stage in stages]
    assert backbones[0] == backbones[1] == backbones[2]
    free = course.learn(Modular())
    assert course.files(free[0]) == course.files(stages[0])
    assert course.files(free[1] / "backbone") != backbones[1]


def test_what_is_not_measured_is_not_refreshed_and_what_is_not_worse_is(make_course: MakeCourse) -> None:
    course = make_course("code", "legal", validation_share=0.3)
    bench, tasks = course.load()
    assert all(len(task.validation) > 1 for task in tasks)
    basis = course.learn(Modular(), name="basis")
    stages = course.learn(Refreshed(), basis=basis)
    losses = [
        losses_under(bench, basis[0] / "adapter", stage / "backbone", tasks[0].validation) for stage in basis
    ]
    worse = not compare_losses(losses[0], losses[1], backbone="0" * 12).is_not_worse
    assert json.loads((stages[1] / "runs_on.json").read_text()) == [0 if worse else 1, 1]
    served = Refreshed().serving(stages, 0).backbone
    assert served == stages[0 if worse else 1] / "backbone"


def test_with_identity_mixing_there_is_no_mixing_to_learn(make_course: MakeCourse) -> None:
    (stage,) = make_course("code").learn(Modular("identity", mode="identity"))
    for line in (stage / "metrics.jsonl").read_text().splitlines():
        step = json.loads(line)
        assert "logits" not in step["gradient_norm"]
        assert "projections" in step["gradient_norm"]
        assert step["spectral"]["mixing_norm_error"] == 0
