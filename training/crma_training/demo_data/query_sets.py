"""Sets of queries as they lie in their packages: BEIR topics, Natural Questions, small talk."""

import gzip
import re
import zipfile
from collections.abc import Iterable
from importlib.resources import files

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import CHAT, QUERIES
from crma_training.demo_data.rows import Query
from crma_training.demo_data.sentence import one_line

BEIR = QUERIES.source

_JAR = "pyserini/resources/jars/anserini-0.21.0-fatjar.jar"
_TOPICS = "topics-and-qrels/topics.beir-v1.0.0-{}.test.tsv.gz"
_OTHER_TOPICS = {"nq-dev": "topics-and-qrels/topics.dpr.nq.dev.txt"}  # question, tab, answers
_MIRACL = "topics-and-qrels/topics.miracl-v1.0-{}-dev.tsv"  # number, tab, question
_MIRACL_LICENCE = "Apache-2.0 (MIRACL)"
_CHATS = ("greetings", "conversations", "emotion", "food", "gossip", "sports", "botprofile")


def read_query_sets(archives: Archives, names: Iterable[str]) -> dict[str, list[Query]]:
    """Queries by set: a BEIR set by its name, `nq-dev`, `miracl-<language>`, `chat` and `small talk`."""
    found: dict[str, list[Query]] = {}
    with archives.nested(QUERIES, _JAR) as jar:
        for name in sorted(set(names)):
            if name == "chat":
                found[name] = [query for corpus in _CHATS for query in _chat(archives, corpus)]
            elif name == "small talk":
                found[name] = small_talk()
            elif name.startswith("miracl-"):
                found[name] = _miracl(jar, name)
            else:
                found[name] = _other(jar, name) if name in _OTHER_TOPICS else _beir(jar, name)
    return found


def small_talk() -> list[Query]:
    """What people say first to an assistant: a list of our own, beside this module."""
    said = enumerate(_lines("small_talk"))
    return [Query(line, "crma", f"small-talk:{number}", "Apache-2.0") for number, line in said]


def asked() -> dict[str, list[Query]]:
    """What people ask of each domain: a list of our own, beside this module."""
    return _own("asked")


def asked_to_fit() -> dict[str, list[Query]]:
    """More of that, and questions of fields of none (`out_of_domain`), written to be fitted on."""
    return _own("asked_to_fit")


def _own(name: str) -> dict[str, list[Query]]:
    found: dict[str, list[Query]] = {}
    domain = ""
    for line in _lines(name):
        if line.startswith("["):
            domain = line.strip("[]")
        else:
            own = found.setdefault(domain, [])
            own.append(Query(line, "crma", f"{name}:{domain}:{len(own)}", "Apache-2.0"))
    return found


def misjudged() -> frozenset[str]:
    """Questions that topics.toml gives a wrong label, as two readers found: a list beside this module."""
    return frozenset(_lines("misjudged"))


def _lines(name: str) -> list[str]:
    """Of the list beside this module, without comments."""
    lines = files(__package__).joinpath(f"{name}.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _beir(jar: zipfile.ZipFile, name: str) -> list[Query]:
    lines = gzip.decompress(jar.read(_TOPICS.format(name))).decode("utf-8").splitlines()
    cells = (line.partition("\t") for line in lines)
    return _queries(name, ((identifier, text) for identifier, _, text in cells))


def _other(jar: zipfile.ZipFile, name: str) -> list[Query]:
    lines = jar.read(_OTHER_TOPICS[name]).decode("utf-8").splitlines()
    texts = (line.partition("\t")[0].replace(" 's", "'s") for line in lines)
    return _queries(name, ((str(number), text) for number, text in enumerate(texts)))


def _miracl(jar: zipfile.ZipFile, name: str) -> list[Query]:
    lines = jar.read(_MIRACL.format(name.removeprefix("miracl-"))).decode("utf-8").splitlines()
    cells = (line.partition("\t") for line in lines)
    return [
        Query(one_line(text), f"{BEIR}:{name}", identifier, _MIRACL_LICENCE)
        for identifier, _, text in cells
        if text
    ]


def _queries(name: str, texts: Iterable[tuple[str, str]]) -> list[Query]:
    """Those of a question's length that hold no LaTeX."""
    cleaned = ((identifier, one_line(text)) for identifier, text in texts)
    return [
        Query(text, f"{BEIR}:{name}", identifier, QUERIES.content_licence)
        for identifier, text in cleaned
        if 4 <= len(text) <= 200 and "$" not in re.sub(r"\$\d", "", text)
    ]


def _chat(archives: Archives, name: str) -> list[Query]:
    text = archives.read(CHAT, f"chatterbot_corpus/data/english/{name}.yml").decode("utf-8")
    source = f"{CHAT.source}:{name}"
    utterances = [said.capitalize() if said.isupper() else said for said in opening_lines(text)]
    return [Query(said, source, f"{name}:{i}", CHAT.content_licence) for i, said in enumerate(utterances)]


def opening_lines(text: str) -> list[str]:
    """The first utterance of every conversation of a corpus file; those that span lines are left out."""
    lines = text.splitlines()
    found: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("- - ") and (following.startswith("  - ") or following.startswith("- - ")):
            said = line[4:].strip().strip("'\"").replace("''", "'")
            if said and said not in found:
                found.append(said)
    return found
