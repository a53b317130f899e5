"""Legal entries: terms of law, law journals and federal courts by citation."""

import json
import re

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import COURTS, REPORTERS, WORDNET
from crma_training.demo_data.rows import DomainEntries, Entry
from crma_training.demo_data.wordnet import Synset

_TOPICS = frozenset({"law", "criminal_law", "civil_law", "jurisprudence", "common_law", "statute"})
_LEGAL_GLOSS = re.compile(
    r"\b(court|legal|legally|law|lawsuit|judge|jury|plaintiff|defendant|crime|criminal|statut\w+|attorney|"
    r"lawyer|verdict|contract|testif\w+|testimony|offen[sc]e|felony|prosecut\w+|unlawful|will)\b"
)
# acts, communication, possessions, people, groups, relations, states: where law has its words
_FILES = frozenset({"04", "10", "21", "18", "24", "26", "14"})
_OF_LAW = re.compile(
    r"\b(Law|Legal|Laws|Jurisprudence|Justice|Bar|Jurist|Rights|Arbitration|Tax|Legislation)\b"
)
_NOT_LAW = re.compile(
    r"\b(mathemat\w+|physic\w+|scien\w+|natural|bible|biblical|god|rape|sex\w*|prostitut\w*|religio\w+|church)\b",
    re.IGNORECASE,
)


def read_legal(archives: Archives, synsets: list[Synset]) -> DomainEntries:
    """Definitions as prose; what citations stand for as facts."""
    return DomainEntries(
        prose=legal_terms(synsets),
        facts=[
            *journals(json.loads(archives.read(REPORTERS, "reporters_db/data/journals.json"))),
            *federal_courts(json.loads(archives.read(COURTS, "courts_db/data/courts.json"))),
        ],
    )


def legal_terms(synsets: list[Synset]) -> list[Entry]:
    """Synsets whose topic or label is law; a gloss that speaks of courts counts where law has its words."""
    found: list[Entry] = []
    for synset in synsets:
        labelled = bool(synset.topics & _TOPICS) or synset.label == "law"
        spoken = synset.file in _FILES and len(_LEGAL_GLOSS.findall(synset.definition)) >= 2
        if not (labelled or spoken) or _NOT_LAW.search(synset.definition):
            continue
        kind = "legal_word" if synset.senses > 1 or not spoken else "legal_term"
        entry = f"wordnet-3.0:n{synset.offset}"
        licence = WORDNET.content_licence
        found.append(Entry(kind, synset.words[0], synset.definition, WORDNET.source, entry, licence))
    return found


def journals(table: dict[str, list[dict[str, object]]]) -> list[Entry]:
    """Law journals whose abbreviation is not their name."""
    found: list[Entry] = []
    for abbreviation, editions in sorted(table.items()):
        name = str(editions[0]["name"])
        plain = (
            re.fullmatch(r"[A-Za-z'&,. -]+", name) and 2 <= len(name.split()) <= 8 and _OF_LAW.search(name)
        )
        if plain and abbreviation.count(".") >= 2 and "(" not in abbreviation and name != abbreviation:
            found.append(
                _cited("journal_name", abbreviation, name, REPORTERS.source, f"journal:{abbreviation}")
            )
    return found


def federal_courts(table: list[dict[str, object]]) -> list[Entry]:
    """Federal courts and how they are cited."""
    found: list[Entry] = []
    for court in table:
        name, cited = str(court["name"]), str(court["citation_string"])
        wanted = court.get("system") == "federal" and court.get("type") in (
            "trial",
            "bankruptcy",
            "appellate",
        )
        if wanted and cited and len(name.split()) <= 10 and cited != name:
            found.append(_cited("court_citation", name, cited, COURTS.source, f"court:{court['id']}"))
    return found


def _cited(kind: str, topic: str, answer: str, source: str, entry: str) -> Entry:
    return Entry(kind, topic, answer, source, entry, REPORTERS.content_licence)
