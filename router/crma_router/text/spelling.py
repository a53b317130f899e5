"""Typing mistakes put right before a text is embedded.

Owns: which words are mistakes and what they become. Knows nothing of embeddings or domains.

The embedder cuts a mistyped word into pieces that mean something else: of mistyped questions some 5 in 100
more reach their domain if the words are put right. SymSpell (W. Garbe 2012) finds the most frequent English
word at one edit's distance, from the frequency list that its Python port carries. What a router is fitted on
stays as it is written.
"""

import re
from functools import cache
from importlib.resources import files

from symspellpy import SymSpell, Verbosity

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_DICTIONARY = "frequency_dictionary_en_82_765.txt"
# A mistake may become one of so many of its words; every word of it is left as it is. With 40,000, 6%
# instead of 4% of what is spelt right is changed, mostly terms that the list does not have.
_MOST_FREQUENT = 10_000
_FEWEST_LETTERS = 4
_LONGEST = 30  # letters; longer words are none


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

    def corrected(self, text: str) -> str:
        """`text` with each unknown word as the known one that it is an edit away from, if there is one.

        Left as they are: texts of which under half the words are English, words of under four letters, with
        an apostrophe, with letters beyond ASCII or with capitals inside (`nCoV`, `DataFrame`).
        """
        words = _WORD.findall(text)
        known = sum(word.lower() in self._known for word in words)
        if known == len(words) or 2 * known < len(words):
            return text
        return _WORD.sub(self._corrected, text)

    def _corrected(self, match: re.Match[str]) -> str:
        word = match[0]
        if not _FEWEST_LETTERS <= len(word) <= _LONGEST or not word.isascii() or not word.isalpha():
            return word
        lower = word.lower()
        if lower in self._known or word[1:] not in (lower[1:], word[1:].upper()):
            return word
        found = self._mistakes.lookup(lower, Verbosity.TOP, max_edit_distance=1)
        return str(found[0].term) if found else word


@cache
def spelling() -> Spelling:
    """The one of this process, read when first asked for."""
    return Spelling()
