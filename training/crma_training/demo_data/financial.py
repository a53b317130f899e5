"""Financial entries: terms of money, assets and markets, and currencies.

Owns: what is taken from WordNet and ISO 4217. Does not know how it is asked.
"""

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
    found: list[Entry] = []
    seen: set[str] = set()
    for row in ET.fromstring(table).iter("CcyNtry"):
        code, number, name = row.findtext("Ccy"), row.findtext("CcyNbr"), row.findtext("CcyNm", "")
        country = country_name(row.findtext("CtryNm", ""))
        if not code or not number or code in seen or country is None or name in ("Euro", "US Dollar"):
            continue
        seen.add(code)
        where = f"ISO4217:{code}"
        found += [
            Entry("currency_code", country, code, CURRENCIES.source, where, CURRENCIES.content_licence),
            Entry("currency_number", name, number, CURRENCIES.source, where, CURRENCIES.content_licence),
            Entry("currency_name", country, name, CURRENCIES.source, where, CURRENCIES.content_licence),
        ]
    return found


def country_name(listed: str) -> str | None:
    """`BAHAMAS (THE)` as `the Bahamas`; None for what is no country."""
    if not listed or _NO_COUNTRY.search(listed):
        return None
    article = "the " if "(THE)" in listed else ""
    bare = re.sub(r"\s*\(.*?\)", "", listed).strip()
    small = {"And": "and", "Of": "of", "The": "the", "Da": "da"}
    return article + " ".join(small.get(word, word) for word in bare.title().replace("’S", "’s").split())
