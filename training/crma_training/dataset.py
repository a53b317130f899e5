"""A dataset folder: which domains it has, their training and holdout rows, and the router's questions.

Owns: the two folder forms (`DIR/<domain>/train.jsonl` ... and the short `DIR/<domain>.jsonl`), the split of the short
form, the order of domains, the refusal of leaks. Knows nothing of tokens or models.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import DataError
from crma_training.rows import Row, read_questions, read_rows

OUT_OF_DOMAIN = "out_of_domain"
HOLDOUT_SHARE = 10  # one of ten questions of a short-form file is held out


@dataclass(frozen=True)
class DomainData:
    """One domain's rows; `router_questions` are real user questions without answers, possibly none."""

    name: str
    train: tuple[Row, ...]
    holdout: tuple[Row, ...]
    router_questions: tuple[str, ...]

    @property
    def questions(self) -> list[str]:
        """What the router learns this domain from."""
        return [row.question for row in self.train] + list(self.router_questions)


@dataclass(frozen=True)
class Dataset:
    """The domains to train in order, the other domains at hand, and questions that belong to none."""

    domains: tuple[DomainData, ...]
    others: tuple[DomainData, ...]
    out_of_domain: tuple[str, ...]
    sha256: str


def load_dataset(directory: Path, names: Sequence[str] | None = None) -> Dataset:
    """Reads the named domains, or all in the manifest's order (alphabetical without a manifest).

    Raises:
        DataError: no such folder, no domains, an unknown domain, a bad row, or a question in train and holdout.
    """
    if not directory.is_dir():
        raise DataError(
            f"{directory}: no such folder; --data wants DIR/<domain>.jsonl or DIR/<domain>/train.jsonl"
        )
    existing = _domain_names(directory)
    chosen = tuple(names) if names is not None else existing
    unknown = [name for name in chosen if name not in existing]
    if unknown or len(set(chosen)) != len(chosen):
        given = f"unknown domain {', '.join(unknown)}" if unknown else f"a domain twice in {','.join(chosen)}"
        raise DataError(f"{directory}: {given}; it has {', '.join(existing)}")
    every = {name: _load_domain(directory, name) for name in existing}
    elsewhere = _router_questions(directory / OUT_OF_DOMAIN)
    return Dataset(
        domains=tuple(every[name] for name in chosen),
        others=tuple(domain for name, domain in every.items() if name not in chosen),
        out_of_domain=elsewhere,
        sha256=_digest(list(every.values()), elsewhere),
    )


def _domain_names(directory: Path) -> tuple[str, ...]:
    folders = {path.parent.name for path in directory.glob("*/train.jsonl")}
    files = {path.stem for path in directory.glob("*.jsonl")}
    found = (folders | files) - {OUT_OF_DOMAIN}
    if not found:
        raise DataError(f"{directory}: no domains; expected DIR/<domain>.jsonl or DIR/<domain>/train.jsonl")
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        return tuple(sorted(found))
    try:
        listed = [name for name in json.loads(manifest.read_bytes())["domains"] if name in found]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: not a dataset manifest; expected {{'domains': {{...}}}}") from error
    return (*listed, *sorted(found - set(listed)))


def _load_domain(directory: Path, name: str) -> DomainData:
    folder = directory / name
    if (folder / "train.jsonl").is_file():
        train, holdout = read_rows(folder / "train.jsonl"), read_rows(folder / "holdout.jsonl")
        _refuse_leak(train, holdout)
        return DomainData(name, train, holdout, _router_questions(folder))
    train, holdout = _split(read_rows(directory / f"{name}.jsonl"), directory / f"{name}.jsonl")
    return DomainData(name, train, holdout, ())


def _router_questions(folder: Path) -> tuple[str, ...]:
    path = folder / "router_train.jsonl"
    return read_questions(path) if path.is_file() else ()


def _refuse_leak(train: tuple[Row, ...], holdout: tuple[Row, ...]) -> None:
    trained = {row.key: row.where for row in train}
    for row in holdout:
        if row.key in trained:
            raise DataError(
                f"{row.where}: this holdout question is also trained on ({trained[row.key]}); remove one of the two"
            )


def _split(rows: tuple[Row, ...], path: Path) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Splits by question, in the order of the questions' hashes, so that other rows do not move one across."""
    keys = sorted({row.key for row in rows}, key=lambda key: hashlib.sha256(key.encode()).digest())
    if len(keys) < 2:
        raise DataError(f"{path}: one distinct question; at least two are needed, one is held out")
    held = set(keys[: max(1, len(keys) // HOLDOUT_SHARE)])
    return tuple(r for r in rows if r.key not in held), tuple(r for r in rows if r.key in held)


def _digest(domains: list[DomainData], elsewhere: tuple[str, ...]) -> str:
    """sha256 hex over what was read; file names and line numbers do not count."""
    content = hashlib.sha256()
    for domain in sorted(domains, key=lambda item: item.name):
        parts = [
            [[(m.role, m.content) for m in row.messages] + [row.source, row.licence] for row in rows]
            for rows in (domain.train, domain.holdout)
        ]
        content.update(json.dumps([domain.name, parts, domain.router_questions]).encode())
    content.update(json.dumps(elsewhere).encode())
    return content.hexdigest()
