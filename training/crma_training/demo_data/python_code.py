"""Code entries: the Python standard library by its docstrings, and terms of computing.

Owns: what is taken from typeshed stubs with docstrings and WordNet. Does not know how it is asked.
The stubs come from a pinned package, so that the running Python's own docstrings don't matter.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import PYTHON_STUBS, WORDNET
from crma_training.demo_data.rows import DomainEntries, Entry
from crma_training.demo_data.sentence import sentences, whole
from crma_training.demo_data.wordnet import Synset

_STUBS = "basedpyright/dist/typeshed-fallback/stdlib/"
_MODULES = [
    "array",
    "binascii",
    "builtins",
    "bz2",
    "cmath",
    "collections",
    "collections.abc",
    "contextvars",
    "csv",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "gc",
    "heapq",
    "importlib.metadata",
    "io",
    "ipaddress",
    "itertools",
    "math",
    "multiprocessing.process",
    "multiprocessing.shared_memory",
    "numbers",
    "operator",
    "os",
    "pathlib",
    "queue",
    "random",
    "re",
    "signal",
    "sqlite3",
    "statistics",
    "struct",
    "sys",
    "threading",
    "time",
    "types",
    "typing",
    "unicodedata",
    "weakref",
    "xml.dom.minidom",
    "zlib",
    "zoneinfo",
    "codecs",
    "ssl",
    "json",
    "bisect",
]
# Where a public module only re-exports, its docstrings lie in the accelerator.
_ACCELERATORS = {
    "_bisect": "bisect",
    "_heapq": "heapq",
    "_operator": "operator",
    "_struct": "struct",
    "_socket": "socket",
    "_csv": "csv",
    "_random": "random",
    "_asyncio": "asyncio",
    "_queue": "queue",
    "_codecs": "codecs",
    "_stat": "stat",
    "_thread": "threading",
}
# Machinery that few programs touch, and twins of methods that are described elsewhere.
_OBSCURE = ("decimal.Context.", "stat.S_IS", "sys._", "sys.set_", "types.", "operator.i", "ssl.", "bytearray.")
MAX_CALL = 70  # characters of a call in an answer
MAX_NAME = 30  # characters of a name that is asked for
_IMPERATIVE = re.compile(
    r"(Return|Create|Remove|Convert|Compute|Find|Insert|Append|Add|Split|Join|Replace|Test|Check|Determine|Read|Write|"
    r"Open|Close|Send|Get|Set|Make|Change|Rename|Delete|Sort|Reverse|Encode|Decode|Compress|Decompress|Format|Count|"
    r"Extract|Search|Copy|Round|Calculate|List|Run|Start|Wait|Load|Parse|Move|Rotate|Generate|Divide|Multiply|Swap|Pop|"
    r"Push|Update|Clear|Release|Acquire|Register|Evaluate|Execute|Raise|Flush|Shuffle|Choose|Truncate|Receive|Connect|"
    r"Bind|Iterate|Construct|Increment|Schedule|Cancel|Block|Unpack|Pack|Locate|Enable|Disable)\b"
)


@dataclass(frozen=True)
class Documented:
    """A function, method or class of the standard library; `call` is how it is written."""

    name: str
    call: str
    doc: str
    callable: bool


def read_code(archives: Archives, synsets: list[Synset]) -> DomainEntries:
    """What a name does and terms of computing as prose; which name does it as facts."""
    documented = unique(item for module, stub in _stubs(archives) for item in read_stub(module, stub))
    prose = [entry for item in documented for entry in _told(item)]
    return DomainEntries(prose=prose + computing_terms(synsets), facts=_named(documented))


def _stubs(archives: Archives) -> Iterator[tuple[str, str]]:
    names = set(archives.names(PYTHON_STUBS))
    for module in sorted([*_MODULES, *_ACCELERATORS]):
        path = _STUBS + module.replace(".", "/")
        member = f"{path}.pyi" if f"{path}.pyi" in names else f"{path}/__init__.pyi"
        if member in names:
            yield _ACCELERATORS.get(module, module), archives.read(PYTHON_STUBS, member).decode("utf-8")


def read_stub(module: str, stub: str) -> list[Documented]:
    """Public names of one stub that carry a docstring; nested only one class deep."""
    found: list[Documented] = []
    prefix = "" if module == "builtins" else f"{module}."
    for node in _definitions(ast.parse(stub).body):
        found += _documented(node, prefix)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in _definitions(node.body):
                found += _documented(method, f"{prefix}{node.name}.")
    return found


def _definitions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node
        elif isinstance(node, ast.If):  # names behind a test of version or platform
            yield from _definitions(node.body)
            yield from _definitions(node.orelse)


def _documented(node: ast.FunctionDef | ast.ClassDef, prefix: str) -> list[Documented]:
    doc = ast.get_docstring(node)
    name = prefix + node.name
    if not doc or node.name.startswith("_") or name.startswith(_OBSCURE):
        return []
    if isinstance(node, ast.ClassDef) or _is_attribute(node):
        return [Documented(name, name, doc, callable=False)]
    return [Documented(name, name + _parameters(node), doc, callable=True)]


def _is_attribute(node: ast.FunctionDef) -> bool:
    """Whether a decorator makes an attribute of the function: `@property`, `@name.setter`."""
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    return any(mark.endswith(("property", ".setter", ".deleter")) for mark in marks)


def _parameters(node: ast.FunctionDef) -> str:
    """Parameter names as a caller writes them: `(iterable, key=...)`."""
    taken = node.args
    names = [
        argument.arg for argument in [*taken.posonlyargs, *taken.args] if argument.arg not in ("self", "cls")
    ]
    names += [f"*{taken.vararg.arg}"] if taken.vararg else []
    names += [f"{argument.arg}=..." for argument in taken.kwonlyargs]
    return f"({', '.join(name.removeprefix('__') for name in names)})"


def unique(documented: Iterator[Documented]) -> list[Documented]:
    """The first of every name, and of every docstring: twins can't be told apart by what they do."""
    found: dict[str, Documented] = {}
    texts: set[str] = set()
    for item in documented:
        text = " ".join(item.doc.split())
        if item.name not in found and text not in texts:
            found[item.name] = item
            texts.add(text)
    return list(found.values())


def _told(item: Documented) -> list[Entry]:
    answer = _clean(item)
    if answer is None:
        return []
    entry = f"python:{item.name}"
    licence = PYTHON_STUBS.content_licence
    told = [Entry("python_name", item.name, answer, PYTHON_STUBS.source, entry, licence)]
    if item.callable and len(item.call) <= MAX_CALL and (task := _task(answer)):
        call = f"Use `{item.call}`: {answer[0].lower()}{answer[1:]}"
        told.append(Entry("python_howto", task, call, PYTHON_STUBS.source, entry, licence))
    return told


def _named(documented: list[Documented]) -> list[Entry]:
    found: list[Entry] = []
    for item in documented:
        answer = _clean(item)
        task = _task(answer) if answer and item.callable and len(item.name) <= MAX_NAME else None
        if task:
            where = f"python:{item.name}"
            licence = PYTHON_STUBS.content_licence
            found.append(Entry("python_which", task, item.name, PYTHON_STUBS.source, where, licence))
    return found


def _clean(item: Documented) -> str | None:
    """The docstring's first paragraph, without a leading signature or doctest."""
    paragraphs = [paragraph for paragraph in item.doc.split("\n\n") if paragraph.strip()]
    lines = paragraphs[0].splitlines()
    while lines and ("->" in lines[0] or re.match(r"\s*[\w.]+\(.*\)\s*(--|:)?\s*$", lines[0])):
        lines = lines[1:]
    text = "\n".join(lines).strip() or (paragraphs[1] if len(paragraphs) > 1 else "")
    if re.search(r">>>|::|\[,|--|\* |\|", text):
        return None
    answer = whole(text, max_words=34)
    return answer if answer and not answer.endswith(":.") else None


def _task(answer: str) -> str | None:
    """`Return the arc tangent of y/x.` as `return the arc tangent of y/x`, where it reads as something to do."""
    first = sentences(answer)[0]
    if not _IMPERATIVE.match(first) or not 4 <= len(first.split()) <= 16 or re.search(r"\bself\b|`", first):
        return None
    return first[0].lower() + first[1:].rstrip(".")


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
