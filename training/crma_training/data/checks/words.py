"""Texts as words and shingles, for comparing what they say and not how they are written."""

import unicodedata

QUOTES = "\"'‘’“”„«»¿¡"
MARKS = ".,;:?…" + QUOTES
BRACKETS = "`()[]{}<>"
SHINGLE = 4  # characters
CONTRACTED = frozenset({"what's", "who's", "where's", "how's", "it's", "that's"})


def words(text: str) -> tuple[str, ...]:
    """Words in order. Signs inside, before or instead of a word stay: `C++`, `.5`, `f(x`, `;` are words."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split()
    if plain and not plain[-1].strip(MARKS + "!"):
        plain.pop()  # a question mark that stands alone, as in French
    return tuple(found for word in plain for found in _parts(word))


def _parts(word: str) -> tuple[str, ...]:
    ending = MARKS if any(character.isdigit() for character in word) else MARKS + "!"  # 5! is a number
    bare = word.lstrip(QUOTES).rstrip(ending) or word
    bare = bare.strip(BRACKETS).rstrip(ending) or bare
    return (bare[:-2], "is") if bare in CONTRACTED else (bare,)


def shingles(of: tuple[str, ...]) -> frozenset[str]:
    """All runs of `SHINGLE` characters of the words joined by spaces; a shorter text is its own shingle."""
    text = " ".join(of)
    return frozenset(text[start : start + SHINGLE] for start in range(max(1, len(text) - SHINGLE + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared over all, in [0, 1]."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def is_misspelling(one: str, other: str) -> bool:
    """Whether two words of five letters or more differ by one letter added, dropped, changed or swapped."""
    short, long = sorted((one, other), key=len)
    if len(short) < 5 or len(long) - len(short) > 1 or not (one.isalpha() and other.isalpha()):
        return False
    start = next((n for n in range(len(short)) if short[n] != long[n]), len(short))
    if len(short) < len(long):
        return short[start:] == long[start + 1 :]
    swapped = short[start : start + 2] == long[start : start + 2][::-1]
    return short[start + 1 :] == long[start + 1 :] or (swapped and short[start + 2 :] == long[start + 2 :])
