"""What a router decides on the fresh questions, their wrapped forms and the conversations."""

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from crma_eval.routing.as_served import TextRouter, decide, decide_text
from crma_eval.routing.counted import Counted, Decided
from crma_eval.routing.sets.dialogues import CHANGES, FOLLOWING, LEAVING, Talk
from crma_eval.routing.sets.fresh import FreshQuestion
from crma_eval.routing.sets.wrapped import Shape


@dataclass(frozen=True)
class JudgedQuestions:
    """Every fresh question beside what was decided on it."""

    questions: tuple[FreshQuestion, ...]
    decided: tuple[Decided, ...]

    def of(self, language: str) -> Counted:
        """Of all of a language."""
        pairs = zip(self.questions, self.decided, strict=True)
        return Counted.of(decided for question, decided in pairs if question.language == language)

    def inside(self, language: str, domain: str | None = None) -> Counted:
        """Of a domain's questions, or of all that have one."""
        return Counted.of(
            decided
            for question, decided in zip(self.questions, self.decided, strict=True)
            if question.language == language
            and (question.domain is not None if domain is None else question.domain == domain)
        )

    def outside(self, language: str, *, near: bool = False) -> Counted:
        """Of the questions of none: those that border on a domain, or the others."""
        return Counted.of(
            decided
            for question, decided in zip(self.questions, self.decided, strict=True)
            if question.language == language and question.domain is None and question.near == near
        )


@dataclass(frozen=True)
class JudgedShape:
    """The same questions wrapped (and as they were asked, for comparison), with a domain and without."""

    shape: Shape
    inside: Counted
    outside: Counted
    plain: Counted

    @property
    def kept(self) -> float:
        """The wrapped questions' share that is right, of the plain ones' share."""
        return self.inside.share / self.plain.share if self.plain.share else 0.0


@dataclass(frozen=True)
class JudgedTalks:
    """Of one language. A switch to a domain that is not the conversation's is false; one to none drops it."""

    language: str
    changes: Counted
    following: Counted
    leaving: Counted

    @property
    def false_switches(self) -> int:
        return self.following.wrong


def judge_questions(router: TextRouter, questions: Sequence[FreshQuestion]) -> JudgedQuestions:
    """Each as a conversation of its own."""
    decided = []
    for question in tqdm(questions, desc="fresh questions", unit="question"):
        found = decide_text(router, question.text)
        decided.append(
            Decided(question.domain, found.domain, question.place, question.text, found.confidence)
        )
    return JudgedQuestions(tuple(questions), tuple(decided))


def judge_shapes(
    router: TextRouter, shapes: Sequence[Shape], questions: Sequence[FreshQuestion]
) -> list[JudgedShape]:
    """Every shape around every question."""
    plain = [_decided(router, one, one.text, f"plain: {one.place}") for one in questions]
    asked = Counted.of(one for one in plain if one.wanted is not None)
    found = []
    for shape in tqdm(shapes, desc="shapes", unit="shape"):
        decided = [
            _decided(router, one, shape.around(one), f"{shape.name}: {one.place}") for one in questions
        ]
        found.append(
            JudgedShape(
                shape,
                Counted.of(one for one in decided if one.wanted is not None),
                Counted.of(one for one in decided if one.wanted is None),
                asked,
            )
        )
    return found


def judge_talks(router: TextRouter, talks: Sequence[Talk]) -> list[JudgedTalks]:
    """By language, in the order of the talks."""
    decided = []
    for talk in tqdm(talks, desc="conversations", unit="conversation"):
        found = decide(router, talk.messages)
        decided.append(
            Decided(talk.domain, found.domain, talk.place, talk.messages[-1]["content"], found.confidence)
        )
    pairs = list(zip(talks, decided, strict=True))
    return [
        JudgedTalks(
            language,
            Counted.of(one for talk, one in pairs if talk.language == language and talk.kind in CHANGES),
            Counted.of(one for talk, one in pairs if talk.language == language and talk.kind in FOLLOWING),
            Counted.of(one for talk, one in pairs if talk.language == language and talk.kind in LEAVING),
        )
        for language in dict.fromkeys(talk.language for talk in talks)
    ]


def _decided(router: TextRouter, question: FreshQuestion, text: str, place: str) -> Decided:
    found = decide_text(router, text)
    return Decided(question.domain, found.domain, place, question.text, found.confidence)
