"""The sets that a router is judged on, from a dataset folder and from lists of our own.

holdout           the held-out rows of every domain, as phrased for training the adapters
natural           real users' questions of the domains, no near-duplicate of which was fitted on
in-domain         both
typos             a part of both, mistyped by another model of mistakes than the fit's
short             of both, those of five words or fewer
multi-turn        follow-ups, questions after a greeting, changes of topic
mentions          another domain's profession is named
near, far         neighbouring fields and others, none of which was fitted on
everyday          small talk and everyday life, of the kind fitted on
other languages   the domains' own questions in languages the embedder does not know
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from crma_eval.routing.asked import Question, conversations, mentions
from crma_eval.routing.slips import mistype
from crma_training.data.dataset import OUT_OF_DOMAIN, load_dataset
from crma_training.data.formats import question_of
from crma_training.data.sources import parse_object, read_questions
from crma_training.demo_data.rows import shuffled

SHORT_WORDS = 5
_MISTYPED = 60  # of each domain, of holdout and natural each
_TURNS = 20  # conversations of each domain and kind
_MENTIONS = 50  # of each domain
_LANGUAGE = re.compile(r"^\[(\w[\w ]*)\]$")


@dataclass(frozen=True)
class EvalSet:
    """Questions of one kind; either all are of a domain (`inside`) or none is."""

    name: str
    questions: tuple[Question, ...]

    @property
    def inside(self) -> bool:
        return self.questions[0].domain is not None

    @property
    def texts(self) -> list[str]:
        """What is routed: the last turn, behind those before it while it is short."""
        return ["\n".join(question.turns) for question in self.questions]

    @property
    def labels(self) -> list[str]:
        """Of the questions of an inside set."""
        return [question.domain or "" for question in self.questions]


def load_sets(directory: Path) -> list[EvalSet]:
    """Every set that the folder has questions for, in the order above. Raises as `load_dataset`."""
    data = load_dataset(directory)
    holdout = {domain.name: [row.question for row in domain.holdout] for domain in data.domains}
    natural = {name: _read(directory / name / "router_eval.jsonl") for name in holdout}
    natural = {name: questions for name, questions in natural.items() if questions}
    both = {name: [*questions, *natural.get(name, ())] for name, questions in holdout.items()}
    outside = directory / OUT_OF_DOMAIN
    found = [
        EvalSet("in-domain", _single(both)),
        EvalSet("holdout", _single(holdout)),
        EvalSet("natural", _single(natural)),
        EvalSet("typos", _single(_mistyped(holdout, natural))),
        EvalSet("short", _single({name: list(filter(_is_short, own)) for name, own in both.items()})),
        EvalSet("multi-turn", tuple(conversations(both, _TURNS))),
        EvalSet("mentions", tuple(mentions(both, _MENTIONS))),
        EvalSet("near", _fields(outside / "near.jsonl")),
        EvalSet("far", _fields(outside / "far.jsonl")),
        EvalSet("everyday", _single({None: _read(outside / "router_eval.jsonl")})),
        EvalSet("other languages", other_languages()),
    ]
    return [one for one in found if one.questions]


def other_languages() -> tuple[Question, ...]:
    """The lines of other_languages.txt, the field of each its language."""
    found: list[Question] = []
    language = ""
    for line in files(__package__).joinpath("other_languages.txt").read_text("utf-8").splitlines():
        if heading := _LANGUAGE.match(line):
            language = heading[1]
        elif line and not line.startswith("#"):
            found.append(Question((line,), None, language))
    return tuple(found)


def _single(questions: Mapping[str, Sequence[str]] | Mapping[None, Sequence[str]]) -> tuple[Question, ...]:
    return tuple(Question((text,), name) for name, own in questions.items() for text in own)


def _mistyped(*sources: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for source in sources:
        for name, questions in source.items():
            drawn = shuffled(questions, lambda question: question, "typos")[:_MISTYPED]
            found.setdefault(name, []).extend(mistype(question, "evaluation") for question in drawn)
    return found


def _is_short(text: str) -> bool:
    return len(text.split()) <= SHORT_WORDS


def _read(path: Path) -> list[str]:
    return list(read_questions(path)) if path.is_file() else []


def _fields(path: Path) -> tuple[Question, ...]:
    if not path.is_file():
        return ()
    found: list[Question] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        row = parse_object(line, where := f"{path}:{number}")
        found.append(Question((question_of(row, where),), None, str(row.get("field", ""))))
    return tuple(found)
