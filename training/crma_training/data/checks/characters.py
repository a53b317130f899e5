"""Text that went through the wrong encoding, and characters that no text should hold."""

import re
from collections.abc import Iterable, Iterator

from crma_training.data.checks.finding import Finding
from crma_training.data.checks.record import Record

# UTF-8 read as Windows-1252: a lead byte of two or three (Ã, Â; â, ï; Ð and Ñ of Cyrillic, in a row) and the
# continuation bytes 0x80-0xBF as that code page shows them.
_CONTINUATION = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_MOJIBAKE = re.compile(f"[ÃÂ]{_CONTINUATION}|[âï]{_CONTINUATION}{{2}}|(?:[ÐÑ]{_CONTINUATION}){{2}}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def check_characters(records: Iterable[Record]) -> Iterator[Finding]:
    """At most one finding of a kind for each row."""
    for record in records:
        text = "\n".join(record.texts)
        if _is_mojibake(text):
            yield _finding("mojibake", record, "UTF-8 that was read as Windows-1252 (such as 'Ã©' for 'é')")
        if "\ufffd" in text:
            yield _finding("replacement", record, "U+FFFD: something could not be decoded and is lost")
        if control := _CONTROL.search(text):
            yield _finding("control", record, f"control character U+{ord(control.group()):04X}")


def _is_mojibake(text: str) -> bool:
    """Whether a suspicious run is one that UTF-8 can have made."""
    return any(_decodes(match.group()) for match in _MOJIBAKE.finditer(text))


def _decodes(run: str) -> bool:
    raw = b"".join(_byte(character) for character in run)
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _byte(character: str) -> bytes:
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:  # the five bytes that Windows-1252 leaves undefined
        return character.encode("latin-1")


def _finding(kind: str, record: Record, detail: str) -> Finding:
    return Finding(kind, "warning", record.domain, record.where, detail)
