"""Real questions that no router was fitted on, in six languages, kept as places in published packages."""

import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from crma_adapters.errors import DataError
from crma_adapters.models.cache import cache_dir
from crma_training.demo_data.fetch import Archives, fetch
from crma_training.demo_data.packages import QUERIES, Package

EVALS = Package(
    "evals",
    "3.0.1.post1",
    "evals-3.0.1.post1-py3-none-any.whl",
    "0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
    "MIT (package)",
    "sets of prompts by task",
)

_JAR = "pyserini/resources/jars/anserini-0.21.0-fatjar.jar"
_FOLDER = "topics-and-qrels/topics."
_SEVERAL = {
    "msmarco": ("msmarco-passage.dev-subset.txt", "msmarco-passage.test-subset.txt"),
    "mq": ("mq.1-10000.txt", "mq.10001-20000.txt", "mq.20001-60000.txt"),
}
_EXAMS = "italian-exams-qa"


def packaged_questions(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Set -> entry -> question, its spaces made single. Fetches the packages once.

    Raises DataError if a package cannot be had or lacks a set.
    """
    wanted = sorted(set(names))
    archives = fetch((QUERIES, EVALS) if _EXAMS in wanted else (QUERIES,), cache_dir("packages"))
    found: dict[str, dict[str, str]] = {}
    with archives.nested(QUERIES, _JAR) as jar:
        for name in wanted:
            pairs = _exams(archives) if name == _EXAMS else _topics(jar, name)
            found[name] = {entry: " ".join(text.split()) for entry, text in pairs}
    return found


def topic_sets() -> list[str]:
    """The BEIR sets of the package, by name."""
    with fetch((QUERIES,), cache_dir("packages")).nested(QUERIES, _JAR) as jar:
        names = (
            re.fullmatch(re.escape(_FOLDER) + r"beir-v1\.0\.0-(.+)\.test\.tsv\.gz", name)
            for name in jar.namelist()
        )
        return sorted(match[1] for match in names if match)


def _topics(jar: zipfile.ZipFile, name: str) -> Iterable[tuple[str, str]]:
    files = _SEVERAL.get(name, (f"beir-v1.0.0-{name}.test.tsv.gz",))
    if name.startswith("miracl-"):
        files = (f"miracl-v1.0-{name.removeprefix('miracl-')}-dev.tsv",)
    for file in files:
        try:
            data = jar.read(_FOLDER + file)
        except KeyError as error:
            raise DataError(
                f"{QUERIES.source} has no set {name!r} ({file}); expected a set of its topics"
            ) from error
        text = (gzip.decompress(data) if file.endswith(".gz") else data).decode("utf-8", "replace")
        for line in filter(str.strip, text.splitlines()):
            yield _million_query(line) if name == "mq" else _tabbed(line)


def _tabbed(line: str) -> tuple[str, str]:
    entry, _, question = line.partition("\t")
    return entry, question


def _million_query(line: str) -> tuple[str, str]:
    """Of the Million Query track: number, a priority or none, and the query, between colons."""
    match = re.match(r"(\d+):(?:\d+:)?(.*)", line)
    return (match[1], match[2].strip()) if match else ("", "")


def _exams(archives: Archives) -> Iterable[tuple[str, str]]:
    """The questions without their choices."""
    lines = archives.read(EVALS, f"evals/registry/data/{_EXAMS}/samples.jsonl").decode("utf-8").splitlines()
    for number, line in enumerate(lines):
        yield str(number), json.loads(line)["input"][-1]["content"].split("\nA.")[0]


ENGLISH = "en"


@dataclass(frozen=True)
class FreshQuestion:
    """domain: None if of none. place: where it comes from, for a report that does not quote it."""

    text: str
    domain: str | None
    language: str
    near: bool
    place: str


def fresh_questions() -> list[FreshQuestion]:
    """All of them, by language and domain. Raises DataError where a package has another text."""
    lines = files(__package__).joinpath("fresh.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts = packaged_questions(row["source"] for row in rows if "source" in row)
    return [_question(row, number, texts) for number, row in enumerate(rows, start=1)]


def _question(row: dict[str, str], number: int, texts: Mapping[str, Mapping[str, str]]) -> FreshQuestion:
    if "source" in row:
        place = f"{row['source']}:{row['entry']}"
        text = texts[row["source"]].get(row["entry"], "")
        if hashlib.sha256(text.encode()).hexdigest()[:12] != row["digest"]:
            raise DataError(
                f"fresh.jsonl:{number}: {place} reads {text!r}, which is not what was labelled; "
                "delete the cached package and fetch it again"
            )
    else:
        text, place = row["text"], f"written:{number}"
    return FreshQuestion(text, row["domain"], row["language"], bool(row.get("near")), place)
