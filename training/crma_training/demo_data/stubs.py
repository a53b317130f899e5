"""The Python standard library as its stubs tell it: names, calls and docstrings."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import PYTHON_STUBS

_STUBS = "basedpyright/dist/typeshed-fallback/stdlib/"
# fmt: off
_MODULES = (
    "array", "binascii", "builtins", "bz2", "cmath", "collections", "collections.abc", "contextvars", "csv",
    "datetime", "decimal", "fractions", "functools", "gc", "heapq", "io", "ipaddress", "itertools", "math",
    "operator", "os", "pathlib", "queue", "random", "re", "signal", "sqlite3", "statistics", "struct", "sys",
    "threading", "time", "typing", "unicodedata", "weakref", "zlib", "zoneinfo", "codecs", "json", "bisect",
)
# Where a public module only re-exports, its docstrings lie in the accelerator.
_ACCELERATED = (
    "bisect", "heapq", "operator", "struct", "socket", "csv", "random", "asyncio", "queue", "codecs", "stat",
)
# fmt: on
_ACCELERATORS = {f"_{name}": name for name in _ACCELERATED} | {"_thread": "threading"}
# Machinery that few programs touch, and twins of what is described elsewhere.
_OBSCURE = ("decimal.Context.", "stat.S_IS", "sys._", "sys.set_", "operator.i", "bytearray.")


@dataclass(frozen=True)
class Documented:
    """A function, method, attribute or class; `call` is how it is written in code."""

    name: str
    call: str
    doc: str
    callable: bool


def read_stubs(archives: Archives) -> list[Documented]:
    """Every documented public name of the common modules, each name and each docstring once."""
    return unique(item for module, stub in _sources(archives) for item in read_stub(module, stub))


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


def unique(documented: Iterable[Documented]) -> list[Documented]:
    """The first of every name, and of every docstring: twins can't be told apart by what they do."""
    found: dict[str, Documented] = {}
    texts: set[str] = set()
    for item in documented:
        text = " ".join(item.doc.split())
        if item.name not in found and text not in texts:
            found[item.name] = item
            texts.add(text)
    return list(found.values())


def _sources(archives: Archives) -> Iterator[tuple[str, str]]:
    names = set(archives.names(PYTHON_STUBS))
    for module in sorted([*_MODULES, *_ACCELERATORS]):
        path = _STUBS + module.replace(".", "/")
        member = f"{path}.pyi" if f"{path}.pyi" in names else f"{path}/__init__.pyi"
        yield _ACCELERATORS.get(module, module), archives.read(PYTHON_STUBS, member).decode("utf-8")


def _definitions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node
        elif isinstance(node, ast.If):  # names behind a test of version or platform
            yield from _definitions(node.body)
            yield from _definitions(node.orelse)


def _documented(node: ast.FunctionDef | ast.ClassDef, prefix: str) -> list[Documented]:
    doc, name = ast.get_docstring(node), prefix + node.name
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
    names = [argument.arg for argument in [*taken.posonlyargs, *taken.args]]
    if names and names[0] in ("self", "cls", "metacls"):
        names = names[1:]
    names += [f"*{taken.vararg.arg}"] if taken.vararg else []
    names += [f"{argument.arg}=..." for argument in taken.kwonlyargs]
    return f"({', '.join(name.removeprefix('__') for name in names)})"
