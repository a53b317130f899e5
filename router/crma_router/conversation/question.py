"""The user's own words in a turn, apart from what was pasted into it.

Owns: telling an instruction from code blocks, quotes, documents and long pastes around it. Knows nothing of
domains. The words that open a request are English; in other languages a long paste counts as a whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from crma_router.text.clip import BUDGET_CHARACTERS, has_words

LONG_QUOTE = 200
"""Characters from which quoted text counts as pasted."""

# A part of a longer text that is longer than this is no instruction.
_MOST_INSTRUCTION = 400
_MOST_CHARACTERS = 400_000  # of one turn; of more, the two ends

_FENCE = re.compile(r"\s*(```|~~~)")
_TAG = re.compile(r"\s*<([A-Za-z][\w-]{0,40})[^<>]{0,200}>")
_CLOSING_TAG = re.compile(r"</([A-Za-z][\w-]{0,40})>")
# A quote ends at the next quote or never: no text makes these patterns slow.
_QUOTES = re.compile(rf'"[^"]{{{LONG_QUOTE},}}"|“[^“”]{{{LONG_QUOTE},}}”')
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")
_SENTENCES = re.compile(r"(?<=[.!?:])\s")
_REQUEST = re.compile(
    r"(?:(?:please|now|so|ok|okay|hi|hello|also|then|and)\b[\s,]*){0,3}"
    r"(?:what|why|how|who|whom|whose|when|where|which|is|are|was|were|am|can|could|would|will|should|shall|may|"
    r"might|must|do|does|did|has|have|please|explain|summari[sz]e|translate|rewrite|rephrase|review|list|write|"
    r"tell|give|find|check|fix|describe|compare|extract|help|identify|analy[sz]e|answer|define|calculate|show|"
    r"outline|highlight|point|read|look|convert|improve|correct|classify|draft|sum up|"
    r"i (?:need|want|would like)|i'd like|let me know)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class OwnWords:
    """`instruction`: what the user asks, possibly empty. `pasted`: there is more in the turn than that."""

    instruction: str
    pasted: bool


def own_words(turn: str) -> OwnWords:
    """Part the instruction of a user turn from code blocks, `>` quotes, tagged documents and long quotations.

    Of a text that is long all the same, the first and the last paragraph or sentence, as far as they ask for
    something. Linear in the length of the turn.
    """
    text = turn if len(turn) <= _MOST_CHARACTERS else f"{_half(turn, 0)}\n\n{_half(turn, 1)}"
    rest = _QUOTES.sub(" ", "\n".join(_unquoted_lines(text.split("\n")))).strip()
    if len(rest) > BUDGET_CHARACTERS:
        return OwnWords("\n".join(_requests(rest)), pasted=True)
    if has_words(rest):
        return OwnWords(rest, pasted=has_words(text) and len(rest) < len(turn.strip()) * 0.9)
    return OwnWords("", pasted=has_words(text))


def _half(turn: str, which: int) -> str:
    half = _MOST_CHARACTERS // 2
    return turn[-half:] if which else turn[:half]


def _unquoted_lines(lines: list[str]) -> Iterator[str]:
    last_closing = {tag: at for at, line in enumerate(lines) for tag in _CLOSING_TAG.findall(line)}
    last_fence = {match[1]: at for at, line in enumerate(lines) if (match := _FENCE.match(line))}
    fence, tag = None, None
    for at, line in enumerate(lines):
        opened = _FENCE.match(line)
        if fence is not None:
            fence = None if opened and opened[1] == fence else fence
        elif tag is not None:
            tag = None if f"</{tag}>" in line else tag
        elif opened:
            # A fence that nothing closes runs to the end, as Markdown has it.
            fence = opened[1] if last_fence[opened[1]] > at else "end"
        elif (match := _TAG.match(line)) and last_closing.get(match[1], -1) >= at:
            tag = None if f"</{match[1]}>" in line else match[1]
        elif not line.lstrip().startswith(">"):
            yield line


def _requests(text: str) -> Iterator[str]:
    paragraphs = [paragraph.strip() for paragraph in _PARAGRAPHS.split(text) if paragraph.strip()]
    first, last = _end(paragraphs[0], 0), _end(paragraphs[-1], -1)
    yield from dict.fromkeys(end for end in (first, last) if _asks(end))


def _end(paragraph: str, which: int) -> str:
    """The paragraph if it is short, else its first or last sentence, if that is short."""
    if len(paragraph) <= _MOST_INSTRUCTION:
        return paragraph
    ends = paragraph[:_MOST_INSTRUCTION] if which == 0 else paragraph[-_MOST_INSTRUCTION:]
    sentences = [sentence for sentence in _SENTENCES.split(ends) if sentence.strip()]
    return sentences[which].strip() if len(sentences) > 1 else ""


def _asks(text: str) -> bool:
    return text.endswith("?") or _REQUEST.match(text) is not None
