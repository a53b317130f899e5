"""What is read off a run: probes right when learnt and at the end."""

import dataclasses
from pathlib import Path

from crma_eval.learning.scores import DomainScores, MethodRun, RowScore
from crma_eval.learning.subdomains.protocol import Retention, retention, write_dataset
from crma_eval.learning.subdomains.split import Fact, Size, SubDomain
from crma_eval.learning.subdomains.summary import subdomains_report
from crma_training.config import TrainConfig
from crma_training.data.dataset import load_domain
from crma_training.data.rows import Message, Row

SIZE = Size(facts=2, phrasings=1, probes=2)


def _fact(name: str) -> Fact:
    rows = [
        Row((Message("user", f"{word} {name}?"), Message("assistant", f"{name}!")), "t:1", entry=name)
        for word in ("What is", "Tell me")
    ]
    return Fact(name, f"{name}!", (rows[0],), rows[1])


PARTS = tuple(SubDomain(name, (_fact(f"{name}0"), _fact(f"{name}1"))) for name in "abc")


def _scores(*right: bool) -> DomainScores:
    return DomainScores((RowScore(1.0, 1, False),), tuple(RowScore(1.0, 1, exact) for exact in right))


def _run(method: str, last_of_a: tuple[bool, bool]) -> MethodRun:
    """Of a: both learnt; of b: one learnt, the other only at the end; c, the last, is not looked at."""
    no = _scores(False, False)
    return MethodRun(
        method,
        0,
        ("a", "b", "c"),
        (_scores(True, False), no, no),
        (
            (_scores(True, True), no, no),
            (_scores(True, False), _scores(True, False), no),
            (_scores(*last_of_a), _scores(True, True), _scores(True, True)),
        ),
    )


def test_probes_are_followed_from_their_own_stage_to_the_last() -> None:
    found = retention(_run("modular", (True, False)), PARTS, SIZE)
    assert [(p.sub_domain, p.question, p.answer) for p in found.probes[:2]] == [
        ("a", "Tell me a0?", "a0!"),
        ("a", "Tell me a1?", "a1!"),
    ]
    assert [p.exact for p in found.probes] == [
        (True, True, True),
        (True, False, False),
        (True, True),
        (False, True),
    ]
    assert [p.before for p in found.probes] == [True, False, False, False]
    assert (found.learnt, found.retained, found.final) == (3, 2, 3)


def test_the_report_compares_the_methods_and_keeps_every_probe() -> None:
    runs = (_run("modular", (True, True)), _run("naive", (False, False)))
    found = [retention(run, PARTS, SIZE) for run in runs]
    text = subdomains_report("letters", PARTS, SIZE, TrainConfig(), found).markdown()
    assert "| modular | 1/4 " in text and "| 3/3 (95 %: 44 to 100 %) | 4/4 " in text
    assert "| naive   | 1/4 " in text and "| 1/3 (95 %: 6 to 79 %)" in text
    assert "Right at the end in MODULAR alone: 2, in NAIVE alone: 0 (McNemar's exact p = 0.5)" in text
    assert "learnt fewer in the first place" not in text
    assert "NAIVE, stage by stage" in text and "| a         | 2/2     | 1/2     | 0/2" in text
    assert "| b          | Tell me b1? | b1!    | wrong → right" in text


def test_having_learnt_less_is_told() -> None:
    found = [retention(_run(method, (True, False)), PARTS, SIZE) for method in ("modular", "naive")]
    wrong = tuple(dataclasses.replace(p, exact=(False, *p.exact[1:])) for p in found[0].probes)
    less = [Retention("modular", wrong), found[1]]
    text = subdomains_report("letters", PARTS, SIZE, TrainConfig(), less).markdown()
    assert "MODULAR learnt fewer in the first place (0 against 3)" in text


def test_the_dataset_is_one_that_training_reads(tmp_path: Path) -> None:
    write_dataset(PARTS, SIZE, tmp_path)
    found = load_domain(tmp_path, "b")
    assert [row.question for row in found.train] == ["What is b0?", "What is b1?"]
    assert [row.entry for row in found.train] == ["b0", "b1"]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    write_dataset(PARTS, SIZE, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
