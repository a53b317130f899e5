"""Secrets: found by form or by the words around them, shown masked, never sent anywhere."""

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crma_training.data.checks.finding import masked
from crma_training.data.checks.record import Record
from crma_training.data.checks.secrets import check_secrets


def record(text: str, number: int = 1) -> Record:
    return Record("code", "train", f"f:{number}", "q", ("q", text))


# Put together here, so that no scanner takes this file for a leak.
AWS = "AKIA" + "IOSFODNN7ABCDEFG"
GITHUB = "ghp_" + "a1B2c3D4" * 4 + "e5F6"
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "secret", "kind", "severity"),
    [
        (f"export ID={AWS}", AWS, "AWS Access Key", "error"),
        (f"first\n{KEY}\nMIIE", "BEGIN RSA PRIVATE KEY", "Private Key", "error"),
        ("https://" + "bob:hunter22@db.internal/x", "hunter22", "Basic Auth Credentials", "warning"),
        ('password = "correct-horse-9"', "correct-horse-9", "Secret Keyword", "warning"),
    ],
)
def test_secrets_are_found_and_masked(text: str, secret: str, kind: str, severity: str) -> None:
    findings = list(check_secrets([record(text)]))
    assert [(f.kind, f.severity, f.detail) for f in findings] == [
        ("secret", severity, f"{kind} {masked(secret)}")
    ]
    assert secret not in findings[0].detail


def test_a_plugin_that_gives_a_prefix_alone_gives_its_name() -> None:
    (finding,) = check_secrets([record(f"use {GITHUB} here")])
    assert (finding.severity, finding.detail) == ("error", "GitHub Token")


def test_one_among_many_rows_is_found_at_its_place() -> None:
    records = [record(f"What does function {number} return?", number) for number in range(300)]
    records[170] = record(f"key {AWS}", 170)
    assert [finding.where for finding in check_secrets(records)] == ["f:170"]


def test_no_issuer_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    stripe, slack = "sk_live_" + "0a1B2c3D4e5F6g7H8i9J0k1L", "xoxb-" + "123456789012-abcdefABCDEF"
    assert len(list(check_secrets([record(f"{AWS} {stripe} {slack}")]))) == 3


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.from_regex(r"[A-Z][a-z]{1,9}( [a-z]{1,9}){2,8}[.?]", fullmatch=True), min_size=1, max_size=9)
)
def test_plain_sentences_hold_no_secret(texts: list[str]) -> None:
    assert list(check_secrets([record(text) for text in texts])) == []


def test_a_short_secret_shows_nothing() -> None:
    assert masked("abc1234") == "… (7 characters)"
    assert masked("abcd1234") == "ab… (8 characters)"
