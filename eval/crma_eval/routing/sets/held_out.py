"""A dataset folder's held-out questions, and what is made of them: mistyped, in conversations, misleading."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from crma_training.data.dataset import OUT_OF_DOMAIN, load_dataset
from crma_training.data.formats import question_of
from crma_training.data.sources import parse_object, read_questions
from crma_training.demo_data.rows import shuffled

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_RATE = 0.15  # of the words of four letters and more, beside the one that is surely mistyped
_LONG = 4


def _neighbours() -> dict[str, str]:
    places = {
        key: (row, 2 * column + row) for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)
    }
    return {
        key: "".join(
            other
            for other, (r, c) in places.items()
            if other != key and abs(r - row) <= 1 and abs(c - column) <= 2
        )
        for key, (row, column) in places.items()
    }


NEIGHBOURS = _neighbours()


def mistype(text: str, seed: str) -> str:
    """`text` with one mistake or more; lower case and without its last question mark half of the time."""
    chance = random.Random(f"{seed}\0{text}")
    words = text.split()
    if not words:
        return text
    long = [at for at, word in enumerate(words) if len(word) >= _LONG] or list(range(len(words)))
    surely = chance.choice(long)
    typed = [
        _mistake(word, chance) if at == surely or (at in long and chance.random() < _RATE) else word
        for at, word in enumerate(words)
    ]
    said = " ".join(typed)
    if len(typed) > 2 and chance.random() < 0.2:  # a space not struck
        at = chance.randrange(len(typed) - 1)
        said = " ".join([*typed[:at], typed[at] + typed[at + 1], *typed[at + 2 :]])
    return said.lower().rstrip("?") if chance.random() < 0.5 else said


def _mistake(word: str, chance: random.Random) -> str:
    places = [at for at, letter in enumerate(word) if letter.lower() in NEIGHBOURS]
    if not places:
        return word
    at = chance.choice(places)
    near = chance.choice(NEIGHBOURS[word[at].lower()])
    kind = chance.randrange(10)
    if kind < 4:  # the key beside
        return word[:at] + near + word[at + 1 :]
    if kind < 7:  # and the key beside
        return word[: at + 1] + near + word[at + 1 :]
    if kind < 9 and len(word) > 2:  # not struck
        return word[:at] + word[at + 1 :]
    return word[: at + 1] + word[at:]  # struck twice


FOLLOW_UPS = (
    "Why is that?",
    "Can you say that more simply?",
    "and what does it mean in practice?",
    "give me an example",
    "ok, go on",
    "are you sure?",
    "could you shorten that",
    "What else should I know?",
    "and how does that differ?",
    "I don't get it",
)
OPENINGS = ("hi", "Hello there!", "good morning", "hey, can you help me?", "thanks for being here")
# Who is named says nothing of what is asked.
MENTIONS = {
    "medical": ("As a doctor, tell me: {}", "I'm a nurse, and: {}", "{} My physician wants to know."),
    "legal": ("As a lawyer, tell me: {}", "I am an attorney. {}", "{} Explain it as to a judge."),
    "financial": ("As an investor, tell me: {}", "I work at a bank. {}", "{} My accountant asked me that."),
    "code": (
        "As a programmer, tell me: {}",
        "I write Python for a living. {}",
        "{} Be a software developer.",
    ),
    "science": (
        "As a physicist, tell me: {}",
        "I teach chemistry. {}",
        "{} Explain it as a biologist would.",
    ),
}
_OTHER_MENTIONS = ("As a {}, tell me: {{}}", "I work in {}. {{}}", "{{}} Someone in {} asked me that.")


@dataclass(frozen=True)
class Question:
    """A question as its user turns, the one to answer last, and the domain it is of, None if of none."""

    turns: tuple[str, ...]
    domain: str | None
    field: str = ""


def conversations(questions: Mapping[str, Sequence[str]], each: int) -> list[Question]:
    """For every domain, `each` of three kinds: a question and a follow-up, small talk and a question, a
    question of another domain and then one of its own."""
    found: list[Question] = []
    names = list(questions)
    for place, name in enumerate(names):
        own = _mixed(questions[name], "own")
        other = _mixed(questions[names[(place + 1) % len(names)]], "other")
        for at in range(min(each, len(own) // 3)):
            first, second, third = own[3 * at : 3 * at + 3]
            found.append(Question((first, FOLLOW_UPS[at % len(FOLLOW_UPS)]), name, "follow-up"))
            found.append(Question((OPENINGS[at % len(OPENINGS)], second), name, "after a greeting"))
            if len(names) > 1:
                found.append(Question((other[at % len(other)], third), name, "topic change"))
    return found


def mentions(questions: Mapping[str, Sequence[str]], each: int) -> list[Question]:
    """`each` questions of every domain in which another domain's profession is named, in turn."""
    found: list[Question] = []
    for name, own in questions.items():
        templates = [(other, text) for other in questions if other != name for text in _templates(other)]
        for at, question in enumerate(_mixed(own, "mention")[: each if templates else 0]):
            other, template = templates[(7 * at) % len(templates)]
            found.append(Question((template.format(question),), name, f"names {other}"))
    return found


def _templates(domain: str) -> tuple[str, ...]:
    role = domain.replace("_", " ")
    return MENTIONS.get(domain) or tuple(template.format(role) for template in _OTHER_MENTIONS)


def _mixed(questions: Sequence[str], salt: str) -> list[str]:
    return shuffled(questions, lambda question: question, salt)


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
