"""Real queries for the router: by domain, and out of every domain.

Owns: BEIR and small-talk files, and which words make a query a domain's. Does not know the router.
"""

import gzip
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import CHAT, QUERIES
from crma_training.demo_data.rows import Query, shuffled
from crma_training.demo_data.sentence import normalised, one_line
from crma_training.demo_data.topics import read_topics

_JAR = "pyserini/resources/jars/anserini-0.21.0-fatjar.jar"
_TOPICS = "topics-and-qrels/topics.beir-v1.0.0-{}.test.tsv.gz"
# Sets that are a domain's, whole or where a query names something of it: bioasq and nfcorpus are of molecular
# biology and groceries too, the exchanges for programmers and physicists of careers and books.
_WHOLE = {"medical": ("trec-covid",), "financial": ("fiqa",), "code": ("cqadupstack-unix",)}
_WHERE_NAMED = {
    "medical": ("bioasq", "nfcorpus"),
    "code": ("cqadupstack-programmers",),
    "science": ("cqadupstack-physics",),
}
_GENERAL = ("quora", "nq")
_CHATS = ("greetings", "conversations", "emotion", "food", "gossip", "sports", "botprofile")


@dataclass(frozen=True)
class RouterSizes:
    """At most this many queries: of a domain, and out of domain; for training and as many for evaluation."""

    domain: int = 600
    out_of_domain: int = 1500


@dataclass(frozen=True)
class RouterQueries:
    """The two halves; no query is in both."""

    train: list[Query]
    evaluation: list[Query]


def read_queries(archives: Archives, sizes: RouterSizes) -> dict[str, RouterQueries]:
    """Queries by domain, and those of none under `out_of_domain`."""
    topics = read_topics()
    with archives.nested(QUERIES, _JAR) as jar:
        names = {name for group in [*_WHOLE.values(), *_WHERE_NAMED.values(), _GENERAL] for name in group}
        read = {name: _beir(jar, name) for name in sorted(names)}
    sets = {name: [query for query in read[name] if not topics.unfit(query.question)] for name in read}
    general = [query for name in _GENERAL for query in sets[name]]
    found: dict[str, RouterQueries] = {}
    for domain in topics.strong:
        queries = [query for name in _WHOLE.get(domain, ()) for query in sets[name]]
        named = [query for name in _WHERE_NAMED.get(domain, ()) for query in sets[name]]
        queries += [query for query in named if topics.touches(domain, query.question)]
        queries += [query for query in general if topics.speaks_of(query.question) == domain]
        found[domain] = halves(queries, sizes.domain, domain)
    talk = [query for name in _CHATS for query in _chat(archives, name) if not topics.unfit(query.question)]
    general = [query for query in general if topics.everyday(query.question)]
    found["out_of_domain"] = _out_of_domain(general, [*talk, *small_talk()], sizes.out_of_domain)
    return found


def small_talk() -> list[Query]:
    """What people say first to an assistant: a list of our own, beside this module."""
    lines = files(__package__).joinpath("small_talk.txt").read_text("utf-8").splitlines()
    return [Query(said, "crma", f"small-talk:{number}", "Apache-2.0") for number, said in enumerate(lines)]


def halves(queries: Iterable[Query], size: int, salt: str) -> RouterQueries:
    """Distinct queries, shuffled, cut in two equal halves of at most `size`."""
    distinct = {normalised(query.question): query for query in queries}
    mixed = shuffled(distinct.values(), lambda query: query.source + query.entry, salt)
    half = min(size, len(mixed) // 2)
    return RouterQueries(mixed[:half], mixed[half : 2 * half])


def _out_of_domain(general: list[Query], talk: list[Query], size: int) -> RouterQueries:
    """Small talk whole, then general queries up to `size`."""
    small = halves(talk, size, "small talk")
    rest = halves(general, size - len(small.train), "out of domain")
    return RouterQueries(small.train + rest.train, small.evaluation + rest.evaluation)


def _beir(jar: zipfile.ZipFile, name: str) -> list[Query]:
    lines = gzip.decompress(jar.read(_TOPICS.format(name))).decode("utf-8").splitlines()
    source = f"{QUERIES.source}:{name}"
    found: list[Query] = []
    for line in lines:
        identifier, _, text = line.partition("\t")
        question = one_line(text)
        if 4 <= len(question) <= 200 and "$" not in re.sub(r"\$\d", "", question):  # no LaTeX
            found.append(Query(question, source, identifier, QUERIES.content_licence))
    return found


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
