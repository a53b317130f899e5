"""A dataset folder: its domains with train, validation and holdout rows, and the router's questions.

Two forms: `DIR/<domain>/train.jsonl` ... and the short `DIR/<domain>.jsonl`; any of the suffixes that
`sources` reads. A manifest may name a source elsewhere: a file, or a data set of the hub.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crma_adapters.errors import DataError
from crma_adapters.store.names import check_domain_name
from crma_training.data.rows import Row
from crma_training.data.sources import SUFFIXES, Raw, read_file, read_hub, read_questions, rows_of
from crma_training.data.split import HOLDOUT_SHARE, ValidationSplit, split_rows, validation_rows

OUT_OF_DOMAIN = "out_of_domain"
MANIFEST = "manifest.json"
FORMS = "<domain>.jsonl, or <domain>/train.jsonl and <domain>/holdout.jsonl"
ALIASES = {"holdout": "test"}  # the hub's name for it
NO_DOMAINS = frozenset({"manifest", "dataset_info", "dataset_infos", "dataset_dict", "state"})


@dataclass(frozen=True)
class DomainData:
    """One domain's rows; `router_questions` are real user questions without answers, possibly none.

    `validation` is what choices are made on (early stopping, refreshing), possibly empty; `holdout` only
    measures.
    """

    name: str
    train: tuple[Row, ...]
    holdout: tuple[Row, ...]
    router_questions: tuple[str, ...]
    validation: tuple[Row, ...] = ()

    @property
    def questions(self) -> list[str]:
        """What the router learns this domain from.

        Conversations that end in one and the same turn ("Go on.") are told apart by all their user turns.
        """
        prompts: dict[str, set[str]] = {}
        for row in self.train:
            prompts.setdefault(row.question, set()).add(row.key)
        asked = [row.question if len(prompts[row.question]) == 1 else row.asked for row in self.train]
        return asked + list(self.router_questions)


@dataclass(frozen=True)
class Dataset:
    """The domains to train, in order, and questions that belong to none. `sha256` is over all of it."""

    domains: tuple[DomainData, ...]
    out_of_domain: tuple[str, ...]
    sha256: str


def load_dataset(
    directory: Path,
    names: Sequence[str] | None = None,
    *,
    validation_share: float = 0.0,
    validation_split: ValidationSplit = "phrasings",
    columns: Mapping[str, str] | None = None,
    refuse_leaks: bool = True,
) -> Dataset:
    """Reads the named domains, or all in the manifest's order (alphabetical without a manifest).

    `validation_share` and what follows it are as in `load_domain`.

    Raises:
        DataError: no such folder, no domains, unknown domain, bad row, or a question in train and holdout.
        StoreError: a name that no domain may bear.
    """
    existing = domain_names(directory)
    chosen = tuple(names) if names is not None else existing
    unknown = [name for name in chosen if name not in existing]
    if unknown:
        raise DataError(f"{directory}: unknown domain {', '.join(unknown)}; it has {', '.join(existing)}")
    if len(set(chosen)) != len(chosen):
        raise DataError(f"--domains names one twice: {','.join(chosen)}; name each once")
    domains = tuple(
        load_domain(
            directory,
            name,
            validation_share,
            columns,
            validation_split=validation_split,
            refuse_leaks=refuse_leaks,
        )
        for name in chosen
    )
    elsewhere = _router_questions(directory / OUT_OF_DOMAIN)
    return Dataset(domains, elsewhere, _digest(domains, elsewhere))


def domain_names(directory: Path) -> tuple[str, ...]:
    """The domains of a dataset folder, in training order. Raises `DataError` if there are none."""
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder; expected one with {FORMS}")
    folders = {path.name for path in directory.iterdir() if path.is_dir() and part_files(path, "train")}
    files = {path.stem for path in directory.iterdir() if path.is_file() and path.suffix in SUFFIXES}
    listed = _listed(directory)
    named = {name for name, entry in listed.items() if "source" in entry}
    found = (folders | files | named) - {OUT_OF_DOMAIN} - NO_DOMAINS
    if not found:
        raise DataError(f"{directory}: no domains; expected {FORMS}")
    if missing := [name for name in listed if name not in found]:
        raise DataError(f"{directory}: manifest.json lists {', '.join(missing)}, which is not there")
    return (*listed, *sorted(found - set(listed)))


def load_domain(
    directory: Path,
    name: str,
    validation_share: float = 0.0,
    columns: Mapping[str, str] | None = None,
    *,
    validation_split: ValidationSplit = "phrasings",
    refuse_leaks: bool = True,
) -> DomainData:
    """Reads one domain in either form. Raises as `load_dataset`.

    Without a `validation.jsonl`, `validation_share` of the training rows become the validation rows (0:
    none), taken by `validation_rows`. `columns` gives the names that the files' fields have instead of ours.
    With `refuse_leaks` a question of one part that also stands in another is refused.
    """
    check_domain_name(name)
    source = domain_source(directory, name)
    folder, columns = directory / name, {**(columns or {}), **source.columns}
    parts = {part: rows_of(source.read(part), source.label(part), columns) for part in source.parts}
    if len(source.parts) == 1:
        train, holdout = split_rows(parts["train"], HOLDOUT_SHARE, source.label("train"))
    else:
        train, holdout = parts["train"], parts["holdout"]
    validation = parts.get("validation", ())
    if not validation and validation_share > 0:
        label = f"{directory}: the training rows of {name}"
        train, validation = validation_rows(train, validation_share, validation_split, label)
    if refuse_leaks:
        _refuse_leaks(train, validation, holdout)
    return DomainData(name, train, holdout, _router_questions(folder), validation)


@dataclass(frozen=True)
class DomainSource:
    """Where a domain's rows are read: files by part, or a data set of the hub.

    A domain of one part is split; one of several brings its own holdout.
    """

    parts: Mapping[str, tuple[Path, ...]]
    hub: str = ""
    config: str | None = None
    split: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    def read(self, part: str) -> Iterator[Raw]:
        """The part's objects, one source after another."""
        if self.hub:
            yield from read_hub(self.hub, self.config, self.split)
        for path in self.parts[part]:
            yield from read_file(path)

    def label(self, part: str) -> str:
        """The part's first file, or the data set, for errors."""
        return f"{self.hub}[{self.split}]" if self.hub else str(self.parts[part][0])


def domain_source(directory: Path, name: str) -> DomainSource:
    """Where a domain's rows are, by the manifest or by the names of the files."""
    entry = _listed(directory).get(name, {})
    if "source" in entry:
        return _named_source(directory, name, entry)
    folder = directory / name
    parts = {part: part_files(folder, part) for part in ("train", "validation", "holdout")}
    if not parts["train"]:
        files = [directory / f"{name}{suffix}" for suffix in SUFFIXES]
        return DomainSource({"train": (next((path for path in files if path.is_file()), files[0]),)})
    expected = {"train": (folder / "train.jsonl",), "holdout": (folder / "holdout.jsonl",)}
    return DomainSource(
        {part: files or expected[part] for part, files in parts.items() if files or part in expected}
    )


def _named_source(directory: Path, name: str, entry: Mapping[str, Any]) -> DomainSource:
    source, columns = str(entry["source"]), entry.get("columns", {})
    if not isinstance(columns, dict):
        raise DataError(f"{directory / MANIFEST}: columns of {name} must be an object, ours to theirs")
    path = directory / source
    if path.suffix in SUFFIXES:
        return DomainSource({"train": (path,)}, columns=columns)
    split = str(entry.get("split", "train"))
    return DomainSource({"train": ()}, source, entry.get("config"), split, columns)


def part_files(folder: Path, part: str) -> tuple[Path, ...]:
    """The files of a part (`train`, `holdout` ...): one of any suffix, or Parquet shards; possibly none."""
    for stem in filter(None, (part, ALIASES.get(part))):
        whole = next((p for s in SUFFIXES if (p := folder / f"{stem}{s}").is_file()), None)
        if whole is not None:
            return (whole,)
        if shards := tuple(sorted(folder.glob(f"{stem}-*.parquet"))):
            return shards
    return ()


def _listed(directory: Path) -> dict[str, dict[str, Any]]:
    """The manifest's domains in order, each with what is said of it."""
    path = directory / MANIFEST
    if not path.is_file():
        return {}
    try:
        domains = json.loads(path.read_bytes())["domains"]
        listed = {str(name): dict(domains[name] if isinstance(domains, dict) else {}) for name in domains}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a dataset manifest; expected {{'domains': {{...}}}}") from error
    return {name: entry for name, entry in listed.items() if name != OUT_OF_DOMAIN}


def _router_questions(folder: Path) -> tuple[str, ...]:
    path = folder / "router_train.jsonl"
    return read_questions(path) if path.is_file() else ()


def _refuse_leaks(train: Sequence[Row], validation: Sequence[Row], holdout: Sequence[Row]) -> None:
    used = {row.key: f"also trained on ({row.where})" for row in train}
    for part, rows in (("validation", validation), ("holdout", holdout)):
        for row in rows:
            if row.key in used:
                raise DataError(f"{row.where}: this {part} question is {used[row.key]}; remove one")
        used |= {row.key: f"also used for validation ({row.where})" for row in rows}


def _digest(domains: Sequence[DomainData], elsewhere: tuple[str, ...]) -> str:
    """sha256 hex over what was read; file names and line numbers do not count."""
    content = hashlib.sha256()
    for domain in sorted(domains, key=lambda item: item.name):
        parts = [
            [_content(row) for row in rows] for rows in (domain.train, domain.holdout, domain.validation)
        ]
        if not domain.validation:
            del parts[2]  # a digest that runs without validation rows had before there were any
        content.update(json.dumps([domain.name, parts, domain.router_questions]).encode())
    content.update(json.dumps(elsewhere).encode())
    return content.hexdigest()


def _content(row: Row) -> list[Any]:
    """What a row says; what it says beyond plain turns is added only where it is."""
    turns = [(m.role, m.content) for m in row.messages]
    beyond = [(m.weight, m.tool_calls, m.name, m.tool_call_id, m.reasoning) for m in row.messages]
    more = [beyond, row.tools] if row.tools or set(beyond) != {(1, "", "", "", "")} else []
    return [*turns, row.source, row.licence, *more]
