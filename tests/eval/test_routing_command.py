"""The command from a dataset folder and a router to the files, with an embedder of words."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from crma_eval.cli import main
from crma_eval.routing import embeddings
from crma_eval.routing.sets.held_out import load_sets, other_languages
from crma_router.encoders.base import Embeddings
from crma_router.roles.role_classifier import everything_asked
from crma_router.router import RouterData, fit_router

WORDS = {
    "medical": ["fever", "cough", "rash", "asthma", "tumour", "virus", "vaccine", "ulcer"],
    "legal": ["court", "judge", "lease", "statute", "verdict", "bail", "felony", "patent"],
}
NOBODY = ["joke", "movie", "dinner", "song", "birthday", "weekend", "poem", "pizza"]
FRAMES = ("what is {} or {}", "does {} come with {} for long", "tell me of {} and {}", "is {} like {} at all")


class Words:
    """Every word a direction of its own."""

    name = "words"
    languages: frozenset[str] = frozenset()

    def encode(self, texts: list[str]) -> Embeddings:
        rows = [
            sum((self._direction(word) for word in ["", *text.lower().split()]), np.zeros(40))
            for text in texts
        ]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def _direction(self, word: str) -> np.ndarray:
        return np.random.default_rng(list(word.strip("?.").encode()) or [0]).standard_normal(40)


def questions(words: Sequence[str], half: int) -> list[str]:
    pairs = [(one, other) for one in words for other in words if one != other]
    return [FRAMES[at // 2 % 4].format(*pair) for at, pair in enumerate(pairs) if at % 2 == half]


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, words in WORDS.items():
        for half, file in enumerate(("train", "holdout")):
            rows = [{"question": text, "answer": "yes"} for text in questions(words, half)]
            write(folder / name / f"{file}.jsonl", rows)
    for half, file in enumerate(("router_train", "router_eval")):
        write(folder / f"out_of_domain/{file}.jsonl", [{"question": q} for q in questions(NOBODY, half)])
    write(folder / "out_of_domain/near.jsonl", [{"question": "zebra and horse", "field": "zoo"}] * 3)
    return folder


@pytest.fixture
def router(tmp_path: Path) -> Path:
    examples = {name: questions(words, 0) for name, words in WORDS.items()}
    fit_router(RouterData(examples, questions(NOBODY, 0)), Words(), roles=everything_asked(40)).save(
        tmp_path / "router"
    )
    return tmp_path / "router"


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embeddings, "open_embedder", lambda _name: Words())


def test_sets_are_those_there_are_questions_for(data: Path) -> None:
    sets = {one.name: one for one in load_sets(data)}
    assert list(sets) == [
        "in-domain", "holdout", "typos", "short", "multi-turn", "mentions",
        "near", "everyday", "other languages",
    ]  # fmt: skip
    assert sets["near"].questions[0].field == "zoo" and not sets["near"].inside
    assert all(len(text.split()) <= 5 for text in sets["short"].texts)
    assert set(sets["in-domain"].labels) == {"medical", "legal"}


def test_other_languages_are_six_and_more() -> None:
    found = other_languages()
    assert len({question.field for question in found}) >= 6
    assert len(found) == len({question.turns for question in found}) >= 60


def test_a_router_is_judged_and_the_report_written(
    data: Path, router: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(
        ["routing", "--data", str(data), "--router", str(router), "--report", str(tmp_path / "report")]
    )
    report = json.loads((tmp_path / "report/routing.json").read_text())
    figures = report["figures"]
    assert status == (0 if all(goal["met"] for goal in report["goals"]) else 1)
    assert figures["sets"]["in-domain"]["macro_f1"] > 0.9
    assert figures["sets"]["everyday"]["auroc"] > 0.9
    assert sum(sum(row.values()) for row in figures["confusion"]["in-domain"].values()) == 56
    assert figures["sets"]["near"]["fields"].keys() == {"zoo"}
    assert "| in-domain: macro_f1" in capsys.readouterr().out
    assert (tmp_path / "report/routing.png").read_bytes().startswith(b"\x89PNG")


def test_a_domain_that_the_router_does_not_know_is_refused(
    data: Path, router: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(data / "chess.jsonl", [{"question": f"is move {n} sound", "answer": "no"} for n in range(20)])
    assert main(["routing", "--data", str(data), "--router", str(router)]) == 2
    assert "has questions of chess, the router knows legal, medical" in capsys.readouterr().err
