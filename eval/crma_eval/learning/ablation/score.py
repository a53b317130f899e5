"""Is an answer right? Normalised exact match, after SQuAD (Rajpurkar et al. 2016), kind to codes and
numbers.
"""

import re
import unicodedata

_PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2212": "-"}
)
_ENDS = ".,;:!?'\"`*()[]{}«»¿¡- "
_OPENING = re.compile(rf"[{re.escape(_ENDS)}]*?(?=-?\.?\d|[^{re.escape(_ENDS)}]|$)")
_ARTICLE = re.compile(r"(?:the|an|a) (?=\S)")


def normalise(text: str) -> str:
    """Unicode NFKC, plain quotes and dashes, case folded, spaces collapsed; no punctuation at the ends (a
    number keeps its sign), no article at the start. Text of nothing else is only folded.
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).translate(_PLAIN).casefold().split())
    bare = _stripped(plain)
    if article := _ARTICLE.match(bare):
        bare = _stripped(bare[article.end() :])
    return bare or plain


def is_right(answer: str, gold: str) -> bool:
    """Whether the whole answer is the reference answer."""
    return normalise(answer) == normalise(gold)


def mentions(answer: str, gold: str) -> bool:
    """Whether the reference answer stands in the answer as words of its own: says what exact match hides."""
    found = re.search(rf"(?<!\w){re.escape(normalise(gold))}(?!\w)", normalise(answer))
    return found is not None


def _stripped(text: str) -> str:
    return _OPENING.sub("", text, count=1).rstrip(_ENDS)
