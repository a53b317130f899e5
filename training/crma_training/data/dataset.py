"""A dataset folder: its domains with train, validation and holdout rows, and the router's questions.

Two forms: `DIR/<domain>/train.jsonl` ... and the short `DIR/<domain>.jsonl`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crma_adapters.errors import DataError
from crma_adapters.store.names import check_domain_name
from crma_training.data.rows import Row, read_questions, read_rows
from crma_training.data.split import HOLDOUT_SHARE, split_rows

OUT_OF_DOMAIN = "out_of_domain"
FORMS = "<domain>.jsonl, or <domain>/train.jsonl and <domain>/holdout.jsonl"


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
        """What the router learns this domain from."""
        return [row.question for row in self.train] + list(self.router_questions)


@dataclass(frozen=True)
class Dataset:
    """The domains to train, in order, and questions that belong to none. `sha256` is over all of it."""

    domains: tuple[DomainData, ...]
    out_of_domain: tuple[str, ...]
    sha256: str


def load_dataset(
    directory: Path, names: Sequence[str] | None = None, *, validation_share: float = 0.0
) -> Dataset:
    """Reads the named domains, or all in the manifest's order (alphabetical without a manifest).

    `validation_share` is as in `load_domain`.

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
    domains = tuple(load_domain(directory, name, validation_share) for name in chosen)
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


def load_domain(directory: Path, name: str, validation_share: float = 0.0) -> DomainData:
    """Reads one domain in either form. Raises as `load_dataset`.

    Without a `validation.jsonl`, `validation_share` of the training questions become the validation rows
    (0: none).
    """
    check_domain_name(name)
    folder = directory / name
    if (folder / "train.jsonl").is_file():
        train, holdout = read_rows(folder / "train.jsonl"), read_rows(folder / "holdout.jsonl")
        questions = _router_questions(folder)
    else:
        path = directory / f"{name}.jsonl"
        train, holdout = split_rows(read_rows(path), HOLDOUT_SHARE, path)
        questions = ()
    validation: tuple[Row, ...] = ()
    if (folder / "validation.jsonl").is_file():
        validation = read_rows(folder / "validation.jsonl")
    elif validation_share > 0:
        train, validation = split_rows(train, validation_share, f"{directory}: the training rows of {name}")
    _refuse_leaks(train, validation, holdout)
    return DomainData(name, train, holdout, questions, validation)


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
            [[(m.role, m.content) for m in row.messages] + [row.source, row.licence] for row in rows]
            for rows in (domain.train, domain.holdout, domain.validation)
        ]
        if not domain.validation:
            del parts[2]  # a digest that runs without validation rows had before there were any
        content.update(json.dumps([domain.name, parts, domain.router_questions]).encode())
    content.update(json.dumps(elsewhere).encode())
    return content.hexdigest()
