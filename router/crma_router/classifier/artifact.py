"""A fitted router on disk: `router.json` and `router.safetensors`, no pickle, with every check a
stranger's files need."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from safetensors.numpy import load_file, save

from crma_adapters.errors import IncompatibleError, RouterError, StoreError
from crma_adapters.io.document import STRICT, parse_document, parse_json, render_document
from crma_adapters.io.regular_files import read_document
from crma_adapters.io.tensor_file import check_finite
from crma_adapters.store.names import is_domain_name
from crma_router.classifier.domain_classifier import (
    Above0,
    DomainClassifier,
    LinearHead,
    OODDetector,
    TrainingRows,
)
from crma_router.classifier.model import FitReport, RouterModel
from crma_router.drift import ReferenceStats
from crma_router.policy import Policy
from crma_router.roles.role_classifier import HIDDEN, STRUCTURE, RoleClassifier
from crma_router.roles.simulate import ROLES

ROUTER_FORMAT = 3
EARLIER_FORMATS = (1, 2)
DOCUMENT_NAME = "router.json"
TENSORS_NAME = "router.safetensors"

Tensors = Mapping[str, Any]


class EarlierRouterError(RouterError):
    """A router of a release before the form that is read here: it must be fitted again on its examples."""


@dataclass(frozen=True, kw_only=True)
class RouterDocument:
    """`router.json`: everything that is not in a tensor."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    embedder: str
    languages: list[str]
    domains: list[str]
    has_none: bool
    neighbour_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    temperature: Above0
    ood: OODDetector
    policy: Policy
    report: FitReport
    usual: ReferenceStats
    spelling: bool = False


def save_model(model: RouterModel, directory: Path) -> None:
    """Write both files; the same model gives the same bytes."""
    classifier = model.classifier
    document = RouterDocument(
        embedder=model.embedder,
        languages=list(model.languages),
        domains=list(classifier.domains),
        has_none=classifier.head.has_none,
        neighbour_weight=classifier.neighbour_weight,
        temperature=classifier.temperature,
        ood=classifier.ood,
        policy=model.policy,
        report=model.report,
        usual=model.usual,
        spelling=model.spelling,
    )
    rows, roles = classifier.rows, model.roles
    tensors = {
        "weight": classifier.head.weight,
        "bias": classifier.head.bias,
        "rows.packed": rows.packed,
        "rows.labels": rows.labels.astype(np.int32),
        "rows.originals": rows.originals.astype(np.int32),
        "rows.varied": rows.varied.astype(np.uint8),
        "rows.digests": rows.digests,
        "roles.hidden": roles.hidden,
        "roles.hidden_bias": roles.hidden_bias,
        "roles.output": roles.output,
        "roles.output_bias": roles.output_bias,
    }
    directory.mkdir(parents=True, exist_ok=True)
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    (directory / TENSORS_NAME).write_bytes(save(whole))
    (directory / DOCUMENT_NAME).write_bytes(render_document(document, format=ROUTER_FORMAT))


def load_model(directory: Path) -> RouterModel:
    """Read what `save_model` wrote.

    Raises:
        EarlierRouterError: it is sound as far as one can tell, but of an earlier release.
        RouterError: anything is missing, damaged or does not fit.
    """
    document = _read_document(directory)
    domains = tuple(document.domains)
    if not domains or len(set(domains)) != len(domains) or not all(map(is_domain_name, domains)):
        raise RouterError(
            f"{directory / DOCUMENT_NAME}: domains {document.domains}; expected distinct names: "
            "fit the router again"
        )
    tensors = load_file(directory / TENSORS_NAME)
    _check(document, tensors, str(directory))
    rows = TrainingRows(
        tensors["rows.packed"],
        tensors["rows.labels"].astype(np.int64),
        tensors["rows.originals"].astype(np.int64),
        tensors["rows.varied"].astype(bool),
        tensors["rows.digests"],
    )
    head = LinearHead(tensors["weight"], tensors["bias"], document.has_none)
    roles = RoleClassifier(*(tensors[f"roles.{name}"] for name in _ROLE_TENSORS))
    classifier = DomainClassifier(
        domains, head, rows, document.neighbour_weight, document.temperature, document.ood
    )
    return RouterModel(
        document.embedder,
        tuple(document.languages),
        classifier,
        roles,
        document.policy,
        document.report,
        document.usual,
        document.spelling,
    )


def is_earlier(directory: Path) -> bool:
    """Whether the router there is of an earlier release, which `load_model` refuses and `upgrade` fits
    again."""
    try:
        _read_document(directory)
    except EarlierRouterError:
        return True
    except RouterError:
        return False
    return False


_ROLE_TENSORS = ("hidden", "hidden_bias", "output", "output_bias")


def _read_document(directory: Path) -> RouterDocument:
    path = directory / DOCUMENT_NAME
    try:
        data = read_document(path)
        given = parse_json(data, str(path))
        if isinstance(given, dict) and given.get("format") in EARLIER_FORMATS:
            raise EarlierRouterError(
                f"the router in {directory} is of an earlier release (form {given['format']}, embedder "
                f"{given.get('embedder')!r}), and form {ROUTER_FORMAT} is read here: `crma-route "
                f"--adapters DIR "
                "upgrade` fits it again on its examples, `crma-train router --data DATA --adapters DIR` "
                "on a dataset"
            )
        document = parse_document(RouterDocument, data, str(path), format_number=ROUTER_FORMAT)
        check_finite(directory / TENSORS_NAME)
    except (StoreError, IncompatibleError) as error:
        raise RouterError(f"no usable router: {error}; or fit it again") from error
    return document


def _check(document: RouterDocument, tensors: Tensors, where: str) -> None:
    """Refuse numbers that contradict each other, and tensors whose names, types or shapes do not fit them."""
    if (document.ood.log_odds is not None) != document.has_none or not (
        document.ood.log_odds or document.ood.unlikeness
    ):
        raise RouterError(
            f"{where}: has_none is {document.has_none}, ood contradicts it: fit the router again"
        )
    given = {name: (str(tensor.dtype), tensor.shape) for name, tensor in sorted(tensors.items())}
    expected = _expected(document, tensors)
    if given != expected:
        raise RouterError(f"{where}: tensors {given}, expected {expected}: fit the router again")
    labels, classes = tensors["rows.labels"], len(document.domains) + document.has_none
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes or tensors["rows.originals"].min() < 0:
        raise RouterError(f"{where}: rows.labels are not 0 to {classes - 1}: fit the router again")


def _expected(document: RouterDocument, tensors: Tensors) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor; their free sizes are those of `rows.packed`."""
    packed = tensors.get("rows.packed")
    count, size = packed.shape if packed is not None and packed.ndim == 2 else (0, 0)
    classes, inputs = len(document.domains) + document.has_none, 2 * size + STRUCTURE
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "weight": ("float32", (classes, size)),
        "bias": ("float32", (classes,)),
        "rows.packed": ("int8", (count, size)),
        "rows.labels": ("int32", (count,)),
        "rows.originals": ("int32", (count,)),
        "rows.varied": ("uint8", (count,)),
        "rows.digests": ("int64", (count,)),
        "roles.hidden": ("float32", (HIDDEN, inputs)),
        "roles.hidden_bias": ("float32", (HIDDEN,)),
        "roles.output": ("float32", (len(ROLES), HIDDEN)),
        "roles.output_bias": ("float32", (len(ROLES),)),
    }
    return dict(sorted(shapes.items()))
