"""The command and its report, with a router that takes no time or too much."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from crma_eval.cli import main
from crma_eval.routing.latency.summary import Setting, latency_report, within_goal
from crma_eval.routing.latency.table import CACHED, COLD, AskedSet, Cell, Measured, measure_sets
from crma_eval.routing.latency.timing import Quantiles, Timing
from crma_eval.routing.latency.under_load import Compared, Service, Side
from crma_router.policy import RoutingDecision

DECISION = RoutingDecision("a", 1.0, "routed", "", {"a": 1.0}, 0.0, 1.0)
SETTING = Setting("0123456789ab", "words", 2, 0.1, 0.9)
FAST, SLOW = Quantiles(1.0, 2.0, 3.0), Quantiles(4.0, 8.0, 16.0)


def measured(waited: Quantiles, memory: str = COLD, callers: int = 1, tokens: int = 8) -> Measured:
    return Measured(Cell(tokens, memory, callers), Timing(waited, FAST, 7))


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ([measured(FAST)], True),
        ([measured(Quantiles(5.0, 9.0, 15.0))], True),
        ([measured(FAST), measured(Quantiles(5.1, 6.0, 7.0), tokens=512)], False),
        ([measured(SLOW)], False),  # p99
        ([measured(FAST), measured(SLOW, callers=8)], True),  # eight at once wait for each other
        ([measured(FAST), measured(SLOW, memory=CACHED)], True),
    ],
)
def test_the_goal_is_one_callers_new_texts_at_every_length(found: list[Measured], met: bool) -> None:
    assert within_goal(found) is met
    verdict = latency_report(SETTING, found, None).remarks[-1]
    assert ("met" if met else "missed") in verdict


def test_the_report_holds_the_tables_and_the_ratios() -> None:
    timing, loaded = Timing(FAST, FAST, 7), Timing(SLOW, SLOW, 7)
    compared = Compared((Side(8, timing, loaded),), (Service(32, FAST, SLOW),), 8, 120.4, 7)
    report = latency_report(SETTING, [measured(FAST), measured(FAST, CACHED, 8)], compared)
    text = report.markdown()
    assert "embedder words; 2 cores" in text
    assert "8 streams decoded 120 tokens/s" in text
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["8", "1.00", "2.00", "3.00", "4.00", "8.00", "16.00", "4.00", "5.33", "4.00"] in rows
    assert ["32", "1.00", "2.00", "3.00", "4.00", "8.00", "16.00", "4.00", "5.33"] in rows
    assert json.loads(json.dumps(report.figures))["under_load"]["tokens_per_s"] == 120.4


def test_real_questions_have_a_section_of_their_own() -> None:
    report = latency_report(
        SETTING, [measured(FAST)], None, [AskedSet("in-domain", 0.654, Timing(SLOW, FAST, 9))]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.markdown().splitlines()]
    assert ["in-domain", "65%", "4.00", "8.00", "16.00", "9"] in rows
    assert report.figures["asked"][0]["by_words"] == 0.654
    assert report.figures["within_goal"] is True  # judged by the slow way


def test_a_set_is_asked_once_and_its_share_decided_by_words_counted() -> None:
    class WordsDecideA:
        asked: ClassVar[list[str]] = []

        def route_known(self, text: str) -> RoutingDecision | None:
            return DECISION if text.startswith("a") else None

        def route_many(self, texts: list[str]) -> list[RoutingDecision]:
            self.asked.extend(texts)
            return [DECISION] * len(texts)

    (found,) = measure_sets(WordsDecideA(), {"mixed": ["a1", "b1", "a2", "b2", "left out"]}, 4)
    assert (found.name, found.by_words, found.timing.decisions) == ("mixed", 0.5, 4)
    assert WordsDecideA.asked == ["b1", "b2"]


def test_without_a_store_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["router-latency", "--adapters", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--decisions", "--engine-decisions"])
def test_no_decisions_are_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["router-latency", flag, "0"]) == 2
    assert f"{flag} is 0" in capsys.readouterr().err
