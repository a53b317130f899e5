"""Questions inside the shapes in which clients send them.

Six shapes are `open`: a router may be trained on questions wrapped in their manner. Six are `closed`: the
router of release 8 had seen nothing like them, and how it failed on them has been looked at since. Six are
`unseen`: written before that was mended, and not looked at meanwhile. What is asked inside decides where a
text belongs.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from crma_eval.routing.sets.fresh import ENGLISH, FreshQuestion

Part = Literal["open", "closed", "unseen"]
PARTS: tuple[Part, ...] = ("open", "closed", "unseen")

EACH = 10  # questions of every domain
OF_NONE = 20


@dataclass(frozen=True)
class Shape:
    """`template` holds `{question}`, and `{context}` if it comes with a passage; `contexts`: by label."""

    name: str
    template: str
    part: Part
    contexts: dict[str, str]

    def around(self, question: FreshQuestion) -> str:
        """The question as the client sends it; the passage is of another domain."""
        context = self.contexts[question.domain or "none"]
        return self.template.replace("{context}", context).replace("{question}", question.text)


def shapes() -> list[Shape]:
    """All of them, the unseen ones last."""
    document = tomllib.loads(files(__package__).joinpath("wrappers.toml").read_text("utf-8"))
    contexts = {label: document["context"][other] for label, other in document["other"].items()}
    return [
        Shape(name, template, part, contexts) for part in PARTS for name, template in document[part].items()
    ]


def questions_to_wrap(questions: Sequence[FreshQuestion]) -> list[FreshQuestion]:
    """`EACH` English ones of every domain and `OF_NONE` of none, evenly spread over the list."""
    english = [one for one in questions if one.language == ENGLISH and not one.near]
    found: list[FreshQuestion] = []
    for domain in sorted({one.domain or "" for one in english}):
        own = [one for one in english if (one.domain or "") == domain]
        wanted = EACH if domain else OF_NONE
        found += [own[at * len(own) // wanted] for at in range(min(wanted, len(own)))]
    return found
