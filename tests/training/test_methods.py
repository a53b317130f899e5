"""What holds for every method: equal bytes for equal runs, and stage folders that say all there is to say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crma_adapters.errors import ConfigError
from crma_training.adapter import at_work
from crma_training.methods.consolidated import Consolidated
from crma_training.methods.registry import METHODS, methods_named

MakeCourse = Callable[..., Any]


@pytest.mark.parametrize("name", METHODS)
def test_a_run_in_one_process_equals_one_in_a_process_per_domain(make_course: MakeCourse, name: str) -> None:
    course, method = make_course("code", "legal"), METHODS[name]
    basis = course.learn(METHODS[method.basis], name="basis") if method.basis else ()
    whole = course.learn(method, basis=basis, name="whole")
    parts = course.learn(method, basis=basis, name="parts", reload=True)
    assert [course.files(stage) for stage in whole] == [course.files(stage) for stage in parts]
    assert_servable(course, method, whole)


def assert_servable(course: Any, method: Any, stages: tuple[Path, ...]) -> None:
    """What answers loads and answers better than the bare model on the domain learnt last; a student of other
    adapters answers otherwise than it.
    """
    bench, tasks = course.load()
    serving = method.serving(stages, len(tasks) - 1)
    assert serving is not None
    assert serving.adapter is not None or serving.backbone is not None
    bare = bench.loss(tasks[-1].train)
    with at_work(bench.model, serving.adapter, serving.backbone):
        loss = bench.loss(tasks[-1].train)
    assert loss != bare if isinstance(method, Consolidated) else loss < bare


def test_unknown_names_are_refused() -> None:
    assert [method.name for method in methods_named(("joint", "naive"))] == ["joint", "naive"]
    with pytest.raises(ConfigError, match="unknown method nave; choose among naive, frozen"):
        methods_named(("naive", "nave"))
