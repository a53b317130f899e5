"""What every router is fitted on, tuned on and asked.

Fitted: the training questions of a dataset folder, as the release's router is. Tuned: a fifth of those, the
same for all, left out of the first fit. Asked: the folder's held-out natural questions, and the fresh ones.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_eval.routing.sets.fresh import ENGLISH, FreshQuestion, fresh_questions
from crma_eval.routing.sets.held_out import load_sets
from crma_router.classifier.data import RouterData
from crma_training.data.dataset import load_dataset
from crma_training.small_talk import SMALL_TALK

TUNED_SHARE = 5
_TUNED_ON = 500  # texts at most: each option of each router asks them all
_HELD_OUT = 800


@dataclass(frozen=True)
class Labelled:
    """Texts and where each belongs, None for none."""

    name: str
    texts: tuple[str, ...]
    labels: tuple[str | None, ...]


@dataclass(frozen=True)
class Split:
    """`part` has none of the texts that are `tuned` on; `whole` has all."""

    whole: RouterData
    part: RouterData
    tuned: Labelled
    asked: tuple[Labelled, ...]

    @property
    def digest(self) -> str:
        """Of all texts and labels."""
        content = [self.whole.examples, self.whole.out_of_domain, self.tuned.texts, self.asked]
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def load_split(directory: Path) -> Split:
    """Of a dataset folder whose domains are those of the fresh questions. Raises as `load_dataset`."""
    data = load_dataset(directory)
    whole = RouterData(
        {domain.name: list(domain.questions) for domain in data.domains}, [*data.out_of_domain, *SMALL_TALK]
    )
    part = RouterData(
        {name: _left(texts) for name, texts in whole.examples.items()}, _left(whole.out_of_domain)
    )
    pairs: list[tuple[str, str | None]] = [
        (text, name) for name, texts in whole.examples.items() for text in texts if _is_tuned_on(text)
    ]
    pairs += [(text, None) for text in whole.out_of_domain if _is_tuned_on(text)]
    return Split(whole, part, _labelled("tuned", _spread(pairs, _TUNED_ON)), _asked(directory))


def _asked(directory: Path) -> tuple[Labelled, ...]:
    sets = {one.name: one for one in load_sets(directory)}
    held_out = [(q.turns[-1], q.domain) for name in ("natural", "everyday") for q in sets[name].questions]
    questions = fresh_questions()
    english = [one for one in questions if one.language == ENGLISH]
    return (
        _labelled("held-out", _spread(held_out, _HELD_OUT)),
        _fresh("fresh English", [one for one in english if not one.near]),
        _fresh("fresh English, near", [one for one in english if one.near or one.domain is not None]),
        _fresh("other languages", [one for one in questions if one.language != ENGLISH]),
    )


def _fresh(name: str, questions: Sequence[FreshQuestion]) -> Labelled:
    return _labelled(name, [(one.text, one.domain) for one in questions])


def _labelled(name: str, pairs: Sequence[tuple[str, str | None]]) -> Labelled:
    return Labelled(name, tuple(text for text, _ in pairs), tuple(label for _, label in pairs))


def _spread(pairs: Sequence[tuple[str, str | None]], count: int) -> list[tuple[str, str | None]]:
    """At most `count` of them, evenly over the list."""
    count = min(count, len(pairs))
    return [pairs[at * len(pairs) // count] for at in range(count)]


def _is_tuned_on(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % TUNED_SHARE == 0


def _left(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if not _is_tuned_on(text)]
