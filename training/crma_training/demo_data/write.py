"""Writing the built data: JSON Lines and a manifest, beside the target and renamed."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from crma_adapters.errors import DataError
from crma_training.demo_data.packages import Package
from crma_training.demo_data.rows import Query, Row
from crma_training.demo_data.sides import OUT_OF_DOMAIN, DemoQueries
from crma_training.demo_data.split import DomainRows

MANIFEST = "manifest.json"
BUILDER = "crma-train demo-data"


@dataclass(frozen=True)
class DemoData:
    """Everything that is written."""

    domains: Mapping[str, DomainRows]
    queries: DemoQueries
    packages: tuple[Package, ...]


def check_target(target: Path) -> None:
    """Raises DataError unless `target` is free, empty or an earlier build of this builder."""
    if target.is_file():
        raise DataError(f"{target} is a file, expected a folder or nothing; give another folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    try:
        builder = json.loads((target / MANIFEST).read_text(encoding="utf-8")).get("builder")
    except (OSError, ValueError, AttributeError):
        builder = None
    if builder != BUILDER:
        raise DataError(
            f"{target} is not empty and not an earlier demo-data folder; give an empty or a new folder"
        )


def write(data: DemoData, target: Path) -> dict[str, dict[str, int]]:
    """Writes `data` to `target`, replacing an earlier build whole; gives rows by domain and file."""
    check_target(target)
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            beside = Path(scratch) / "new"
            beside.mkdir()
            counts = {name: _write_domain(beside / name, files) for name, files in _files(data).items()}
            _write_manifest(beside, data, counts)
            if target.exists():
                target.rename(Path(scratch) / "old")
            beside.rename(target)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}; free or change the path") from error
    return counts


def _files(data: DemoData) -> dict[str, dict[str, Sequence[Row | Query]]]:
    files: dict[str, dict[str, Sequence[Row | Query]]] = {}
    for name, rows in data.domains.items():
        files[name] = {"train": rows.train, "holdout": rows.holdout, "short_answer": rows.short_answer}
    for name, queries in data.queries.routed.items():
        files.setdefault(name, {}).update(router_train=queries.train, router_eval=queries.evaluation)
    files.setdefault(OUT_OF_DOMAIN, {}).update(near=data.queries.near, far=data.queries.far)
    return files


def _write_domain(folder: Path, files: Mapping[str, Sequence[Row | Query]]) -> dict[str, int]:
    folder.mkdir()
    for name, rows in files.items():
        lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    return {name: len(rows) for name, rows in files.items()}


def _write_manifest(folder: Path, data: DemoData, counts: dict[str, dict[str, int]]) -> None:
    domains = {}
    for name, files in _files(data).items():
        rows = [row for group in files.values() for row in group]
        domains[name] = {
            "counts": counts[name],
            "sources": sorted({row.source for row in rows}),
            "licences": sorted({row.licence for row in rows}),
        }
    packages = [
        {
            "name": package.name,
            "version": package.version,
            "archive": package.archive,
            "sha256": package.sha256,
            "licence": package.content_licence,
            "reads": package.reads,
        }
        for package in data.packages
    ]
    manifest = {"format": 1, "builder": BUILDER, "domains": domains, "packages": packages}
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8", newline="\n")
