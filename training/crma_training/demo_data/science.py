"""Science entries: terms of the natural sciences and the chemical elements."""

import re
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import ELEMENTS, WORDNET
from crma_training.demo_data.rows import DomainEntries, Entry
from crma_training.demo_data.sentence import whole
from crma_training.demo_data.wordnet import Synset

_TOPICS = frozenset(
    [
        "physics",
        "chemistry",
        "biology",
        "genetics",
        "astronomy",
        "geology",
        "botany",
        "biochemistry",
        "optics",
        "cosmology",
        "meteorology",
        "thermodynamics",
        "crystallography",
        "zoology",
        "ecology",
        "paleontology",
        "mechanics",
        "acoustics",
        "microbiology",
        "embryology",
        "organic_chemistry",
        "nuclear_physics",
        "quantum_mechanics",
        "geometry",
        "electricity",
        "oceanography",
        "electronics",
    ]
)
# The table misspells or doubts who found these.
_DOUBTFUL_DISCOVERERS = frozenset({"Co", "Cd", "Fr", "Lv", "Nb", "Os", "Pt", "Rn", "Ru", "Sr"})
_CUES = (
    "physics",
    "chemistry",
    "biology",
    "genetics",
    "astronomy",
    "geology",
    "botany",
    "biochemistry",
    "meteorology",
)
_COLUMNS = "symbol, name, atomic_number, discovery_year, description, uses, sources, name_origin, discoverers"


@dataclass(frozen=True)
class Element:
    """One row of the table of elements; texts are empty and numbers None where unknown."""

    symbol: str
    name: str
    number: int
    discovery_year: int | None
    description: str
    uses: str
    occurrence: str
    name_origin: str
    discoverers: str


def read_science(archives: Archives, synsets: list[Synset]) -> DomainEntries:
    """Definitions and what is told of elements as prose; numbers, symbols, years and discoverers as facts."""
    elements = read_elements(archives.read(ELEMENTS, "mendeleev/elements.db"))
    return DomainEntries(
        prose=science_terms(synsets) + [entry for element in elements for entry in _told(element)],
        facts=[entry for element in elements for entry in _known(element)],
    )


def science_terms(synsets: list[Synset]) -> list[Entry]:
    """Synsets with a scientific topic; the topic is said where the word alone is ambiguous."""
    found: list[Entry] = []
    for synset in synsets:
        labels = set(re.split(r",? and |, ", synset.label))
        if not (synset.topics & _TOPICS or labels & _TOPICS):
            continue
        field = next((cue for cue in _CUES if cue in synset.topics or cue in labels), "science")
        kind = "science_word" if synset.senses > 1 else "science_term"
        topic = f"{synset.words[0]}|{field}"
        entry = f"wordnet-3.0:n{synset.offset}"
        found.append(Entry(kind, topic, synset.definition, WORDNET.source, entry, WORDNET.content_licence))
    return found


def read_elements(database: bytes) -> list[Element]:
    """The elements in order of atomic number."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "elements.db"
        path.write_bytes(database)
        connection = sqlite3.connect(path)
        try:
            rows = connection.execute(f"select {_COLUMNS} from elements order by atomic_number").fetchall()
        finally:
            connection.close()
    return [
        Element(symbol, name.lower(), number, year, *(text or "" for text in texts))
        for symbol, name, number, year, *texts in rows
    ]


def _told(element: Element) -> list[Entry]:
    texts = {
        "element_what": element.description,
        "element_uses": element.uses,
        "element_occurrence": element.occurrence,
        "element_origin": element.name_origin,
    }
    return [_entry(element, kind, answer) for kind, text in texts.items() if (answer := whole(text))]


def _known(element: Element) -> list[Entry]:
    facts = [_entry(element, "element_number", str(element.number))]
    if element.symbol.lower() != element.name[: len(element.symbol)]:  # else it can be guessed
        facts.append(_entry(element, "element_symbol", element.symbol))
    if element.discovery_year and element.discovery_year > 1500:
        facts.append(_entry(element, "element_year", str(element.discovery_year)))
    single = re.fullmatch(r"[A-Z][A-Za-z.]*(?: [A-Z][A-Za-z.]*){1,3}", element.discoverers)
    if single and element.symbol not in _DOUBTFUL_DISCOVERERS:
        facts.append(_entry(element, "element_discoverer", element.discoverers))
    return facts


def _entry(element: Element, kind: str, answer: str) -> Entry:
    where = f"element:{element.symbol}"
    return Entry(kind, element.name, answer, ELEMENTS.source, where, ELEMENTS.content_licence)
