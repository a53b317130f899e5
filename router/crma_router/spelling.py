"""Typing mistakes put right before a text is embedded.

Owns: which words are mistakes and what they become. Knows nothing of embeddings or domains.

The embedder cuts a mistyped word into pieces that mean something else: of mistyped questions some 5 in 100
more reach their domain if the words are put right. SymSpell (W. Garbe 2012) finds the most frequent English
word at one edit's distance, from the frequency list that its Python port carries. What a router is fitted on
stays as it is written.
"""

import re
from functools import cache, lru_cache
from importlib.resources import files

from symspellpy import SymSpell, Verbosity

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_DICTIONARY = "frequency_dictionary_en_82_765.txt"
# A mistake may become one of so many of its words; every word of it is left as it is. With 40,000, 6%
# instead of 4% of what is spelt right is changed, mostly terms that the list does not have.
_MOST_FREQUENT = 10_000
_FEWEST_LETTERS = 4
_LONGEST = 30  # letters; longer words are none
_LOOKED_UP_LATELY = 4096  # words, half a megabyte: a field's terms come again, at 10 us and more each


class Spelling:
    """English words and what they are mistyped as. Threads may share one."""

    def __init__(self) -> None:
        """Read the list, a quarter of a second."""
        self._mistakes = SymSpell(max_dictionary_edit_distance=1, prefix_length=7)
        lines = files("symspellpy").joinpath(_DICTIONARY).read_text("utf-8-sig").splitlines()
        entries = [line.split() for line in lines]
        self._known = frozenset(word for word, _ in entries)
        for word, count in entries[:_MOST_FREQUENT]:
            self._mistakes.create_dictionary_entry(word, int(count))
        self._looked_up = lru_cache(_LOOKED_UP_LATELY)(self._look_up)

    def corrected(self, text: str) -> str:
        """`text` with each unknown word as the known one that it is an edit away from, if there is one.

        Left as they are: texts of which under half the words are English, words of under four letters, with
        an apostrophe, with letters beyond ASCII or with capitals inside (`nCoV`, `DataFrame`).
        """
        words = list(_WORD.finditer(text))
        unknown = [match for match in words if match[0].lower() not in self._known]
        if not unknown or 2 * len(unknown) > len(words):
            return text
        pieces, end = list[str](), 0
        for match in unknown:
            pieces += [text[end : match.start()], self._corrected(match[0])]
            end = match.end()
        return "".join([*pieces, text[end:]])

    def _corrected(self, word: str) -> str:
        """That of an unknown `word`."""
        if not _FEWEST_LETTERS <= len(word) <= _LONGEST or not word.isascii() or not word.isalpha():
            return word
        lower = word.lower()
        if word[1:] not in (lower[1:], word[1:].upper()):
            return word
        return self._looked_up(lower) or word

    def _look_up(self, word: str) -> str | None:
        found = self._mistakes.lookup(word, Verbosity.TOP, max_edit_distance=1)
        return str(found[0].term) if found else None


@cache
def spelling() -> Spelling:
    """The one of this process, read when first asked for."""
    return Spelling()
