"""A fitted router on disk: `router.json` and `router.safetensors`, no pickle.

Owns: the two files and every check that a stranger's files need. Knows nothing of embedders or stores.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field
from safetensors.numpy import load_file, save

from crma_adapters.document import STRICT, Finite, parse_document, render_document
from crma_adapters.errors import RouterError, StoreError
from crma_adapters.names import is_domain_name
from crma_adapters.regular_files import read_document
from crma_adapters.tensor_file import check_finite
from crma_router.linear import FloatArray, LinearHead, Prototypes
from crma_router.mahalanobis import Mahalanobis
from crma_router.model import FitReport, Judge, RouterModel
from crma_router.outside import Above0, Outside, Standard, Unlikeness
from crma_router.policy import Policy
from crma_router.usual import Usual

ROUTER_FORMAT = 1
DOCUMENT_NAME = "router.json"
TENSORS_NAME = "router.safetensors"


@dataclass(frozen=True)
class RouterDocument:
    """`router.json`: every number that is not in a tensor."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    embedder: str
    domains: list[str]
    has_outside: bool
    temperature: Above0
    precision: Above0 | None
    far: Standard | None
    log_odds: Standard | None
    ood_threshold: Finite
    policy: Policy
    report: FitReport
    usual: Usual | None = None
    sharpness: Above0 | None = None  # None: no prototypes
    prototype_counts: list[Annotated[int, Field(ge=1)]] | None = None
    nearest: Above0 | None = None  # None: fitted before the nearest one counted


def save_model(model: RouterModel, directory: Path) -> None:
    """Write both files; the same model gives the same bytes."""
    outside, head = model.judge.outside, model.judge.head
    unlikeness, prototypes = outside.unlikeness, head.prototypes
    document = RouterDocument(
        embedder=model.embedder,
        domains=list(model.judge.domains),
        has_outside=head.has_outside,
        temperature=head.temperature,
        precision=unlikeness.mahalanobis.precision if unlikeness else None,
        far=unlikeness.usual if unlikeness else None,
        log_odds=outside.log_odds,
        ood_threshold=outside.threshold,
        policy=model.policy,
        report=model.report,
        usual=model.usual,
        sharpness=None if prototypes is None else prototypes.sharpness,
        prototype_counts=list(prototypes.counts) if prototypes and prototypes.nearest else None,
        nearest=prototypes.nearest if prototypes and prototypes.nearest else None,
    )
    tensors = {"weight": head.weight, "bias": head.bias}
    if unlikeness is not None:
        tensors |= {
            "means": unlikeness.mahalanobis.means,
            "directions": unlikeness.mahalanobis.directions,
        }
    if prototypes is not None:
        tensors["prototypes"] = prototypes.centres.astype(np.float16)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / TENSORS_NAME).write_bytes(save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))
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
    tensors = load_file(directory / TENSORS_NAME)
    _check(document, tensors, directory)
    head = LinearHead(
        tensors["weight"],
        tensors["bias"],
        document.temperature,
        document.has_outside,
        _prototypes(document, tensors),
    )
    outside = Outside(_unlikeness(document, tensors), document.log_odds, document.ood_threshold)
    judge = Judge(tuple(document.domains), head, outside)
    return RouterModel(document.embedder, judge, document.policy, document.report, document.usual)


def _prototypes(document: RouterDocument, tensors: dict[str, FloatArray]) -> Prototypes | None:
    if document.sharpness is None:
        return None
    counts = tuple(document.prototype_counts or ())
    return Prototypes(
        tensors["prototypes"].astype(np.float32), document.sharpness, counts, document.nearest or 0.0
    )


def _unlikeness(document: RouterDocument, tensors: dict[str, FloatArray]) -> Unlikeness | None:
    if document.precision is None or document.far is None:
        return None
    mahalanobis = Mahalanobis(tensors["means"], tensors["directions"], document.precision)
    return Unlikeness(mahalanobis, document.far)


def _check(document: RouterDocument, tensors: dict[str, FloatArray], directory: Path) -> None:
    """Refuse names no domain may bear, and tensors whose names, types or shapes do not fit the document."""
    domains = document.domains
    if not domains or len(set(domains)) != len(domains) or not all(map(is_domain_name, domains)):
        raise RouterError(
            f"{directory / DOCUMENT_NAME}: domains {domains}; expected distinct names: fit the router again"
        )
    if (document.log_odds is not None) != document.has_outside:
        raise RouterError(
            f"{directory / DOCUMENT_NAME}: has_outside is {document.has_outside}, log_odds contradicts it; "
            "expected both or neither: fit the router again"
        )
    if (document.far is None) != (document.precision is None) or not (document.far or document.log_odds):
        raise RouterError(
            f"{directory / DOCUMENT_NAME}: far, precision and log_odds contradict one another; expected the "
            "first two together, or the last, or all: fit the router again"
        )
    counts, classes = document.prototype_counts, len(domains) + document.has_outside
    if (document.nearest is None) != (counts is None) or (
        counts is not None and (document.sharpness is None or len(counts) != classes)
    ):
        raise RouterError(
            f"{directory / DOCUMENT_NAME}: nearest {document.nearest}, prototype_counts {counts}; expected "
            f"neither, or both with sharpness and {classes} counts: fit the router again"
        )
    given = {name: (str(tensor.dtype), tensor.shape) for name, tensor in sorted(tensors.items())}
    expected = _expected(document, tensors)
    if given != expected:
        raise RouterError(
            f"{directory / TENSORS_NAME}: tensors {given}, expected {expected}: fit the router again"
        )


def _expected(
    document: RouterDocument, tensors: dict[str, FloatArray]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor; their free sizes are those of `directions` and of `prototypes`."""
    classes, size = len(document.domains) + document.has_outside, _size(document, tensors)
    shapes = {"bias": (classes,), "weight": (classes, size)}
    if document.far is not None:
        shapes |= {"directions": (_rows(tensors, "directions"), size), "means": (len(document.domains), size)}
    if document.sharpness is not None:
        counts = document.prototype_counts
        count = _rows(tensors, "prototypes") if counts is None else sum(counts)
        shapes |= {"prototypes": (count, size), "weight": (classes, count)}
    types = {"prototypes": "float16"}
    return {name: (types.get(name, "float32"), shape) for name, shape in shapes.items()}


def _size(document: RouterDocument, tensors: dict[str, FloatArray]) -> int:
    """The dimensions of an embedding, as one tensor has them; 0 if that one is missing or none."""
    name = "prototypes" if document.sharpness is not None else "weight"
    tensor = tensors.get(name)
    return tensor.shape[1] if tensor is not None and tensor.ndim == 2 else 0


def _rows(tensors: dict[str, FloatArray], name: str) -> int:
    tensor = tensors.get(name)
    return len(tensor) if tensor is not None and tensor.ndim == 2 else 0
