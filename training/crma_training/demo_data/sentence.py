"""Making short, whole sentences out of glosses, definitions and docstrings."""

import re

MAX_WORDS = 42
_RUN_ON = re.compile(r"[a-z]{4}\. [a-z]")  # a full stop in mid-sentence: cut badly, or typed badly
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|ca|Dr|St|No|U\.S|resp|incl)\.|\b[A-Z]\.)$")


def one_line(text: str) -> str:
    return " ".join(text.split())


def balanced(text: str) -> bool:
    """Whether brackets and double quotes close."""
    pairs = (("(", ")"), ("[", "]"), ("{", "}"))
    return all(text.count(a) == text.count(b) for a, b in pairs) and text.count('"') % 2 == 0


def sentences(text: str) -> list[str]:
    """`text` cut after each full stop that ends a sentence."""
    found: list[str] = []
    for piece in re.split(r"(?<=[.!?])\s+(?=[A-Z\"'(`])", one_line(text)):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] += " " + piece
        else:
            found.append(piece)
    return [sentence for sentence in found if sentence]


def whole(text: str, max_words: int = MAX_WORDS) -> str | None:
    """The first sentences of `text` within `max_words`, capitalised and closed; None if there is none."""
    kept: list[str] = []
    for sentence in sentences(_spaced(text)):
        if len(" ".join([*kept, sentence]).split()) > max_words:
            break
        kept.append(sentence)
        if len(kept) == 2:
            break
    joined = " ".join(kept).rstrip(" ;:,")
    if len(joined.split()) < 4 or not balanced(joined) or _RUN_ON.search(joined):
        return None
    joined = joined[0].upper() + joined[1:]
    return joined if joined[-1] in ".!?" else joined + "."


def _spaced(text: str) -> str:
    """`text` with the blanks around its commas and full stops put right."""
    return re.sub(r"(?<=[a-z]),(?=[a-z])", ", ", re.sub(r"(?<=[\w)]) ([.,;])(?=\s|$)", r"\1", one_line(text)))


def normalised(text: str) -> str:
    """Lower case, letters and digits only: what an exact match compares."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
