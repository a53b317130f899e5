"""Code entries: the Python standard library by its docstrings, and terms of computing."""

import re

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import PYTHON_STUBS, WORDNET
from crma_training.demo_data.rows import DomainEntries, Entry
from crma_training.demo_data.sentence import sentences, whole
from crma_training.demo_data.stubs import Documented, read_stubs
from crma_training.demo_data.wordnet import Synset

MAX_CALL = 70  # characters of a call in an answer
MAX_NAME = 30  # characters of a name that is asked for
_IMPERATIVE = re.compile(
    r"(Return|Create|Remove|Convert|Compute|Find|Insert|Append|Add|Split|Join|Replace|Test|Check|Determine|Read|"
    r"Write|Open|Close|Send|Get|Set|Make|Change|Rename|Delete|Sort|Reverse|Encode|Decode|Compress|Decompress|Format|"
    r"Count|Extract|Search|Copy|Round|Calculate|List|Run|Start|Wait|Load|Parse|Move|Rotate|Generate|Divide|Multiply|"
    r"Swap|Pop|Push|Update|Clear|Release|Acquire|Register|Evaluate|Execute|Flush|Shuffle|Choose|Truncate|Receive|"
    r"Connect|Bind|Iterate|Construct|Increment|Schedule|Cancel|Block|Unpack|Pack|Locate|Enable|Disable)\b"
)
_MARKUP = re.compile(r">>>|``|!|::|\[,|--|\* |\|")
_SIGNATURE = re.compile(r"->|^\s*[\w.]+\(.*\)\s*(--|:)?\s*$")


def read_code(archives: Archives, synsets: list[Synset]) -> DomainEntries:
    """What a name does and terms of computing as prose; which name does it as facts."""
    documented = read_stubs(archives)
    told = [entry for item in documented for entry in _told(item)]
    named = [entry for item in documented for entry in _named(item)]
    return DomainEntries(prose=told + computing_terms(synsets), facts=named)


def computing_terms(synsets: list[Synset]) -> list[Entry]:
    """Synsets of computer science; the field is said where the word alone is ambiguous."""
    found: list[Entry] = []
    for synset in synsets:
        if "computer_science" in synset.topics or synset.label == "computer science":
            kind = "computing_word" if synset.senses > 1 else "computing_term"
            entry = f"wordnet-3.0:n{synset.offset}"
            licence = WORDNET.content_licence
            found.append(Entry(kind, synset.words[0], synset.definition, WORDNET.source, entry, licence))
    return found


def summary(item: Documented) -> str | None:
    """The docstring's first paragraph, without a leading signature; None if it doesn't read as a sentence."""
    paragraphs = [paragraph for paragraph in item.doc.split("\n\n") if paragraph.strip()]
    lines = paragraphs[0].splitlines()
    while lines and _SIGNATURE.search(lines[0]):
        lines = lines[1:]
    text = "\n".join(lines).strip() or (paragraphs[1] if len(paragraphs) > 1 else "")
    answer = None if _MARKUP.search(text) else whole(text, max_words=34)
    odd = answer is None or answer.endswith(":.") or re.match(r"Raise|\w+: ", answer)
    return None if odd else answer


def task(answer: str) -> str | None:
    """`Return the arc tangent of y/x.` as `return the arc tangent of y/x`; None if it is nothing to do."""
    first = sentences(answer)[0]
    if not _IMPERATIVE.match(first) or not 4 <= len(first.split()) <= 16 or re.search(r"\bself\b|`", first):
        return None
    return first[0].lower() + first[1:].rstrip(".")


def _told(item: Documented) -> list[Entry]:
    answer = summary(item)
    if answer is None:
        return []
    told = [_entry("python_name", item.name, answer, item)]
    todo = task(answer)
    if todo and item.callable and len(item.call) <= MAX_CALL:
        told.append(_entry("python_howto", todo, f"Use `{item.call}`: {answer[0].lower()}{answer[1:]}", item))
    return told


def _named(item: Documented) -> list[Entry]:
    answer = summary(item)
    todo = task(answer) if answer else None
    if not todo or not item.callable or len(item.name) > MAX_NAME:
        return []
    return [_entry("python_which", todo, item.name, item)]


def _entry(kind: str, topic: str, answer: str, item: Documented) -> Entry:
    where = f"python:{item.name}"
    return Entry(kind, topic, answer, PYTHON_STUBS.source, where, PYTHON_STUBS.content_licence)
