"""Financial entries: terms of money, assets and markets, and currencies."""

import re
import xml.etree.ElementTree as ET

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import CURRENCIES, WORDNET
from crma_training.demo_data.rows import DomainEntries, Entry
from crma_training.demo_data.wordnet import Synset

_POSSESSION = "21"  # WordNet's lexicographer file noun.possession
_TOPICS = frozenset(
    {
        "finance",
        "economics",
        "accounting",
        "stock_exchange",
        "stock_market",
        "banking",
        "commerce",
        "corporate_finance",
    }
)
_MONEY = re.compile(
    r"\b(money|banks?|accounts?|pay|payments?|paid|tax(es)?|prices?|stocks?|bonds?|loans?|debts?|currency|funds?|costs?|"
    r"fees?|interest|insurance|invest\w*|income|capital|assets?|securit(y|ies)|shares?|credit|salary|wages?|profits?|"
    r"earnings?|financial|market|mortgage|dividends?|broker\w*|trad(e|ing)|bills?|owed?|monetary|sum|charge[ds]?)\b"
)
_NOT_FINANCE = re.compile(
    r"\b(gambl\w+|insignificant|exorbitant|trifling|poker|church|feudal|slang|will|law|cards?|deceased|stolen|cattle|treasure)\b"
)
_NO_COUNTRY = re.compile(r"ZZ\d|FUND|BANK|SISTEMA|ARAB|MEMBER|INTERNATIONAL|EUROPEAN UNION|ANTARCTICA")


def read_financial(archives: Archives, synsets: list[Synset]) -> DomainEntries:
    """Definitions as prose; currencies, their codes and countries as facts."""
    return DomainEntries(
        prose=financial_terms(synsets),
        facts=currencies(archives.read(CURRENCIES, "iso4217/table.xml")),
    )


def financial_terms(synsets: list[Synset]) -> list[Entry]:
    """Synsets about money: by file, topic or label, with a gloss that says so."""
    found: list[Entry] = []
    for synset in synsets:
        topical = bool(synset.topics & _TOPICS) or synset.label in (
            "economics",
            "finance",
            "accounting",
            "stock market",
        )
        monetary = len(_MONEY.findall(synset.definition)) >= 1
        if not topical and not (synset.file == _POSSESSION and monetary):
            continue
        if _NOT_FINANCE.search(synset.definition) or synset.label == "law" or "law" in synset.topics:
            continue
        kind = "financial_word" if synset.senses > 1 else "financial_term"
        entry = f"wordnet-3.0:n{synset.offset}"
        licence = WORDNET.content_licence
        found.append(Entry(kind, synset.words[0], synset.definition, WORDNET.source, entry, licence))
    return found


def currencies(table: bytes) -> list[Entry]:
    """Per currency: its code by country, its numeric code, and the currency of a country."""
    rows: dict[str, list[ET.Element]] = {}
    for row in ET.fromstring(table).iter("CcyNtry"):
        name = row.find("CcyNm")
        fund = name is None or name.get("IsFund") or "(" in (name.text or "")
        if not fund and country_name(row.findtext("CtryNm", "")) and row.findtext("CcyNbr"):
            rows.setdefault(row.findtext("Ccy", ""), []).append(row)
    shared = ("EUR", "USD")  # used in too many countries for one to stand for them
    return [
        entry
        for code, group in sorted(rows.items())
        if code not in shared
        for entry in _currency(code, group)
    ]


def _currency(code: str, rows: list[ET.Element]) -> list[Entry]:
    """Entries of one currency, by the country that gives the code its letters where there is one."""
    row = next((row for row in rows if row.findtext("CtryNm", "")[0] == code[0]), rows[0])
    country, name = country_name(row.findtext("CtryNm", "")) or "", row.findtext("CcyNm", "")
    where, licence = f"ISO4217:{code}", CURRENCIES.content_licence
    return [
        Entry("currency_code", country, code, CURRENCIES.source, where, licence),
        Entry("currency_number", name, row.findtext("CcyNbr", ""), CURRENCIES.source, where, licence),
        Entry("currency_name", country, name, CURRENCIES.source, where, licence),
    ]


def country_name(listed: str) -> str | None:
    """`BAHAMAS (THE)` as `the Bahamas`; None for what is no country."""
    if not listed or _NO_COUNTRY.search(listed):
        return None
    article = "the " if "(THE)" in listed else ""
    bare = re.sub(r"\s*\(.*?\)", "", listed).strip()
    small = {"And": "and", "Of": "of", "The": "the", "Da": "da"}
    return article + " ".join(small.get(word, word) for word in bare.title().replace("’S", "’s").split())
