"""Personal data: addresses and the numbers of phones, cards, accounts and people.

Sources: Luhn (ISO/IEC 7812-1, annex B), IBAN (ISO 13616, mod 97 of ISO 7064), United States social security
numbers that were never issued (ssa.gov), addresses reserved for examples (RFC 2606, RFC 5737).
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator

from crma_training.data.checks.finding import Finding, masked
from crma_training.data.checks.record import Record

_RESERVED_HOST = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|org|net))?|test|invalid)$", re.IGNORECASE)
_MAIL = re.compile(r"\b[\w.+-]{1,64}@(?:[a-z\d-]{1,63}\.){1,8}[a-z]{2,24}\b", re.IGNORECASE)
_CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d.-]\d|\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z\d]{4}){2,7}(?: ?[A-Z\d]{1,4})?\b")
_SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\d-])")
_PHONE = re.compile(
    r"(?<![\w+])(?:\+\d[\d ().-]{7,18}\d|\(\d{3}\) ?\d{3}-\d{4}|\d{3}[-.]\d{3}[-.]\d{4})(?![\w-])"
)
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[\da-f]{1,4}(?::[\da-f]{0,4}){2,7})(?![\w:]|\.\d)", re.IGNORECASE
)


def is_luhn(text: str) -> bool:
    """Whether a card number's check digit holds; its length and first digit must be such as cards have."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    valid = (sum(doubled) + sum(digits[-1::-2])) % 10 == 0
    return valid and 13 <= len(digits) <= 19 and digits[0] in (2, 3, 4, 5, 6) and len(set(digits)) > 1


def is_iban(text: str) -> bool:
    """Whether an account number's check digits hold."""
    bare = "".join(text.split()).upper()
    if not (15 <= len(bare) <= 34 and bare.isalnum() and bare.isascii()):
        return False
    return int("".join(str(int(character, 36)) for character in bare[4:] + bare[:4])) % 97 == 1


def _is_address(text: str) -> bool:
    """A public address; enzyme classes and versions ("3.2.1.50") have single digits in most places."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    long = sum(len(part) > 1 for part in text.split(".")) > 1
    return address.is_global and (address.version == 6 or long)


def _is_mail(text: str) -> bool:
    return _RESERVED_HOST.search(text.rpartition("@")[2]) is None


def _is_phone(text: str) -> bool:
    return 9 <= sum(character.isdigit() for character in text) <= 15


_KINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("e-mail address", _MAIL, _is_mail),
    ("card number", _CARD, is_luhn),
    ("IBAN", _IBAN, is_iban),
    ("US social security number", _SOCIAL_SECURITY, lambda _text: True),
    ("phone number", _PHONE, _is_phone),
    ("IP address", _ADDRESS, _is_address),
)
_MAY_HOLD_ANY = re.compile(r"@|\d.*\d.*\d.*\d|:[\da-fA-F]*:", re.DOTALL)


def check_personal(records: Iterable[Record]) -> Iterator[Finding]:
    """One finding for each kind of personal data in a row."""
    for record in records:
        text = "\n".join(record.texts)
        if not _MAY_HOLD_ANY.search(text):
            continue
        for kind, pattern, holds in _KINDS:
            found = next((match.group() for match in pattern.finditer(text) if holds(match.group())), None)
            if found is not None:
                yield Finding("personal", "warning", record.domain, record.where, f"{kind} {masked(found)}")
