"""Pairs of rows that say the same in almost the same words.

    words -> rows of the same telling words -> MinHash LSH -> true Jaccard -> weight of the differences

Likeness alone does not make two rows the same: "What is the currency of Kuwait?" and "... of Oman?" share
most of their text. So the words that differ are weighed (`vocabulary`), and rows that differ in a word which
weighs too much by itself are not even compared: a template with a thousand names has half a million pairs.

Candidates: Broder 1997 (MinHash), banded as in Indyk and Motwani 1998, by datasketch.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from crma_training.data.checks.vocabulary import Vocabulary
from crma_training.data.checks.words import jaccard, shingles, words

BANDS, ROWS = 24, 4  # of two texts with Jaccard 0.7 a band agrees with probability 0.998, with 0.8 always
MIN_JACCARD = 0.7


class Compared(Protocol):
    """What is asked, without case and spacing, and what is answered."""

    @property
    def key(self) -> str: ...

    @property
    def answer(self) -> str: ...


@dataclass(frozen=True)
class _Text:
    question: tuple[str, ...]
    answer: tuple[str, ...]

    @property
    def shingles(self) -> frozenset[str]:
        """Of the whole row."""
        return shingles(self.question + self.answer)


class Similarity:
    """Finds near-duplicates among the rows of one domain."""

    def __init__(self, records: Sequence[Compared]) -> None:
        self._texts = [_Text(words(record.key), words(record.answer)) for record in records]
        self._vocabulary = Vocabulary([{*text.question, *text.answer} for text in self._texts])

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Positions (earlier, later) of near-duplicates, each pair once, in order."""
        found = _same_words(self._texts)
        comparable: dict[tuple[frozenset[str], frozenset[str]], list[int]] = defaultdict(list)
        tells_apart = self._vocabulary.tells_apart
        for position, text in enumerate(self._texts):
            comparable[tells_apart(text.question), tells_apart(text.answer)].append(position)
        for positions in comparable.values():
            if len(positions) > 1:
                found.update(self._alike_among(positions))
        yield from sorted(found)

    def _alike_among(self, positions: Sequence[int]) -> Iterator[tuple[int, int]]:
        sets = [self._texts[position].shingles for position in positions]
        for one, other in _candidates(sets):
            if jaccard(sets[one], sets[other]) < MIN_JACCARD:
                continue
            pair = positions[one], positions[other]
            if self._says_the_same(*(self._texts[position] for position in pair)):
                yield pair

    def _says_the_same(self, one: _Text, other: _Text) -> bool:
        left = [*({*one.question} - {*other.question}), *({*one.answer} - {*other.answer})]
        right = [*({*other.question} - {*one.question}), *({*other.answer} - {*one.answer})]
        if one.answer == other.answer:
            self._drop_slips(left, right)
        allowed = self._vocabulary.allowed(replaced=bool(left and right))
        return self._vocabulary.weigh(left + right) <= allowed

    def _drop_slips(self, left: list[str], right: list[str]) -> None:
        for mine in sorted(left):
            slip = next((theirs for theirs in sorted(right) if self._vocabulary.is_slip(mine, theirs)), None)
            if slip is not None:
                left.remove(mine)
                right.remove(slip)


def _candidates(sets: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Positions (earlier, later) of sets that are probably alike."""
    from datasketch import MinHash, MinHashLSH  # a second to load

    size = BANDS * ROWS
    hashed = ([zlib.crc32(shingle.encode()) for shingle in one] for one in sets)
    index = MinHashLSH(num_perm=size, params=(BANDS, ROWS))
    for later, sketch in enumerate(MinHash.generator(hashed, num_perm=size, seed=1, hashfunc=int)):
        for earlier in index.query(sketch):
            yield earlier, later
        index.insert(later, sketch, check_duplication=False)


def _same_words(texts: Sequence[_Text]) -> set[tuple[int, int]]:
    """Questions of the same words in the same order, whatever is answered; each with the first such."""
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, text in enumerate(texts):
        places[text.question].append(position)
    places.pop((), None)
    return {(group[0], later) for group in places.values() for later in group[1:]}
