"""MODULAR: one backbone that goes on learning or stops, LoRAs that never change, controls without mixing."""

import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file

from crma_training.methods.modular import Modular

MakeCourse = Callable[..., Any]


def test_every_domain_has_its_own_lora_and_all_the_newest_backbone(make_course: MakeCourse) -> None:
    stages = make_course("code", "legal").learn(Modular())
    assert Modular().serving(stages, 0).adapter == stages[0] / "adapter"
    assert Modular().serving(stages, 0).backbone == stages[1] / "backbone"
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


def test_with_identity_mixing_there_is_no_mixing_to_learn(make_course: MakeCourse) -> None:
    (stage,) = make_course("code").learn(Modular("identity", mode="identity"))
    for line in (stage / "metrics.jsonl").read_text().splitlines():
        step = json.loads(line)
        assert "logits" not in step["gradient_norm"]
        assert step["spectral"]["mixing_norm_error"] == 0
