"""Pairs of rows that say the same in almost the same words.

    words -> shingles -> MinHash LSH: candidates -> true Jaccard -> weight of the words that differ

Likeness alone does not make two rows the same: "What is the currency of Kuwait?" and "... of Oman?" share
most of their text. So the words that differ are weighed by how rare they are in the data at hand (inverse
document frequency, Spärck Jones 1972): the words of a template are frequent, so their difference weighs
little, and one name weighs more than the limit. A word with a digit in it is always a difference.

Candidates: Broder 1997 (MinHash), banded as in Indyk and Motwani 1998, by datasketch.

Owns: what a near-duplicate is. Knows nothing of which files the rows lie in, or how bad it is.
"""

import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crma_training.checks.record import Record
from crma_training.checks.words import is_misspelling, jaccard, shingles, words

BANDS, ROWS = 24, 4  # of two texts with Jaccard 0.7 a band agrees with probability 0.998, with 0.8 always
MIN_JACCARD = 0.7
# Largest weight of differing words, as a share of the weight of a word that stands in a single row.
ADDED, REPLACED = 0.5, 0.25


@dataclass(frozen=True)
class _Text:
    question: tuple[str, ...]
    answer: tuple[str, ...]
    shingles: frozenset[str]


class Similarity:
    """Finds near-duplicates among the rows of one domain."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._texts = [_text(record) for record in records]
        self._rows_with = Counter(word for text in self._texts for word in {*text.question, *text.answer})

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Positions (earlier, later) of near-duplicates, each pair once, in order."""
        same_words = _same_words(self._texts)
        likely = {pair for pair in self._candidates() if pair not in same_words and self._alike(*pair)}
        yield from sorted(same_words | likely)

    def _candidates(self) -> Iterator[tuple[int, int]]:
        from datasketch import MinHash, MinHashLSH  # a second to load

        size = BANDS * ROWS
        hashed = ([zlib.crc32(shingle.encode()) for shingle in text.shingles] for text in self._texts)
        index = MinHashLSH(num_perm=size, params=(BANDS, ROWS))
        for later, sketch in enumerate(MinHash.generator(hashed, num_perm=size, seed=1, hashfunc=int)):
            for earlier in index.query(sketch):
                yield earlier, later
            index.insert(later, sketch, check_duplication=False)

    def _alike(self, earlier: int, later: int) -> bool:
        one, other = self._texts[earlier], self._texts[later]
        if jaccard(one.shingles, other.shingles) < MIN_JACCARD:
            return False
        left = {*_tagged(one)} - {*_tagged(other)}
        right = {*_tagged(other)} - {*_tagged(one)}
        if any(character.isdigit() for _, word in left | right for character in word):
            return False
        if one.answer == other.answer:
            self._forgive_misspellings(left, right)
        share = REPLACED if left and right else ADDED
        rows = len(self._texts)
        weight = sum(math.log(rows / self._rows_with[word]) for _, word in left | right)
        return weight <= share * math.log(rows + 1)

    def _forgive_misspellings(self, left: set[tuple[str, str]], right: set[tuple[str, str]]) -> None:
        """Drops pairs of words that look like one word, if one of them stands nowhere else in the data."""
        for mine in sorted(left):
            for theirs in sorted(right):
                once = 1 in (self._rows_with[mine[1]], self._rows_with[theirs[1]])
                if once and is_misspelling(mine[1], theirs[1]):
                    left.discard(mine)
                    right.discard(theirs)
                    break


def _text(record: Record) -> _Text:
    question, answer = words(record.key), words(record.answer)
    return _Text(question, answer, shingles(question + answer))


def _tagged(text: _Text) -> Iterator[tuple[str, str]]:
    yield from (("question", word) for word in text.question)
    yield from (("answer", word) for word in text.answer)


def _same_words(texts: Sequence[_Text]) -> set[tuple[int, int]]:
    """Questions of the same words in the same order, whatever is answered; each with the first such."""
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, text in enumerate(texts):
        places[text.question].append(position)
    places.pop((), None)
    return {(group[0], later) for group in places.values() for later in group[1:]}
