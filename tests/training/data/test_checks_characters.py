"""Mojibake, lost characters, control characters; and text that only looks like it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_training.data.checks.characters import check_characters
from crma_training.data.checks.record import Record


def kinds(text: str) -> list[str]:
    record = Record("medical", "train", "f:1", "q", ("q", text))
    findings = list(check_characters([record]))
    assert {finding.severity for finding in findings} <= {"warning"}
    return [finding.kind for finding in findings]


def misread(text: str) -> str:
    """UTF-8 shown as Windows-1252, its five undefined bytes as Latin-1, as programs do."""
    undefined = b"\x81\x8d\x8f\x90\x9d"
    encodings = (("latin-1" if byte in undefined else "cp1252", byte) for byte in text.encode())
    return "".join(bytes([byte]).decode(encoding) for encoding, byte in encodings)


@pytest.mark.parametrize(
    "text", ["café", "naïve", "it’s", "“so”", "5 °C", "пример", "à la", "1 – 2", "\ufeffa"]
)
def test_utf8_read_as_windows_1252_is_seen(text: str) -> None:
    assert kinds(misread(text)) == ["mojibake"]


@pytest.mark.parametrize(
    "text",
    [
        "café",
        "IRMÃO",
        "«À LA CARTE»",
        "Âge d’or",
        "пример",
        "Ñandú",
        "Österreich „ÄÖÜ“",
        "日本語",
        "x ≤ y",
        "🙂",
    ],
)
def test_right_text_is_left_alone(text: str) -> None:
    assert kinds(text) == []


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)))
def test_plain_ascii_is_always_clean(text: str) -> None:
    assert kinds(text) == []


@given(st.text("éèàçüößñ°”€", min_size=1))
def test_garbled_latin_letters_are_always_seen(text: str) -> None:
    assert kinds(misread(text)) == ["mojibake"]


def test_lost_and_control_characters() -> None:
    assert kinds("caf\ufffd") == ["replacement"]
    assert kinds("a\x00b") == ["control"]
    assert kinds("tab\tand\nline\r\n") == []
