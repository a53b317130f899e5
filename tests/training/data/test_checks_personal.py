"""Personal data, its checksums, and numbers that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_training.data.checks.personal import check_personal, is_iban, is_luhn
from crma_training.data.checks.record import Record


def found(text: str) -> list[str]:
    findings = list(check_personal([Record("medical", "train", "f:1", "q", ("q", text))]))
    assert {(f.kind, f.severity) for f in findings} <= {("personal", "warning")}
    return [finding.detail for finding in findings]


@pytest.mark.parametrize(
    ("text", "kind", "secret"),
    [
        ("write to jane.doe@hospital.org please", "e-mail address", "jane.doe@hospital.org"),
        ("card 4111 1111 1111 1111", "card number", "4111 1111 1111 1111"),
        ("card 378282246310005.", "card number", "378282246310005"),
        ("pay to DE89 3704 0044 0532 0130 00 now", "IBAN", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432", "IBAN", "GB82WEST12345698765432"),
        ("SSN 123-45-6789", "US social security number", "123-45-6789"),
        ("call +49 30 1234567", "phone number", "+49 30 1234567"),
        ("call (212) 736-5000", "phone number", "(212) 736-5000"),
        ("from 93.184.216.34", "IP address", "93.184.216.34"),
        ("from 2606:2800:220:1:248:1893:25c8:1946", "IP address", "2606:2800:220:1:248:1893:25c8:1946"),
    ],
)
def test_personal_data_is_found_and_masked(text: str, kind: str, secret: str) -> None:
    (detail,) = found(text)
    assert detail == f"{kind} {secret[:2]}… ({len(secret)} characters)"


@pytest.mark.parametrize(
    "text",
    [
        "someone@example.com",
        "user@host",
        "@decorator.method(x)",
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "DE89 3704 0044 0532 0130 01",
        "000-12-3456 and 666-12-3456",
        "EC 3.2.1.50",
        "127.0.0.1 and 192.168.10.20",
        "Python 3.11.4",
        "1234567890123456789012345",
        "at 12:30:45",
        "std::vector::size",
        "pi is 3.14159265358979",
        "in 1995-2004",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert found(text) == []


def check_digit(digits: str) -> str:
    return next(d for d in "0123456789" if is_luhn(digits + d))


@given(st.from_regex(r"4[0-9]{14}", fullmatch=True), st.integers(0, 15), st.integers(1, 9))
def test_luhn_holds_for_one_check_digit_and_no_single_slip(digits: str, position: int, slip: int) -> None:
    card = digits + check_digit(digits)
    assert found(f"card {card}.") == [f"card number {card[:2]}… (16 characters)"]
    wrong = str((int(card[position]) + slip) % 10)
    assert not is_luhn(card[:position] + wrong + card[position + 1 :])


@given(st.from_regex(r"[0-9]{18}", fullmatch=True), st.integers(1, 96))
def test_an_iban_has_one_pair_of_check_digits(account: str, other: int) -> None:
    check = 98 - int(account + "131400") % 97  # DE00 moved to the end, letters as 13 and 14
    assert is_iban(f"DE{check:02}{account}")
    assert not is_iban(f"DE{(check - 2 + other) % 97 + 2:02}{account}")
