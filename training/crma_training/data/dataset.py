"""A dataset folder: which domains it has, their training and holdout rows, and the router's questions.

Owns: the two folder forms (`DIR/<domain>/train.jsonl` ... and the short `DIR/<domain>.jsonl`), the split of
the short form, the order of domains, the refusal of leaks. Knows nothing of tokens or models.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import DataError
from crma_adapters.store.names import check_domain_name
from crma_training.data.rows import Row, read_questions, read_rows

OUT_OF_DOMAIN = "out_of_domain"
FORMS = "<domain>.jsonl, or <domain>/train.jsonl and <domain>/holdout.jsonl"
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
    """The domains to train, in order, and questions that belong to none. `sha256` is over all of it."""

    domains: tuple[DomainData, ...]
    out_of_domain: tuple[str, ...]
    sha256: str


def load_dataset(directory: Path, names: Sequence[str] | None = None) -> Dataset:
    """Reads the named domains, or all in the manifest's order (alphabetical without a manifest).

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
    domains = tuple(load_domain(directory, name) for name in chosen)
    elsewhere = _router_questions(directory / OUT_OF_DOMAIN)
    return Dataset(domains, elsewhere, _digest(domains, elsewhere))


def domain_names(directory: Path) -> tuple[str, ...]:
    """The domains of a dataset folder, in training order. Raises `DataError` if there are none."""
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder; expected one with {FORMS}")
    folders = {path.parent.name for path in directory.glob("*/train.jsonl")}
    files = {path.stem for path in directory.glob("*.jsonl")}
    found = (folders | files) - {OUT_OF_DOMAIN}
    if not found:
        raise DataError(f"{directory}: no domains; expected {FORMS}")
    listed = _listed(directory / "manifest.json")
    if missing := [name for name in listed if name not in found]:
        raise DataError(f"{directory}: manifest.json lists {', '.join(missing)}, which is not there")
    return (*listed, *sorted(found - set(listed)))


def load_domain(directory: Path, name: str) -> DomainData:
    """Reads one domain in either form. Raises as `load_dataset`."""
    check_domain_name(name)
    folder = directory / name
    if not (folder / "train.jsonl").is_file():
        path = directory / f"{name}.jsonl"
        return DomainData(name, *split_rows(read_rows(path), path), ())
    train, holdout = read_rows(folder / "train.jsonl"), read_rows(folder / "holdout.jsonl")
    _refuse_leak(train, holdout)
    return DomainData(name, train, holdout, _router_questions(folder))


def _listed(manifest: Path) -> tuple[str, ...]:
    if not manifest.is_file():
        return ()
    try:
        listed = tuple(json.loads(manifest.read_bytes())["domains"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: not a dataset manifest; expected {{'domains': {{...}}}}") from error
    return tuple(name for name in listed if name != OUT_OF_DOMAIN)


def _router_questions(folder: Path) -> tuple[str, ...]:
    path = folder / "router_train.jsonl"
    return read_questions(path) if path.is_file() else ()


def _refuse_leak(train: tuple[Row, ...], holdout: tuple[Row, ...]) -> None:
    trained = {row.key: row.where for row in train}
    for row in holdout:
        if row.key in trained:
            raise DataError(
                f"{row.where}: this holdout question is also trained on ({trained[row.key]}); remove one"
            )


def split_rows(rows: tuple[Row, ...], path: Path) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Splits a short-form file by question: no question stands on both sides; the order is by hash."""
    keys = sorted({row.key for row in rows}, key=lambda key: hashlib.sha256(key.encode()).digest())
    if len(keys) < 2:
        raise DataError(f"{path}: one distinct question; at least two are needed, one is held out")
    held = set(keys[: max(1, len(keys) // HOLDOUT_SHARE)])
    return tuple(r for r in rows if r.key not in held), tuple(r for r in rows if r.key in held)


def _digest(domains: Sequence[DomainData], elsewhere: tuple[str, ...]) -> str:
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
