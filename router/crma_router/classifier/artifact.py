"""A fitted router on disk: `router.json` and `router.safetensors`, no pickle.

Owns: the two files and every check that a stranger's files need. Knows nothing of embedders or stores.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from safetensors.numpy import load_file, save

from crma_adapters.errors import RouterError, StoreError
from crma_adapters.io.document import parse_document, render_document
from crma_adapters.io.regular_files import read_document
from crma_adapters.io.tensor_file import check_finite
from crma_adapters.store.names import is_domain_name
from crma_router.classifier.document import JudgeDocument, judge_of, numbers_of, tensors_of
from crma_router.classifier.first_reading import FirstReading
from crma_router.classifier.head import FloatArray
from crma_router.classifier.model import FitReport, RouterModel
from crma_router.drift import Usual
from crma_router.policy import Policy

ROUTER_FORMAT = 1
DOCUMENT_NAME = "router.json"
TENSORS_NAME = "router.safetensors"
FIRST = "first."
"""What the names of the first reading's tensors begin with."""


@dataclass(frozen=True, kw_only=True)
class FirstDocument(JudgeDocument):
    """The numbers of the reading of words alone."""

    sure_from: Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class RouterDocument(JudgeDocument):
    """`router.json`: every number that is not in a tensor."""

    embedder: str
    domains: list[str]
    policy: Policy
    report: FitReport
    usual: Usual | None = None
    first: FirstDocument | None = None  # None: the words alone decide nothing


def save_model(model: RouterModel, directory: Path) -> None:
    """Write both files; the same model gives the same bytes."""
    first, tensors = None, tensors_of(model.judge)
    if model.first is not None:
        first = FirstDocument(**vars(numbers_of(model.first.judge)), sure_from=model.first.sure_from)
        tensors |= {FIRST + name: tensor for name, tensor in tensors_of(model.first.judge).items()}
    document = RouterDocument(
        **vars(numbers_of(model.judge)),
        embedder=model.embedder,
        domains=list(model.judge.domains),
        policy=model.policy,
        report=model.report,
        usual=model.usual,
        first=first,
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / TENSORS_NAME).write_bytes(save(tensors))
    (directory / DOCUMENT_NAME).write_bytes(render_document(document, format=ROUTER_FORMAT))


def load_model(directory: Path) -> RouterModel:
    """Read what `save_model` wrote. Raises `RouterError` if anything is missing, damaged or does not fit."""
    try:
        data = read_document(directory / DOCUMENT_NAME)
        document = parse_document(
            RouterDocument, data, str(directory / DOCUMENT_NAME), format_number=ROUTER_FORMAT
        )
        check_finite(directory / TENSORS_NAME)
    except StoreError as error:
        raise RouterError(f"no usable router: {error}; or fit it again") from error
    domains = tuple(document.domains)
    if not domains or len(set(domains)) != len(domains) or not all(map(is_domain_name, domains)):
        raise RouterError(
            f"{directory / DOCUMENT_NAME}: domains {document.domains}; expected distinct names: "
            "fit the router again"
        )
    tensors = load_file(directory / TENSORS_NAME)
    of_first = {name: tensors.pop(name) for name in list(tensors) if name.startswith(FIRST)}
    judge = judge_of(document, domains, tensors, str(directory))
    return RouterModel(
        document.embedder,
        judge,
        document.policy,
        document.report,
        document.usual,
        _first(document.first, domains, of_first, directory),
    )


def _first(
    document: FirstDocument | None, domains: tuple[str, ...], named: Mapping[str, FloatArray], directory: Path
) -> FirstReading | None:
    tensors = {name.removeprefix(FIRST): tensor for name, tensor in named.items()}
    if document is not None:
        judge = judge_of(document, domains, tensors, f"{directory}, first reading")
        return FirstReading(judge, document.sure_from)
    if tensors:
        raise RouterError(
            f"{directory / TENSORS_NAME}: tensors {sorted(named)} of a first reading, of which "
            f"{DOCUMENT_NAME} says nothing: fit the router again"
        )
    return None
