"""The fresh questions, their wrapped forms and conversations, and the report on them."""

import json
from collections import Counter
from importlib.resources import files

import pytest

from crma_adapters.errors import DataError
from crma_eval.routing.alone import measure_alone
from crma_eval.routing.counted import Counted, Decided, shown
from crma_eval.routing.fresh_judge import judge_questions, judge_shapes, judge_talks
from crma_eval.routing.fresh_summary import UNSEEN, fresh_result
from crma_eval.routing.sets import fresh
from crma_eval.routing.sets.dialogues import CHANGES, LANGUAGES, later_talks, talks
from crma_eval.routing.sets.fresh import FreshQuestion, fresh_questions
from crma_eval.routing.sets.wrapped import questions_to_wrap, shapes
from crma_eval.stats import interval
from crma_router.policy import Policy, RoutingDecision

DOMAINS = ("code", "financial", "legal", "medical", "science")
LINES = files(fresh.__package__).joinpath("fresh.jsonl").read_text("utf-8").splitlines()
ROWS = [json.loads(line) for line in LINES]


def asked(language: str = "en", each: int = 25) -> list[FreshQuestion]:
    """Questions that say their domain."""
    inside = [
        FreshQuestion(
            f"{language} {at} on {domain} matters of some length", domain, language, False, f"p:{at}"
        )
        for domain in DOMAINS
        for at in range(each)
    ]
    weather = [f"{language} weather {at} over there today" for at in range(each)]
    none = [FreshQuestion(text, None, language, False, f"p:{text}") for text in weather]
    return [*inside, *none, FreshQuestion("on legal dogs, of none", None, language, True, "p:near")]


class Reader:
    """Sends a text to the domain whose name it reads last; a text without one is of none."""

    policy = Policy()

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self._decide(text) for text in texts]

    def _decide(self, text: str) -> RoutingDecision:
        found = max(DOMAINS, key=lambda name: text.rfind(f"on {name}"))
        domain = found if f"on {found}" in text else None
        scores = {name: 0.96 if name == found else 0.01 for name in DOMAINS}
        path, cause = ("routed", "sure") if domain else ("fallback", "out of domain")
        return RoutingDecision(domain, 0.96, path, "it is read", scores, -1.0 if domain else 1.0, 0.0, cause)  # type: ignore[arg-type]


def test_there_are_sixty_a_domain_and_forty_a_language() -> None:
    english = Counter(row["domain"] for row in ROWS if row["language"] == "en" and not row.get("near"))
    assert set(english) == {*DOMAINS, None} and min(english.values()) >= 60
    languages = Counter(row["language"] for row in ROWS)
    assert set(languages) == {"en", "de", "es", "fr", "it", "zh"} and min(languages.values()) >= 40
    places = [(row["source"], row["entry"]) if "source" in row else row["text"] for row in ROWS]
    assert len(set(places)) == len(places)


def test_a_package_with_another_text_than_was_labelled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fresh, "packaged_questions", lambda names: {name: (Counter() and {}) or {} for name in names}
    )
    with pytest.raises(DataError, match=r"fresh.jsonl:\d+: .*which is not what was labelled"):
        fresh_questions()


def test_eighteen_shapes_six_of_them_unseen_hold_the_question_and_no_braces_of_ours() -> None:
    every = shapes()
    assert Counter(one.part for one in every) == {"open": 6, "closed": 6, "unseen": 6}
    questions = questions_to_wrap(asked())
    counts = Counter(one.domain for one in questions)
    assert counts.pop(None) == 20 and counts == dict.fromkeys(DOMAINS, 10)
    for shape in every:
        for question in questions:
            sent = shape.around(question)
            assert question.text in sent and "{question}" not in sent and "{context}" not in sent
            assert len(sent) > 1.5 * len(question.text)


def test_conversations_change_and_follow_in_five_languages() -> None:
    found = talks([one for language in LANGUAGES for one in asked(language)])
    assert Counter(one.language for one in found).keys() == set(LANGUAGES)
    for talk in found:
        assert [m["role"] for m in talk.messages] == ["user", "assistant"] * (len(talk.messages) // 2) + [
            "user"
        ]
        assert (talk.before != talk.domain) == (talk.kind in CHANGES)


def test_the_later_conversations_halves_share_no_question() -> None:
    questions = [one for language in LANGUAGES for one in asked(language)]
    halves = [later_talks("tuning", questions), later_talks("unseen", questions)]
    for found in halves:
        assert {one.language for one in found} == set(LANGUAGES)
        assert {one.kind for one in found} >= {"leaves", "follow-up of its own", *CHANGES}
        assert all((one.domain is None) == (one.kind == "leaves") for one in found)
    turns = [{m["content"] for one in found for m in one.messages if m["role"] == "user"} for found in halves]
    assert not turns[0] & turns[1] - {"cool"}  # which is said in three languages


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"), [(8, 10, 0.4902, 0.9433), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0)]
)
def test_intervals_are_wilsons(hits: int, rows: int, low: float, high: float) -> None:
    assert list(interval(hits, rows)) == pytest.approx([low, high], abs=1e-4)


def test_decisions_are_counted_as_right_wrong_and_fallen_back() -> None:
    pairs = [("legal", "legal"), ("legal", "code"), ("legal", None), ("code", "code")]
    counted = Counted.of(Decided(wanted, given, "", "") for wanted, given in pairs)
    assert (counted.rows, counted.right, counted.wrong, counted.fell_back) == (4, 2, 1, 1)
    none = Counted.of([Decided(None, None, "", ""), Decided(None, "legal", "", "")])
    assert (none.right, none.wrong, none.fell_back) == (1, 1, 0)
    assert shown(2, 4).startswith("2 of 4, 50.0 % (")


@pytest.mark.parametrize("quoted", [False, True])
def test_the_report_names_what_failed_and_quotes_it_only_if_told(quoted: bool) -> None:
    questions = [*asked(), FreshQuestion("a riddle", "code", "en", False, "package:7"), *asked("de", 8)]
    router = Reader()
    alone = measure_alone(router, [one.text for one in questions], each=5)
    result = fresh_result(
        judge_questions(router, questions),
        judge_shapes(router, shapes(), questions_to_wrap(questions)),
        {UNSEEN: judge_talks(router, talks([one for language in LANGUAGES for one in asked(language, 8)]))},
        alone,
        quoted=quoted,
    )
    goals = {goal.what: goal for goal in result.goals}
    assert goals["English questions right"].found == "0.992" and goals["English questions right"].met
    assert goals["German questions right"].met and not goals["changes of topic followed at once"].met
    failed = {one["what"] for one in result.report.figures["failures"] if one["set"] == "English"}
    assert failed == ({"a riddle", "on legal dogs, of none"} if quoted else {"package:7", "p:near"})
    assert "riddle" in result.report.markdown() or not quoted
    assert result.report.figures["english"]["near"]["wrong_adapter"] == 1
    assert alone.p50 <= alone.p99 and len(alone.every) == 5
