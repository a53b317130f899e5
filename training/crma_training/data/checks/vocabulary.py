"""How much a word tells rows apart, learnt from the rows themselves.

A word's weight is its inverse document frequency (Spärck Jones 1972): the words of a template are frequent
and weigh little, a name that stands in few rows weighs much. A word with a digit in it always counts in full.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator

from crma_training.data.checks.words import is_misspelling

KNOWN = 3  # a word of so many texts is spelt rightly
# Largest weight of differing words, as a share of the weight of a word that stands in a single text.
ADDED, REPLACED = 0.5, 0.25


class Vocabulary:
    """The words of all texts of one domain."""

    def __init__(self, texts: Collection[Collection[str]]) -> None:
        self._texts = len(texts)
        self._holders = Counter(word for text in texts for word in text)
        self._known: dict[str, list[str]] = defaultdict(list)
        for word, holders in self._holders.items():
            if holders >= KNOWN:
                for form in _forms(word):
                    self._known[form].append(word)

    def is_slip(self, one: str, other: str) -> bool:
        """Whether one of two words stands nowhere else and is the other, which is known, but for a letter.

        Names differ by a letter too (Mali, Bali); two that are both rare are taken for two names.
        """
        rarer, known = sorted((self._holders[one], self._holders[other]))
        return rarer == 1 and known >= KNOWN and is_misspelling(one, other)

    def tells_apart(self, words: Iterable[str]) -> frozenset[str]:
        """Words that no text may lack that says the same; slips are given as the word they stand for."""
        meant = (self._meant(word) for word in words)
        return frozenset(word for word in meant if self.weigh([word]) > self.allowed(replaced=False))

    def weigh(self, words: Iterable[str]) -> float:
        """Their weights together; infinite with a digit among them."""
        return sum(
            math.inf if any(map(str.isdigit, word)) else math.log(self._texts / self._holders[word])
            for word in words
        )

    def allowed(self, *, replaced: bool) -> float:
        """Largest weight of the words by which two texts that say the same may differ."""
        return (REPLACED if replaced else ADDED) * math.log(self._texts + 1)

    def _meant(self, word: str) -> str:
        if self._holders[word] > 1:
            return word
        near = (known for form in _forms(word) for known in self._known.get(form, ()))
        return min((known for known in near if is_misspelling(word, known)), default=word)


def _forms(word: str) -> Iterator[str]:
    """A word and all it becomes by losing one letter: two words that differ by a letter share a form."""
    yield word
    yield from {word[:place] + word[place + 1 :] for place in range(len(word))}
