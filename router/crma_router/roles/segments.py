"""A turn's pieces: paragraphs, labels, tagged, fenced and quoted blocks, and the sentences in them.

Structure alone is read here, in any script: no word of any language. Linear in the length of the turn.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from crma_router.text.words import has_words

Kind = Literal["plain", "label", "tagged", "fenced", "quoted", "data"]
KINDS: tuple[Kind, ...] = ("plain", "label", "tagged", "fenced", "quoted", "data")

MOST_PIECES = 32
MOST_CHARACTERS = 20_000
"""Of a turn; of a longer one, its two ends: who asks does so at the beginning or at the end."""

_LONGEST_LABEL = 40
_WHOLE_FROM = 400  # a given block of more characters is one piece: it is not parted into sentences
_LONG_QUOTE = 120
_LONGEST_DATA = 120

_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_TAG = re.compile(r"<([A-Za-z][\w:-]{0,40})(?:\s[^<>]{0,200})?>|\[([A-Z][A-Z_ ]{1,20})\]")
_HEADING = re.compile(
    r"\s*(?:#{1,6}\s+(.+?)|\*\*(.{1,60}?)\*\*|={2,}\s*(.+?)\s*={2,}|-{3,}\s*(.+?)\s*-{3,}"
    r"|\[([^\[\]]{1,60})\]|<([^\W\d][^<>/=]{1,40})>)\s*:?\s*$"
)
_STAMP = r"(?:[\[(]?\d{1,4}[\d:.,/\-\sTZ]*(?:[AaPp][Mm])?[\])]?[\s-]*)?"
_LABEL = re.compile(rf"\s*{_STAMP}([^\W\d_][^\n:：.?!。？！]{{0,{_LONGEST_LABEL}}})[:：](?:\s+|$)(.*)")
_PAIR = re.compile(r'"([^"\\\n]{1,40})"\s*:\s*"((?:[^"\\\n]|\\.)*)"')
_SENTENCE = re.compile(r"(?<=[.!?…])(?<!^\d\.)(?<!^\d\d\.)[\"'”’)]?\s+|(?<=[。！？])")
_QUOTE = re.compile(
    rf'"[^"]{{{_LONG_QUOTE},}}"|“[^“”]{{{_LONG_QUOTE},}}”|«[^«»]{{{_LONG_QUOTE},}}»|„[^„“]{{{_LONG_QUOTE},}}“'
)
_DATA = re.compile(r'\s*(?:[{}\[\]]+,?\s*$|"[^"]{0,60}"\s*:|\{.*\}\s*$|\|.*\|\s*$|[-=_*]{3,}\s*$)')


@dataclass(frozen=True)
class Piece:
    """text: as it stands in the turn. label: what the tag or heading above or before it says, or empty.

    paragraph: pieces of one paragraph bear the same number.
    """

    text: str
    kind: Kind
    label: str = ""
    paragraph: int = 0


def pieces_of(turn: str) -> list[Piece]:
    """The pieces of a turn that have words, in order, at most `MOST_PIECES`."""
    if len(turn) > MOST_CHARACTERS:
        turn = f"{turn[: MOST_CHARACTERS // 2]}\n\n{turn[-MOST_CHARACTERS // 2 :]}"
    found = [piece for piece in _Reader().read(turn) if has_words(piece.text)]
    return found if len(found) <= MOST_PIECES else _fewer(found)


def _fewer(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of one kind and label become one piece, those in the middle first."""
    ends = MOST_PIECES // 4
    middle = pieces[ends:-ends]
    size = -(-len(middle) // (MOST_PIECES - 2 * ends))
    merged = [
        Piece("\n".join(one.text for one in run), run[0].kind, run[0].label, run[0].paragraph)
        for run in (middle[at : at + size] for at in range(0, len(middle), size))
    ]
    return [*pieces[:ends], *merged, *pieces[-ends:]]


class _Reader:
    """One pass over the lines of a turn."""

    def __init__(self) -> None:
        self._label = ""
        self._paragraph = 0
        self._kind: Kind = "plain"

    def read(self, turn: str) -> Iterator[Piece]:
        lines = turn.split("\n")
        at = 0
        while at < len(lines):
            line = lines[at]
            if opened := _FENCE.match(line):
                end = _closing(lines, at + 1, lambda one, mark=opened[1]: one.strip().startswith(mark))
                yield from self._block("\n".join(lines[at + 1 : end]), "fenced", self._label)
                at = end + 1
            elif (tag := _TAG.match(line.strip())) and (found := _tagged(lines, at, tag)):
                inside, after, at = found
                yield from self._inside(inside, _tag_name(tag))
                if has_words(after):
                    yield from self._line(after)
            else:
                yield from self._line(line)
                at += 1

    def _inside(self, text: str, label: str) -> Iterator[Piece]:
        """What a tag holds may be tagged again, or be lines with labels: `<chat>USER: ...</chat>`."""
        inner = _TAG.search(text)
        nested = inner is not None and f"</{inner[1] or inner[2]}>" in text
        if nested or any(_LABEL.match(line) for line in text.split("\n")):
            outside, self._label, self._kind = (self._label, self._kind), label, "tagged"
            yield from self.read(text)
            self._label, self._kind = outside
        else:
            yield from self._block(text, "tagged", label)

    def _block(self, text: str, kind: Kind, label: str) -> Iterator[Piece]:
        self._paragraph += 1
        parts = [text] if len(text) > _WHOLE_FROM or kind == "fenced" else _SENTENCE.split(text)
        yield from (Piece(part.strip(), kind, label, self._paragraph) for part in parts if part.strip())

    def _line(self, line: str) -> Iterator[Piece]:
        bare = line.strip()
        if not bare:
            self._paragraph += 1
        elif bare.startswith(">"):
            quoted = (part for part in _SENTENCE.split(bare.lstrip("> ")) if part.strip())
            yield from (Piece(part.strip(), "quoted", self._label, self._paragraph) for part in quoted)
        elif heading := _HEADING.match(line):
            self._paragraph += 1
            self._label = next(group for group in heading.groups() if group).strip(" :*#")
            yield Piece(self._label, "label", "", self._paragraph)
        elif pairs := list(_PAIR.finditer(line)):
            yield from self._data(line, pairs)
        elif _DATA.match(line):
            yield Piece(bare, "data", self._label, self._paragraph)
        else:
            yield from self._sentences(bare)

    def _data(self, line: str, pairs: list["re.Match[str]"]) -> Iterator[Piece]:
        """The texts that a JSON object holds, by their keys; what is but a word or a number is one piece."""
        texts = [pair for pair in pairs if _is_text(pair[2])]
        rest = line
        for pair in texts:
            rest = rest.replace(pair[0], "")
        if has_words(rest):
            yield Piece(rest.strip()[:_LONGEST_DATA], "data", self._label, self._paragraph)
        for pair in texts:
            text = pair[2].replace("\\n", "\n").replace('\\"', '"')
            yield Piece(text.strip(), "data", pair[1], self._paragraph)

    def _sentences(self, line: str) -> Iterator[Piece]:
        label = self._label
        if named := _LABEL.match(line):
            label = named[1].strip()
            yield Piece(f"{label}:", "label", "", self._paragraph)
            line = named[2]
            if not line.strip():
                self._label = label  # "Context:" on a line of its own is said of what follows
        at = 0
        for quote in _QUOTE.finditer(line):
            yield from self._plain(line[at : quote.start()], label)
            yield Piece(quote[0][1:-1], "quoted", label, self._paragraph)
            at = quote.end()
        yield from self._plain(line[at:], label)

    def _plain(self, text: str, label: str) -> Iterator[Piece]:
        for sentence in _SENTENCE.split(text):
            if sentence.strip():
                yield Piece(sentence.strip(), self._kind, label, self._paragraph)


def _is_text(value: str) -> bool:
    """More than two words, or as much in a script that does not part them."""
    return len(value.split()) > 2 or sum(ord(one) > 0x2E80 for one in value) > 4


def _closing(lines: list[str], start: int, closes: "object") -> int:
    assert callable(closes)
    return next((at for at in range(start, len(lines)) if closes(lines[at])), len(lines))


def _tag_name(tag: "re.Match[str]") -> str:
    return (tag[1] or tag[2]).replace("_", " ").replace("-", " ").lower()


def _tagged(lines: list[str], at: int, tag: "re.Match[str]") -> tuple[str, str, int] | None:
    """(what the tag holds, what follows it on its last line, the next line); None if nothing closes it."""
    name = tag[1] or tag[2]
    end = f"</{name}>" if tag[1] else f"[/{name}]"
    first = lines[at].strip()[tag.end() :]
    for here in range(at, len(lines)):
        text = first if here == at else lines[here]
        if end in text:
            last, _, after = text.partition(end)
            middle = [] if here == at else [first, *lines[at + 1 : here]]
            return "\n".join([*middle, last]), after, here + 1
    return None
