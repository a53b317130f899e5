"""Variants of the training questions: as people type them rather than as they are written down.

Owns: the ways in which a question is varied and how many of them a fit sees. Knows nothing of domains.

Slips of the fingers, chat phrasing, and very short forms (the words that stand out of a question, alone or
in a few words that ask what they mean); a third of them in another casing. What a question becomes hangs on
the seed and on the questions alone, in whatever order they come.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_OPENINGS = (
    "hi, ", "hey, ", "hello! ", "ok so ", "quick question: ", "please tell me: ", "can you help me? ",
    "i was wondering, ", "um, ", "yo ", "so, ", "sorry, one more thing. ", "help: ", "pls explain ",
    "thanks! now ",
)  # fmt: skip
_CLOSINGS = (
    "", "", " thanks", " please", " pls", " ?", " thx!", " asap", " :)", " any idea?", " i'm not sure",
)  # fmt: skip
_SHORT = (
    "{}", "{}?", "what is {}", "What is {}?", "What is a {}?", "what's {}", "{} meaning", "define {}",
    "{} explained", "explain {}", "what does {} mean", "how does {} work", "about {}",
)  # fmt: skip
_SHORTHAND = (
    (r"\byou\b", "u"),
    (r"\byour\b", "ur"),
    (r"\bare\b", "r"),
    (r"\bplease\b", "pls"),
    (r"\bbecause\b", "cuz"),
    (r"\bwhat is\b", "whats"),
    (r"\bdo not\b", "dont"),
    (r"\bgoing to\b", "gonna"),
    (r"\bwant to\b", "wanna"),
    (r"\bwith\b", "w/"),
    (r"\bpeople\b", "ppl"),
)
_RECASED = 1 / 3
_LONGEST_TOPIC = 3  # words
_TELLING = 3.0  # how much rarer than the middle word one must be to stand out, as a difference of idf

Vary = Callable[[str, random.Random], str]


@dataclass(frozen=True)
class Augmentation:
    """`variants`: how many a fit sees for each question, on average; 0: none, 4 at most. Half are slips of
    the fingers."""

    variants: float = 1.0


def augment(texts: Sequence[str], augmentation: Augmentation, seed: int) -> list[tuple[int, str]]:
    """(index of the question, its variant); variants equal to a question or to one another are left out."""
    words = Rarity(texts)
    ways: tuple[Vary, ...] = (typos, typos, words.shorten, chatty)
    known = set(texts)
    found: list[tuple[int, str]] = []
    for index, text in enumerate(texts):
        chance = random.Random(f"{seed}\0{text}")
        count = math.floor(augmentation.variants + chance.random())
        for way in chance.sample(ways, min(count, len(ways))):
            variant = way(text, chance)
            if chance.random() < _RECASED:
                variant = casing(variant, chance)
            if variant not in known:
                known.add(variant)
                found.append((index, variant))
    return found


def typos(text: str, chance: random.Random) -> str:
    """One slip in about every fourth longer word: a letter left out, doubled, exchanged or swapped."""
    return " ".join(
        _slip(word, chance) if len(word) > 3 and chance.random() < 0.3 else word for word in text.split()
    )


def _slip(word: str, chance: random.Random) -> str:
    at = chance.randrange(1, len(word) - 1)
    kind = chance.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    if kind == 2:
        return word[:at] + chance.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def casing(text: str, chance: random.Random) -> str:
    """Lower or upper case, or every word capitalised; the final punctuation often lost."""
    bare = text.rstrip(" ?.!") if chance.random() < 0.7 else text
    return chance.choice((str.lower, str.lower, str.upper, str.title))(bare)


def chatty(text: str, chance: random.Random) -> str:
    """An opening, a closing and shorthand, as in a chat."""
    said = text.rstrip(" ?.!").lower()
    if chance.random() < 0.5:
        for written, typed in _SHORTHAND:
            said = re.sub(written, typed, said)
    opening = chance.choice(_OPENINGS) if chance.random() < 0.7 else ""
    return opening + said + chance.choice(_CLOSINGS)


class Rarity:
    """How rare a word is among the questions, and with that which words a question can be cut down to."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = len(texts)
        self._with = Counter(word for text in texts for word in set(map(_bare, text.split())))

    def shorten(self, text: str, chance: random.Random) -> str:
        """Its rarest run of one to three words, alone or asked for in a few words."""
        words = [word.strip("?.!,;:\"'()`") for word in text.split()]
        scores = [self._idf(word) for word in words]
        if not any(words):
            return text
        best = max(range(len(words)), key=lambda at: (scores[at], at))
        first = last = best
        while last - first + 1 < _LONGEST_TOPIC:
            around = [at for at in (first - 1, last + 1) if 0 <= at < len(words) and words[at]]
            near = [at for at in around if scores[at] > scores[best] - _TELLING]
            if not near or chance.random() < 0.25:
                break
            at = max(near, key=lambda at: scores[at])
            first, last = min(first, at), max(last, at)
        return chance.choice(_SHORT).format(" ".join(words[first : last + 1]))

    def _idf(self, word: str) -> float:
        return math.log((1 + self._texts) / (1 + self._with[_bare(word)])) if _bare(word) else -1.0


def _bare(word: str) -> str:
    return re.sub(r"\W+", "", word.lower())
