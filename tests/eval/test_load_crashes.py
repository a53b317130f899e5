"""Whole runs of `crma-eval crashes` against a stand-in for the server, sound and faulty."""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.store import Store
from crma_eval.serving.load import life as life_module
from crma_eval.serving.load.clients import Answer, Served, faults_of_served, goals_of
from crma_eval.serving.load.crashes import (
    DOMAINS,
    WORDS,
    Check,
    Outcome,
    Plan,
    Record,
    check,
    crashes_report,
    outcome,
    run_session,
)
from crma_eval.serving.load.life import BEFORE_READY, Lengths, Life, Moment, draw_moments
from crma_eval.serving.load.publisher import Publisher, Said, Voice, voices

from .tiny_llama import save_tiny_llama, tiny_llama

FAKE = Path(__file__).with_name("fake_swapping_serve.py")
VERSIONS = {
    "a1": Said("echo", 1, "ant"),
    "b1": Said("parrot", 1, "bee"),
    "a2": Said("echo", 2, "cat"),
    "b2": Said("parrot", 2, "dog"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return save_tiny_llama(tiny_llama(), tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def words(base: BaseModel) -> list[Voice]:
    return voices(base.path, WORDS * len(DOMAINS))


def answer(version: str = "a1", said: str = "ant", *, domain: str = "echo", **more: object) -> Answer:
    facts = {"domain": domain, "asked_tokens": 5, "version": version, "words": {said: 5}}
    facts |= {"ended": True, "first_token_s": 0.1}
    return Answer(**(facts | more))  # type: ignore[arg-type]


def served(*answers: Answer, oldest: int = 1, newest: int = 1, **listed: str) -> Served:
    versions = {"echo": "a1", "parrot": "b1"} | listed
    return Served(oldest, newest, versions, list(answers))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (served(answer()), []),
        (served(answer("a2", "cat"), newest=2), []),
        (served(answer("a2", "cat"), newest=2, echo="a2", parrot="b2"), []),
        (served(parrot="b2", newest=2), ["half"]),
        (served(parrot="none"), ["half"]),
        (served(oldest=2, newest=2), ["not live"]),
        (served(echo="a2", parrot="b2"), ["not live"]),
        (served(answer("a2", "cat")), ["not live"]),
        (served(answer(said="cat")), ["mismarked", "not live"]),
    ],
)
def test_faults_of_what_is_served(given: Served, expected: list[str]) -> None:
    assert list(faults_of_served(given, VERSIONS)) == expected


def test_a_domain_that_is_not_listed_is_half_a_release() -> None:
    given = Served(1, 1, {"echo": "a1"}, [answer(), answer("b1", "bee", domain="parrot")])
    assert list(faults_of_served(given, VERSIONS)) == ["half"]


def test_every_phase_has_its_kills_and_the_first_server_gets_ready() -> None:
    for seed in range(50):
        moments = draw_moments(20, seed)
        assert set(Counter(moment.phase for moment in moments).values()) == {4}
        assert moments[0].phase not in BEFORE_READY
        assert all(0 <= moment.share < 1 for moment in moments)
    assert draw_moments(20, 3) == draw_moments(20, 3) != draw_moments(20, 4)
    assert [len(draw_moments(count, 0)) for count in (1, 2, 3, 7)] == [1, 2, 3, 7]
    assert all(draw_moments(1, seed)[0].phase not in BEFORE_READY for seed in range(20))
    assert Lengths(loading=8.0).delay_s(Moment("loading", 0.25)) == 2.0


def test_the_publisher_changes_every_domain_and_rests_while_it_is_held(
    base: BaseModel, words: list[Voice], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    publisher = Publisher(store, base, {"echo": words[:2], "parrot": words[2:5]})
    publisher.publish()
    publisher.publish()
    first, second = store.releases()
    assert all(first.adapters[name].part != second.adapters[name].part for name in ("echo", "parrot"))
    assert publisher.versions[second.adapters["parrot"].part.version] == Said("parrot", 2, words[3].word)
    publisher.begin(pause_s=0.01)
    with publisher.held():
        held = publisher.published
        assert store.live().number == held
    while publisher.published < held + 2:
        assert publisher.error is None
    publisher.end()
    assert store.live().number == publisher.published == len(publisher.versions) / 2


def met(found: Outcome) -> bool:
    return all(goal.met for goal in goals_of(found.rows()))


def run(
    base: BaseModel, words: list[Voice], folder: Path, kills: int, *flags: str, seed: int = 0
) -> tuple[Plan, Record]:
    plan = Plan(kills, pause_s=0.3, seed=seed, flags=flags)
    command = (sys.executable, str(FAKE))
    return plan, run_session(plan, base, words, folder, folder / "logs", command=command)


linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are counted in /proc")


@linux
def test_a_sound_server_meets_every_goal(base: BaseModel, words: list[Voice], tmp_path: Path) -> None:
    plan, record = run(base, words, tmp_path, 5)
    found = outcome(record)
    assert met(found), found
    assert (found.kills, found.starts, found.came_up, found.caught_up) == (5, 4, 4, 4)
    assert sorted(life.moment.phase for life in record.lives if life.moment) == [
        "changing", "loading", "published", "serving", "starting",
    ]  # fmt: skip
    changing = next(life for life in record.lives if life.moment and life.moment.phase == "changing")
    assert changing.last_step.startswith("release ")
    assert sum(life.open_streams for life in record.lives) >= 3
    assert all(len(life.answers) >= 4 for life in record.lives if life.ready_s)
    assert all(life.processes >= 1 for life in record.lives if life.moment)
    assert record.published > 5
    assert [check.problem for check in record.checks] == [None] * 5
    report = crashes_report(plan, record)
    assert "Goals: met" in report.markdown()
    report.write(tmp_path / "report")
    assert len(json.loads((tmp_path / "report" / "crashes.json").read_text())["figures"]["lives"]) == 6


@linux
@pytest.mark.parametrize(("fault", "found"), [("half", "half"), ("behind", None), ("swapped", "mismarked")])
def test_a_faulty_one_is_found_out(
    base: BaseModel,
    words: list[Voice],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    found: str | None,
) -> None:
    monkeypatch.setattr(life_module, "CATCH_UP_S", 1.0)
    monkeypatch.setattr(life_module, "PHASE_TIMEOUT_S", 2.0)
    plan, record = run(base, words, tmp_path, 1, "--fault", fault)
    result = outcome(record)
    if found:
        assert result.faults[found] > 0
    if fault != "swapped":
        assert result.caught_up < result.starts
    assert not met(result)
    assert "Goals: missed" in crashes_report(plan, record).markdown()


@linux
def test_a_process_that_outlives_the_kill_is_found_out(
    base: BaseModel, words: list[Voice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life_module, "GONE_TIMEOUT_S", 0.2)
    _, record = run(base, words, tmp_path, 1, "--fault", "orphan")
    result = outcome(record)
    assert result.survivors == 1
    assert not met(result)


def test_a_first_server_that_does_not_start_is_an_error(
    base: BaseModel, words: list[Voice], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="there is no model"):
        run(base, words, tmp_path, 1, "--fault", "ends")


def test_a_store_that_does_not_verify_is_found_out(
    base: BaseModel, words: list[Voice], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    Publisher(store, base, {"echo": words[:2]}).publish()
    assert check(store) == Check(1, None)
    (folder,) = (tmp_path / "store" / "echo").iterdir()
    (folder / "adapter_model.safetensors").write_bytes(b"half")
    found = check(store)
    assert found.release == 1
    assert "adapter_model.safetensors" in str(found.problem)
    (tmp_path / "store" / "release.json").write_bytes(b"")
    assert check(store).release is None


@pytest.mark.parametrize(
    "worse",
    [{"unverified": 1}, {"lost": 1}, {"came_up": 1}, {"caught_up": 1}, {"faults": {"half": 1}},
     {"stream_faults": {"mixed": 1}}, {"survivors": 1}, {"troubles": ("it ended",)},
     {"publisher_error": "no space"}],
)  # fmt: skip
def test_each_goal_counts(worse: dict[str, object]) -> None:
    good = Outcome(2, 1, 0, 0, 2, 2, 2, {"half": 0}, 9, {"mixed": 0}, 0, (), None)
    assert met(good)
    assert not met(replace(good, **worse))  # type: ignore[arg-type]


def test_what_broke_by_the_kill_is_no_fault_and_what_broke_before_is() -> None:
    late, early = answer(error="ReadError", over_s=5.1), answer(error="ReadError", over_s=4.9)
    life = Life(1, Moment("serving", 0.5), 1, 9.0, True, [served()], killed_s=5.0, answers=[late])
    record = Record(lives=[life], checks=[Check(1, None)], versions=VERSIONS)
    assert met(outcome(record))
    life.answers.append(early)
    assert outcome(record).stream_faults["cut"] == 1
    assert outcome(replace(record, checks=[Check(None, None)])).lost == 1
