"""Conversations in five languages: changes of topic, follow-ups and short turns, from the fresh questions.

Answers are a sentence or two of the domain, as an assistant gives them. A question belongs where its label
says; a follow-up or thanks belongs to the question before it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from crma_eval.routing.sets.fresh import ENGLISH, FreshQuestion

Kind = Literal[
    "change",
    "short change",
    "change after a follow-up",
    "follow-up",
    "follow-up of its own",
    "second follow-up",
    "thanks",
    "leaves",
]
Half = Literal["tuning", "unseen"]
CHANGES: tuple[Kind, ...] = ("change", "short change", "change after a follow-up")
FOLLOWING: tuple[Kind, ...] = ("follow-up", "follow-up of its own", "second follow-up", "thanks")
LEAVING: tuple[Kind, ...] = ("leaves",)
LANGUAGES = ("en", "de", "es", "fr", "zh")
_QUESTIONS = {ENGLISH: 8}  # of each domain, for changes and for follow-ups each
_OTHERS = 6
_LATER = 3
_OF_NONE = 10


@dataclass(frozen=True)
class Talk:
    """`messages`: OpenAI chat messages, the turn that is judged last. domain: where that turn belongs."""

    language: str
    kind: Kind
    messages: tuple[dict[str, str], ...]
    domain: str | None
    before: str

    @property
    def place(self) -> str:
        return f"{self.language}, {self.kind}: from {self.before} to {self.domain or 'none'}"


def talks(questions: Sequence[FreshQuestion]) -> list[Talk]:
    """Of the fresh questions, by language."""
    said = _read("dialogues.json")
    found: list[Talk] = []
    for language in LANGUAGES:
        words = {kind: said[kind][language] for kind in ("follow_ups", "thanks", "replies", "short")}
        own = {
            domain: [q.text for q in questions if q.language == language and q.domain == domain]
            for domain in words["replies"]
        }
        count = _QUESTIONS.get(language, _OTHERS)
        found += _Composer(language, {**words, "questions": own, "own": {}, "none": []}, count).talks()
    return found


def later_talks(half: Half, questions: Sequence[FreshQuestion]) -> list[Talk]:
    """Of questions that are in no other set, by language; those of none are every second fresh one."""
    replies = _read("dialogues.json")["replies"]
    said = _read("dialogues_later.json")[half]
    return [
        talk
        for language in LANGUAGES
        for talk in _Composer(
            language,
            {
                **said[language],
                "replies": replies[language],
                "none": _of_none(language, questions)[half == "unseen" :: 2],
            },
            _LATER,
        ).talks()
    ]


def _of_none(language: str, questions: Sequence[FreshQuestion]) -> list[str]:
    own = [one.text for one in questions if one.language == language and one.domain is None and not one.near]
    return own[:_OF_NONE]


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files(__package__).joinpath(name).read_text("utf-8"))
    return document


class _Composer:
    """Puts one language's talks together; every choice follows from places in lists."""

    def __init__(self, language: str, said: dict[str, Any], count: int) -> None:
        """`count`: questions of each domain, for changes and for follow-ups each."""
        self.language = language
        self.count = count
        self.follow_ups: list[str] = said["follow_ups"]
        self.thanks: list[str] = said["thanks"]
        self.replies: dict[str, str] = said["replies"]
        self.short: dict[str, list[str]] = said["short"]
        self.none: list[str] = said["none"]
        self.further: dict[str, list[str]] = said["own"]
        self.own: dict[str, list[str]] = said["questions"]
        self.domains: list[str] = list(self.replies)

    def talks(self) -> Iterator[Talk]:
        for place, domain in enumerate(self.domains):
            for at in range(self.count):
                other = self._other(place, at)
                yield self._talk("change", domain, other, self._asked(domain, at), self._asked(other, at + 3))
                yield self._talk(
                    "follow-up", domain, domain, self._asked(domain, at), self._further(5 * place + 3 * at)
                )
            for at, question in enumerate(self.short[domain]):
                for step in (0, 2):
                    other = self._other(place, at + step)
                    yield self._talk("short change", other, domain, self._asked(other, at), question)
            for at, question in enumerate(self.further.get(domain, [])):
                yield self._talk("follow-up of its own", domain, domain, self._asked(domain, at), question)
            for at in range(3):
                other, first = self._other(place, at + 1), self._asked(domain, at + 1)
                later = self._further(2 * place + at)
                yield self._talk(
                    "second follow-up", domain, domain, first, later, self._further(place + at + 5)
                )
                yield self._talk(
                    "change after a follow-up", domain, other, first, later, self._asked(other, at + 4)
                )
            for at, thanks in enumerate(self.thanks):
                yield self._talk("thanks", domain, domain, self._asked(domain, at), thanks)
            for at, question in enumerate(self.none):
                if at % 2 == place % 2:
                    yield self._talk("leaves", domain, None, self._asked(domain, at), question)

    def _talk(self, kind: Kind, before: str, domain: str | None, *turns: str) -> Talk:
        messages: list[dict[str, str]] = []
        for turn in turns:
            messages.append({"role": "user", "content": turn})
            messages.append({"role": "assistant", "content": self.replies[before]})
        return Talk(self.language, kind, tuple(messages[:-1]), domain, before)

    def _other(self, place: int, step: int) -> str:
        return self.domains[(place + 1 + step % (len(self.domains) - 1)) % len(self.domains)]

    def _asked(self, domain: str, at: int) -> str:
        return self.own[domain][at * 5 % len(self.own[domain])]

    def _further(self, at: int) -> str:
        return self.follow_ups[at % len(self.follow_ups)]
