"""Replay: a uniform buffer, an exact share of replayed rows, an unchanged budget."""

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from scipy.stats import chisquare

from crma_adapters.errors import TrainingError
from crma_training.data.tokens import Example
from crma_training.methods.method import Lesson
from crma_training.methods.plain import Naive
from crma_training.methods.replay import Replay, mixed

MakeCourse = Callable[..., Any]


def rows(start: int, count: int) -> list[Example]:
    return [Example.with_answer((number, 0), 1) for number in range(start, start + count)]


def batches(count: int, size: int) -> list[list[Example]]:
    return [rows(size * index, size) for index in range(count)]


def test_every_row_is_as_likely_to_be_stored(make_course: MakeCourse) -> None:
    _, (task,) = make_course("code").load()
    samples = [Replay("replay", percent=10).sample(task, seed) for seed in range(2000)]
    assert {len(sample) for sample in samples} == {2}  # a tenth of 20 rows
    counts = Counter(index for sample in samples for index in sample)
    assert chisquare([counts[index] for index in range(20)]).pvalue > 0.01
    assert len(Replay("replay", percent=1).sample(task, 0)) == 1  # never none


@pytest.mark.parametrize("percent", [1, 10, 35])
def test_the_share_of_replayed_rows_is_exact(percent: int) -> None:
    given = batches(125, 8)
    taken = list(mixed(given, rows(-30, 30), percent, random.Random(0)))
    assert [len(batch) for batch in taken] == [8] * 125
    replayed = [sum(row.token_ids[0] < 0 for row in batch) for batch in taken]
    assert sum(replayed) == percent * 1000 // 100
    assert max(replayed) - min(replayed) <= 1  # spread evenly
    kept = [a is b for old, new in zip(given, taken, strict=True) for a, b in zip(old, new, strict=True)]
    assert kept.count(False) == sum(replayed)  # all other rows stand where they stood


def test_what_is_replayed_is_uniform_over_the_buffer() -> None:
    memory = rows(-30, 30)
    replayed = [
        row.token_ids[0]
        for batch in mixed(batches(75, 8), memory, 10, random.Random(1))
        for row in batch
        if row.token_ids[0] < 0
    ]
    assert len(replayed) == 60
    assert set(Counter(replayed).values()) == {2}  # two rounds through the buffer


def test_places_given_up_are_uniform() -> None:
    places = Counter(
        place
        for seed in range(200)
        for batch in mixed(batches(10, 8), rows(-5, 5), 10, random.Random(seed))
        for place, row in enumerate(batch)
        if row.token_ids[0] < 0
    )
    assert chisquare([places[place] for place in range(8)]).pvalue > 0.01


def test_the_buffer_holds_earlier_domains_and_the_budget_is_naives(make_course: MakeCourse) -> None:
    course = make_course(steps=10)
    stages, naive = course.learn(Replay("replay", percent=10)), course.learn(Naive())
    assert course.files(stages[0] / "adapter") == course.files(naive[0] / "adapter")  # nothing to replay yet
    assert course.files(stages[1] / "adapter") != course.files(naive[1] / "adapter")
    for index, name in enumerate(("code", "legal", "medical")):
        stored = json.loads((stages[index] / "buffer.json").read_text())
        assert (stored["domain"], len(stored["rows"])) == (name, 2)
        steps = [
            len((folders[index] / "metrics.jsonl").read_text().splitlines()) for folders in (stages, naive)
        ]
        assert steps == [10, 10]


def test_rows_of_another_run_are_refused(make_course: MakeCourse) -> None:
    course = make_course("code", "legal")
    stages = course.learn(Replay("replay", percent=10))
    bench, tasks = course.load()
    lesson = Lesson(bench, (tasks[1], tasks[0]), 1, stages[:1])
    with pytest.raises(TrainingError, match=r"buffer\.json holds rows of code, not of legal"):
        Replay("replay", percent=10).learn(lesson, stages[1])
    fewer = replace(tasks[0], train=tasks[0].train[:1])
    with pytest.raises(TrainingError, match=r"as it is now"):
        Replay("replay", percent=10).learn(Lesson(bench, (fewer, tasks[1]), 1, stages[:1]), stages[1])
