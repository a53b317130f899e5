"""Scripted conversations: the scripts themselves, and what is counted."""

import json
from pathlib import Path

import pytest

from crma_adapters.errors import DataError
from crma_eval.routing.conversations.figures import figures
from crma_eval.routing.conversations.replay import CLIENTS, Replay, replay
from crma_eval.routing.conversations.scripts import Script, Turn, read_scripts
from crma_eval.routing.conversations.summary import conversations_report
from crma_router.policy import Policy, RoutingDecision

DOMAINS = ("legal", "medical")


def script(*turns: Turn) -> Script:
    return Script("made", turns)


FEVER = Turn("How do doctors treat a high fever in children?", "medical", "change")
COURT = Turn("Can the court keep the deposit of a tenant for years?", "legal", "change")
SHORT = Turn("go on", "medical", "follow-up")
PRICE = Turn("and the price?", "medical", "follow-up")


class OracleRouter:
    """Right about whole questions; not sure that "price" is legal."""

    policy = Policy()

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self._route(text) for text in texts]

    def _route(self, text: str) -> RoutingDecision:
        domain = "medical" if "fever" in text else "legal" if "court" in text or "price" in text else None
        scores = (
            {name: 0.98 if name == domain else 0.02 for name in DOMAINS}
            if domain
            else dict.fromkeys(DOMAINS, 0.5)
        )
        if domain is None:
            return RoutingDecision(None, 0.5, "fallback", "", scores, 9.0, 1.0, "out of domain")
        confidence = 0.5 if "price" in text else 0.98
        return RoutingDecision(domain, confidence, "routed", "", scores, 0.0, 1.0)


def test_there_are_twenty_scripts_with_over_a_hundred_follow_ups() -> None:
    scripts = read_scripts()
    assert len(scripts) == 20
    assert len({one.name for one in scripts}) == 20
    turns = [turn for one in scripts for turn in one.turns]
    assert sum(turn.kind == "follow-up" for turn in turns) >= 100
    assert {turn.domain for turn in turns} == {"code", "financial", "legal", "medical", "science", None}


def test_every_follow_up_belongs_where_the_turn_before_it_does() -> None:
    for one in read_scripts():
        for before, turn in zip(one.turns, one.turns[1:], strict=False):
            assert turn.kind == "change" or turn.domain == before.domain, turn


def test_with_memory_follow_ups_stay_and_changes_are_followed() -> None:
    turns = (FEVER, SHORT, PRICE, COURT, Turn("go on", "legal", "follow-up"))
    for client in CLIENTS[:3]:
        found = replay(script(*turns), OracleRouter(), client)
        assert found.domains == ("medical", "medical", "medical", "legal", "legal"), client
        counted = figures([found])
        assert (counted.flips, counted.false_switches, counted.delays, counted.late) == (0, (), (0,), 0)
    counted = figures([replay(script(*turns), OracleRouter(), "no memory")])
    assert [switch.after for switch in counted.false_switches] == [None, "legal", None]


def test_what_counts_as_what() -> None:
    turns = (FEVER, SHORT, FEVER.__class__("more on fever", "medical", "topic"), COURT, PRICE, COURT)
    one = Replay(script(*turns), ("medical", None, "medical", "medical", "legal", "medical"), ("routed",) * 6)
    counted = figures([one])
    assert (counted.turns, counted.right, counted.steady, counted.follow_ups) == (6, 2, 3, 2)
    assert counted.flips == 3
    assert [(s.before, s.after) for s in counted.false_switches] == [("medical", None), ("medical", "legal")]
    assert counted.delays == (1, None)
    assert counted.late == 1


def test_the_report_shows_every_wrong_turn() -> None:
    turns = (FEVER, SHORT)
    one = Replay(script(*turns), ("medical", "legal"), ("routed", "routed"))
    text = conversations_report({"history": figures([one])}, [one], DOMAINS).markdown()
    assert "| history" in text
    assert "1 of 1" in text
    assert "| made" in text
    assert "go on" in text


@pytest.mark.parametrize(
    "line",
    ["{", "{}", '{"name": "a", "turns": []}', json.dumps({"name": "a", "turns": [{"user": "x"}]}), "7"],
)
def test_a_script_that_is_none_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "scripts.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"scripts.jsonl:1"):
        read_scripts(path)
