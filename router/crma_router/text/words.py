"""How much of a text is read, whether it has words, and which language it is in."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, overload

# About 400 tokens. A long text keeps its two ends: questions stand there.
BUDGET_CHARACTERS = 1600


def clip(text: str) -> str:
    """At most `BUDGET_CHARACTERS` of `text`, half from its head and half from its tail, valid as UTF-8."""
    if len(text) > BUDGET_CHARACTERS:
        half = (BUDGET_CHARACTERS - 1) // 2
        text = f"{text[:half]} {text[-half:]}"
    # JSON may carry lone surrogates ("\ud800"), which tokenizers refuse.
    return text.encode("utf-8", "replace").decode("utf-8").strip()


def has_words(text: str) -> bool:
    """Whether there is a letter or digit at all, in any script."""
    return any(character.isalnum() for character in text)


def count_words(text: str) -> float:
    """Words between spaces; of scripts without any, two characters to a word."""
    return len(text.split()) + sum(ord(one) > 0x2E80 for one in text) / 2


_FEWEST_LETTERS = 24
_CERTAIN = 0.999
_SPOKEN = 0.02
"""Share of texts from which a language counts as one of theirs."""


def language_of(text: str) -> str | None:
    """ISO 639-1 code, or None if the text is short or could be in more than one. Some tenths of a
    millisecond."""
    letters = sum(3 if ord(one) > 0x2E80 else 1 for one in text if one.isalpha())
    if letters < _FEWEST_LETTERS:
        return None
    language, certainty = _identifier().classify(text[:1000])
    return str(language) if certainty >= _CERTAIN else None


@overload
def languages_of(texts: Sequence[str], *, each: Literal[True]) -> list[str | None]: ...
@overload
def languages_of(texts: Sequence[str]) -> set[str]: ...
def languages_of(texts: Sequence[str], *, each: bool = False) -> list[str | None] | set[str]:
    """Those that a share of the texts is in, always English among them; `each`: that of every text."""
    told = [language_of(text) for text in texts]
    if each:
        return told
    counts = Counter(one for one in told if one is not None)
    return {"en"} | {name for name, count in counts.items() if count >= _SPOKEN * len(texts)}


@cache
def _identifier() -> Any:
    from py3langid.langid import _load_identifier

    return _load_identifier(norm_probs=True)
