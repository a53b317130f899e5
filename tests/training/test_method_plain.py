"""NAIVE goes on where it stopped, FROZEN knows no order, FROZEN-matched is large enough, JOINT waits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crma_adapters.crma.crma import Crma
from crma_training.methods.per_domain import FROZEN, PerDomain, matched_rank
from crma_training.methods.plain import Joint, Naive
from crma_training.saved_lora import SavedLora

MakeCourse = Callable[..., Any]

MATCHED = PerDomain("frozen-matched", matched=True)


def size(stage: Path) -> int:
    return sum(tensor.numel() for tensor in SavedLora.read(stage / "adapter").weights.values())


def test_naive_starts_a_domain_where_the_last_one_ended(make_course: MakeCourse) -> None:
    course = make_course("code", "legal", learning_rate=1e-12)  # too small to move A
    stages = course.learn(Naive())
    first, second = (SavedLora.read(stage / "adapter").weights for stage in stages)
    assert all(torch.equal(first[name], second[name]) for name in first if ".lora_A." in name)
    assert Naive().serving(stages, 0).adapter == stages[1] / "adapter"


def test_what_frozen_learns_of_a_domain_does_not_depend_on_the_others(make_course: MakeCourse) -> None:
    course = make_course("code", "legal")
    stages = course.learn(FROZEN)
    turned = make_course("legal", "code").learn(FROZEN, name="turned")
    assert [course.files(stage) for stage in stages] == [course.files(stage) for stage in reversed(turned)]
    assert FROZEN.serving(stages, 0).adapter == stages[0] / "adapter"
    assert FROZEN.serving(stages[:1], 1).adapter is None


def test_frozen_matched_has_at_least_the_parameters_of_crma_more(make_course: MakeCourse) -> None:
    course = make_course("code", steps=1)
    bench, _ = course.load()
    extra = sum(p.numel() for p in Crma.from_model(bench.model, mode="residual", rank=16).parameters())
    plain, matched = size(course.learn(FROZEN)[0]), size(course.learn(MATCHED)[0])
    config = MATCHED.config(bench)
    assert config.rank == matched_rank(bench)
    assert plain + extra <= matched < plain + extra + plain / bench.config.rank
    assert config.lora_alpha / config.rank == pytest.approx(bench.config.lora_alpha / bench.config.rank)


def test_joint_trains_once_on_all_rows_for_the_steps_of_all(make_course: MakeCourse) -> None:
    course = make_course()
    stages = course.learn(Joint())
    assert [len(list(stage.iterdir())) for stage in stages] == [0, 0, 2]
    assert len((stages[2] / "metrics.jsonl").read_text().splitlines()) == 3 * 3
    assert [Joint().serving(stages[:count], 0) for count in (1, 2)] == [None, None]
    served = Joint().serving(stages, 0)
    assert served is not None
    assert served.adapter == stages[2] / "adapter"
