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
    "change", "short change", "change after a follow-up", "follow-up", "second follow-up", "thanks"
]
CHANGES: tuple[Kind, ...] = ("change", "short change", "change after a follow-up")
FOLLOWING: tuple[Kind, ...] = ("follow-up", "second follow-up", "thanks")
LANGUAGES = ("en", "de", "es", "fr", "zh")
_QUESTIONS = {ENGLISH: 8}  # of each domain, for changes and for follow-ups each
_OTHERS = 6


@dataclass(frozen=True)
class Talk:
    """`messages`: OpenAI chat messages, the turn that is judged last. domain: where that turn belongs."""

    language: str
    kind: Kind
    messages: tuple[dict[str, str], ...]
    domain: str
    before: str

    @property
    def place(self) -> str:
        return f"{self.language}, {self.kind}: from {self.before} to {self.domain}"


def talks(questions: Sequence[FreshQuestion]) -> list[Talk]:
    """All of them, by language."""
    said = json.loads(files(__package__).joinpath("dialogues.json").read_text("utf-8"))
    return [talk for language in LANGUAGES for talk in _Composer(language, questions, said).talks()]


class _Composer:
    """Puts one language's talks together; every choice follows from places in lists."""

    def __init__(self, language: str, questions: Sequence[FreshQuestion], said: dict[str, Any]) -> None:
        self.language = language
        self.follow_ups: list[str] = said["follow_ups"][language]
        self.thanks: list[str] = said["thanks"][language]
        self.replies: dict[str, str] = said["replies"][language]
        self.short: dict[str, list[str]] = said["short"][language]
        self.domains: list[str] = list(self.replies)
        self.own: dict[str, list[str]] = {
            domain: [q.text for q in questions if q.language == language and q.domain == domain]
            for domain in self.domains
        }

    def talks(self) -> Iterator[Talk]:
        count = _QUESTIONS.get(self.language, _OTHERS)
        for place, domain in enumerate(self.domains):
            for at in range(count):
                other = self._other(place, at)
                yield self._talk("change", domain, other, self._asked(domain, at), self._asked(other, at + 3))
                yield self._talk(
                    "follow-up", domain, domain, self._asked(domain, at), self._further(5 * place + 3 * at)
                )
            for at, question in enumerate(self.short[domain]):
                for step in (0, 2):
                    other = self._other(place, at + step)
                    yield self._talk("short change", other, domain, self._asked(other, at), question)
            for at in range(3):
                other, first = self._other(place, at + 1), self._asked(domain, at + 1)
                later = self._further(2 * place + at)
                yield self._talk(
                    "second follow-up", domain, domain, first, later, self._further(place + at + 5)
                )
                yield self._talk(
                    "change after a follow-up", domain, other, first, later, self._asked(other, at + 4)
                )
                yield self._talk("thanks", domain, domain, self._asked(domain, at), self.thanks[at])

    def _talk(self, kind: Kind, before: str, domain: str, *turns: str) -> Talk:
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
