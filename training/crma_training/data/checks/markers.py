"""Traces of another pipeline in the text: chat tokens, prompt formats, unfilled templates, boilerplate."""

import re
from collections.abc import Iterable, Iterator

from crma_training.data.checks.finding import Finding, Severity
from crma_training.data.checks.record import Record

# Tokenizers make control tokens of the first kind: a row could end its own turn. The others are only learnt.
_KINDS: tuple[tuple[str, Severity, re.Pattern[str]], ...] = (
    (
        "template-token",
        "error",
        re.compile(r"<\|[a-z_]{2,30}\|>|</?(?:start|end)_of_turn>|<｜[^｜<>]{2,30}｜>", re.IGNORECASE),
    ),
    (
        "template-leak",
        "warning",
        re.compile(
            r"\[/?INST\]|<</?SYS>>|^#{2,3} ?(?:Response|Instruction|Input|Human|Assistant|User):"
            r"|^(?:Human|Assistant|USER|ASSISTANT): ",
            re.MULTILINE,
        ),
    ),
    (
        "boilerplate",
        "warning",
        re.compile(
            r"\bas an? (?:AI|artificial intelligence)(?: language)? (?:model|assistant)\b"
            r"|\bas a large language model\b|\bmy (?:knowledge cutoff|training data)\b",
            re.IGNORECASE,
        ),
    ),
    (
        "placeholder",
        "warning",
        re.compile(
            r"\{\{ ?\w[\w .]{0,30} ?\}\}|\{[A-Za-z_]\w{0,30}\}"
            r"|\[(?:insert|your|name of|placeholder)\b[^\]\n]{0,40}\]|<(?:insert|your)[ _][^>\n]{1,40}>",
            re.IGNORECASE,
        ),
    ),
)


def check_markers(records: Iterable[Record]) -> Iterator[Finding]:
    """One finding of a kind for each row, naming the first marker."""
    for record in records:
        text = "\n".join(record.texts)
        for kind, severity, pattern in _KINDS:
            if found := pattern.search(text):
                yield Finding(kind, severity, record.domain, record.where, repr(found.group().strip()))
