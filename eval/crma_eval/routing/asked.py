"""Conversations and misleading mentions, composed from questions that are held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crma_training.demo_data.rows import shuffled

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
