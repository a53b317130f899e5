"""Which queries say nearly the same, so that they stay on one side of a split.

Two queries are alike when the Jaccard index of their sets of telling words is `ALIKE` or more; groups are the
connected components of that. Pairs are found by prefix filtering (Chaudhuri, Ganti and Kaushik 2006): of two
such sets, each ordered from the rarest word on, the first few words already meet.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from crma_training.demo_data.sentence import normalised

ALIKE = 0.6

# Words that tell nothing of what a query is about; without them "what is gravity" is "gravity".
_PLAIN = frozenset(
    [
        "a",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "best",
        "been",
        "between",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "for",
        "from",
        "get",
        "go",
        "good",
        "had",
        "has",
        "have",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "me",
        "mean",
        "means",
        "meaning",
        "much",
        "my",
        "of",
        "on",
        "one",
        "or",
        "our",
        "s",
        "should",
        "so",
        "some",
        "t",
        "than",
        "that",
        "the",
        "their",
        "them",
        "there",
        "these",
        "they",
        "this",
        "to",
        "use",
        "used",
        "was",
        "way",
        "ways",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "work",
        "would",
        "you",
        "your",
    ]
)


def telling_words(text: str) -> frozenset[str]:
    """The words of `text` that say what it is about; all of them if there is no such word.

    In a script other than ours they are what stands between its spaces.
    """
    words = frozenset((normalised(text) or text.casefold()).split())
    return words - _PLAIN or words


def clusters(texts: Sequence[str]) -> list[int]:
    """The group of each text: the index of the first text in it."""
    groups = _Groups(len(texts))
    sets = [telling_words(text) for text in texts]
    frequency = Counter(word for words in sets for word in words)
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for index, words in enumerate(sets):
        ordered = sorted(words, key=lambda word: (frequency[word], word))
        for word in ordered[: _prefix(len(ordered))]:
            for other in seen[word]:
                if _alike(words, sets[other]):
                    groups.join(index, other)
            seen[word].append(index)
    return [groups.first(index) for index in range(len(texts))]


def _prefix(size: int) -> int:
    return size - math.ceil(ALIKE * size) + 1


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= ALIKE * len(one | other)


class _Groups:
    """Union-find over indices; a group's root is its least index."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def first(self, index: int) -> int:
        while self._above[index] != index:
            self._above[index] = self._above[self._above[index]]
            index = self._above[index]
        return index

    def join(self, one: int, other: int) -> None:
        roots: Iterable[int] = sorted((self.first(one), self.first(other)))
        low, high = roots
        self._above[high] = low
