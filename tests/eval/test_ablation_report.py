import json
from pathlib import Path

from PIL import Image

from crma_eval.learning.ablation.answers import Answer
from crma_eval.learning.ablation.arms import BASE, OFF, ON
from crma_eval.learning.ablation.questions import ShortQuestion
from crma_eval.learning.ablation.report import Circumstances, ablation_report
from crma_eval.learning.ablation.results import Results, collect

QUESTIONS = tuple(
    ShortQuestion(domain, f"{domain} {n} a|b?", f"gold {n}")
    for domain in ("medical", "legal")
    for n in range(4)
)
RIGHT = {"on": "1111" + "1100", "off": "1000" + "1100", "base": "0000" + "0000"}


def results() -> Results:
    answers = [
        Answer(
            arm, q.domain, q.text, f"{arm}@1", q.gold if mark == "1" else f"not\n`{q.gold}` at all", finish
        )
        for arm, marks in RIGHT.items()
        for q, mark, finish in zip(QUESTIONS, marks, 7 * ["stop"] + ["length"], strict=True)
    ]
    return collect((ON, OFF, BASE), QUESTIONS, answers)


ABOUT = Circumstances(base="tiny", max_tokens=32, in_flight=4, data="demo")


def test_counts_by_arm_and_domain() -> None:
    text = ablation_report(results(), ABOUT).markdown()
    lines = [" ".join(line.replace("|", " ").split()) for line in text.splitlines()]
    assert "on 6/8 41-93 % 8 1" in lines  # Wilson by formula: 0.4093 to 0.9285
    assert "off 3/8 14-69 % 8 1" in lines  # 0.1368 to 0.6943
    assert "on 4/4 (51-100 %) 2/4 (15-85 %)" in lines
    assert "on, off all 8 3 0 0.250 5" in lines
    assert "on, off medical 4 3 0 0.250 1" in lines
    assert "on, off legal 4 0 0 1.000 4" in lines
    assert "on, base all 8 6 0 0.031 2" in lines
    assert "No difference between on and off" in text and "on is better than base" in text


def test_says_which_arms_are_left_out() -> None:
    text = ablation_report(results(), ABOUT).markdown()
    assert "does not list its model for every domain: lora-only (`DOMAIN-lora`)." in text
    assert "does not list its model for every domain: mixer-only (`DOMAIN-mixer`)." in text
    assert "does not list its model for every domain: backbone (`backbone`)." in text
    assert "every domain: base" not in text


def test_shows_what_differs_in_cells_that_hold() -> None:
    text = ablation_report(results(), ABOUT).markdown()
    differing = text.partition("## Right in one of on and off (3 questions)")[2].partition("\n## ")[0]
    rows = [line for line in differing.splitlines() if line.startswith("| medical")]
    assert len(rows) == 3
    assert r"medical 1 a\|b?" in rows[0] and r"not \`gold 1\` at all" in rows[0]
    assert "## Wrong with CRMA on (2 questions)" in text


def test_json_keeps_every_answer_and_count(tmp_path: Path) -> None:
    ablation_report(results(), ABOUT).write(tmp_path)
    figures = json.loads((tmp_path / "ablation.json").read_text())["figures"]
    assert figures["arms"]["off"]["right"]["medical"]["right"] == 1
    assert figures["arms"]["off"]["models"] == ["off@1"]
    assert figures["on_against"]["off"]["all"] == {
        "only_on": 3, "only_other": 0, "p": 0.25, "asked": 8, "same_answer": 5,
    }  # fmt: skip
    assert [len(question["answers"]) for question in figures["questions"]] == 8 * [3]
    last = figures["questions"][-1]
    assert last["gold"] == "gold 3" and last["answers"]["on"] == {
        "answer": "not\n`gold 3` at all", "right": False, "model": "on@1", "finish": "length",
    }  # fmt: skip


def test_draws_the_plot(tmp_path: Path) -> None:
    ablation_report(results(), ABOUT).write(tmp_path)
    with Image.open(tmp_path / "ablation.png") as image:
        assert image.width >= 1200
        assert len(set(image.convert("L").tobytes())) > 1  # something is drawn
