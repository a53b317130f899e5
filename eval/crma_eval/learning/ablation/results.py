"""The answers with their marks: counts per arm and domain, and arms compared question by question."""

from collections.abc import Sequence
from dataclasses import dataclass

from crma_eval.learning.ablation.answers import Answer
from crma_eval.learning.ablation.arms import Arm
from crma_eval.learning.ablation.questions import ShortQuestion
from crma_eval.learning.ablation.score import is_right, mentions, normalise
from crma_eval.stats import Paired, Share, paired, share


@dataclass(frozen=True)
class Results:
    """Every question, and every arm's answer to it. `answers[arm name][i]` answers `questions[i]`."""

    arms: tuple[Arm, ...]
    questions: tuple[ShortQuestion, ...]
    answers: dict[str, tuple[Answer, ...]]

    @property
    def domains(self) -> tuple[str, ...]:
        """In the order asked."""
        return tuple(dict.fromkeys(question.domain for question in self.questions))

    def share(self, arm: Arm, domain: str | None = None) -> Share:
        """How many answers of an arm are right, in one domain or all."""
        return share(self._marks(arm, domain))

    def paired(self, first: Arm, second: Arm, domain: str | None = None) -> Paired:
        """Two arms on the same questions, in one domain or all."""
        return paired(self._marks(first, domain), self._marks(second, domain))

    def same(self, first: Arm, second: Arm, domain: str | None = None) -> int:
        """To how many questions two arms answer the same, right or wrong."""
        chosen = self._chosen(domain)
        texts = [
            [normalise(self.answers[arm.name][index].text) for index in chosen] for arm in (first, second)
        ]
        return sum(one == other for one, other in zip(*texts, strict=True))

    def mentioned(self, arm: Arm) -> int:
        """How many answers of an arm contain the reference answer somewhere."""
        pairs = zip(self.answers[arm.name], self.questions, strict=True)
        return sum(mentions(answer.text, question.gold) for answer, question in pairs)

    def cut(self, arm: Arm) -> int:
        """How many answers of an arm ended because they may be no longer."""
        return sum(answer.finish == "length" for answer in self.answers[arm.name])

    def right(self, arm: Arm, index: int) -> bool:
        """Whether the arm answers the `index`-th question right."""
        return is_right(self.answers[arm.name][index].text, self.questions[index].gold)

    def _chosen(self, domain: str | None) -> list[int]:
        return [i for i, question in enumerate(self.questions) if domain in (None, question.domain)]

    def _marks(self, arm: Arm, domain: str | None) -> list[bool]:
        return [self.right(arm, index) for index in self._chosen(domain)]


def collect(arms: Sequence[Arm], questions: Sequence[ShortQuestion], answers: Sequence[Answer]) -> Results:
    """Sorts answers by arm and question. Raises `KeyError` if one is missing."""
    by_key = {answer.key: answer for answer in answers}
    sorted_ = {
        arm.name: tuple(by_key[arm.name, question.domain, question.text] for question in questions)
        for arm in arms
    }
    return Results(tuple(arms), tuple(questions), sorted_)
