import pytest

from crma_eval.learning.ablation.answers import Answer
from crma_eval.learning.ablation.arms import BASE, LORA_ONLY, OFF, ON, Arm
from crma_eval.learning.ablation.questions import ShortQuestion
from crma_eval.learning.ablation.results import Results, collect
from crma_eval.learning.ablation.verdict import p_text, shown_better, verdicts
from crma_eval.stats import Paired


def results(**right: str) -> Results:
    """Arms by name with a mark per question: `1` right, `0` wrong."""
    arms = tuple(Arm(name.replace("_", "-"), "", "") for name in right)
    arms = tuple(next(known for known in (ON, OFF, LORA_ONLY, BASE) if known.name == a.name) for a in arms)
    questions = tuple(ShortQuestion("d", f"q{i}", "yes") for i in range(len(right["on"])))
    answers = [
        Answer(arm.name, "d", question.text, "m", "Yes." if mark == "1" else f"no, {arm.name}", "stop")
        for arm, marks in zip(arms, right.values(), strict=True)
        for question, mark in zip(questions, marks, strict=True)
    ]
    return collect(arms, questions, answers)


def test_better() -> None:
    (said,) = verdicts(results(on=8 * "1" + "00", off=10 * "0"))
    assert said.startswith(
        "on is better than off (the same weights with CRMA switched off) by 8 of 10: 8 against 0 of 10 "
        "right, McNemar's exact p = 0.008. 0 of 10 answers are the same in both."
    )
    assert said.endswith("not that CRMA makes a better model, which is what on against lora-only says.")


def test_worse() -> None:
    (said,) = verdicts(results(on="00" + 8 * "0", lora_only="00" + 8 * "1"))
    assert said.startswith("on is worse than lora-only (LoRAs trained without CRMA) by 8 of 10: 0 against 8")


def test_not_shown() -> None:
    off, base = verdicts(results(on="1110", off="1101", base="0000"))
    assert off.startswith(
        "No difference between on and off (the same weights with CRMA switched off) was shown: 3 against 3 "
        "of 4 right, McNemar's exact p = 1.000. That does not show that there is none. 2 of 4 answers are "
        "the same in both."
    )
    assert base.startswith("No difference between on and base (the base model alone) was shown: 3 against 0")


@pytest.mark.parametrize(
    ("only_on", "only_off", "shown"), [(6, 0, True), (5, 0, False), (0, 6, False), (0, 0, False)]
)
def test_better_only_beyond_chance(only_on: int, only_off: int, shown: bool) -> None:
    assert shown_better(Paired(100, only_on, only_off)) is shown


def test_small_p_keeps_its_size() -> None:
    assert (p_text(0.0312), p_text(1.0), p_text(6.94e-18)) == ("0.031", "1.000", "6.9e-18")
