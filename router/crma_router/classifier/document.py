"""A judge as numbers and tensors, and every check that a stranger's need.

Owns: which number and which tensor is what, and whether they fit each other. Knows nothing of files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from crma_adapters.errors import RouterError
from crma_adapters.io.document import STRICT, Finite
from crma_router.classifier.domain_classifier import Judge
from crma_router.classifier.head import FloatArray, LinearHead, Prototypes
from crma_router.classifier.mahalanobis import Mahalanobis
from crma_router.classifier.ood import Above0, Outside, Standard, Unlikeness

Tensors = Mapping[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class JudgeDocument:
    """Every number of a judge that is not in a tensor."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    has_outside: bool
    temperature: Above0
    precision: Above0 | None
    far: Standard | None
    log_odds: Standard | None
    ood_threshold: Finite
    sharpness: Above0 | None = None  # None: no prototypes
    prototype_counts: list[Annotated[int, Field(ge=1)]] | None = None
    nearest: Above0 | None = None  # None: fitted before the nearest one counted


def numbers_of(judge: Judge) -> JudgeDocument:
    """Its numbers."""
    outside, head = judge.outside, judge.head
    unlikeness, prototypes = outside.unlikeness, head.prototypes
    return JudgeDocument(
        has_outside=head.has_outside,
        temperature=head.temperature,
        precision=unlikeness.mahalanobis.precision if unlikeness else None,
        far=unlikeness.usual if unlikeness else None,
        log_odds=outside.log_odds,
        ood_threshold=outside.threshold,
        sharpness=None if prototypes is None else prototypes.sharpness,
        prototype_counts=list(prototypes.counts) if prototypes and prototypes.nearest else None,
        nearest=prototypes.nearest if prototypes and prototypes.nearest else None,
    )


def tensors_of(judge: Judge) -> dict[str, FloatArray]:
    """Its tensors, contiguous; the prototypes in float16."""
    unlikeness, head = judge.outside.unlikeness, judge.head
    tensors = {"weight": head.weight, "bias": head.bias}
    if unlikeness is not None:
        tensors |= {
            "means": unlikeness.mahalanobis.means,
            "directions": unlikeness.mahalanobis.directions,
        }
    if head.prototypes is not None:
        tensors["prototypes"] = head.prototypes.centres.astype(np.float16)
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def judge_of(document: JudgeDocument, domains: tuple[str, ...], tensors: Tensors, where: str) -> Judge:
    """The judge of these. Raises `RouterError`, which names `where`, if they do not fit each other."""
    _check(document, domains, tensors, where)
    head = LinearHead(
        tensors["weight"],
        tensors["bias"],
        document.temperature,
        document.has_outside,
        _prototypes(document, tensors),
    )
    outside = Outside(_unlikeness(document, tensors), document.log_odds, document.ood_threshold)
    return Judge(domains, head, outside)


def _prototypes(document: JudgeDocument, tensors: Tensors) -> Prototypes | None:
    if document.sharpness is None:
        return None
    counts = tuple(document.prototype_counts or ())
    return Prototypes(
        tensors["prototypes"].astype(np.float32), document.sharpness, counts, document.nearest or 0.0
    )


def _unlikeness(document: JudgeDocument, tensors: Tensors) -> Unlikeness | None:
    if document.precision is None or document.far is None:
        return None
    mahalanobis = Mahalanobis(tensors["means"], tensors["directions"], document.precision)
    return Unlikeness(mahalanobis, document.far)


def _check(document: JudgeDocument, domains: tuple[str, ...], tensors: Tensors, where: str) -> None:
    """Refuse numbers that contradict each other, and tensors whose names, types or shapes do not fit them."""
    if (document.log_odds is not None) != document.has_outside:
        raise RouterError(
            f"{where}: has_outside is {document.has_outside}, log_odds contradicts it; "
            "expected both or neither: fit the router again"
        )
    if (document.far is None) != (document.precision is None) or not (document.far or document.log_odds):
        raise RouterError(
            f"{where}: far, precision and log_odds contradict one another; expected the "
            "first two together, or the last, or all: fit the router again"
        )
    counts, classes = document.prototype_counts, len(domains) + document.has_outside
    if (document.nearest is None) != (counts is None) or (
        counts is not None and (document.sharpness is None or len(counts) != classes)
    ):
        raise RouterError(
            f"{where}: nearest {document.nearest}, prototype_counts {counts}; expected "
            f"neither, or both with sharpness and {classes} counts: fit the router again"
        )
    given = {name: (str(tensor.dtype), tensor.shape) for name, tensor in sorted(tensors.items())}
    expected = _expected(document, len(domains), tensors)
    if given != expected:
        raise RouterError(f"{where}: tensors {given}, expected {expected}: fit the router again")


def _expected(
    document: JudgeDocument, domains: int, tensors: Tensors
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each tensor; their free sizes are those of `directions` and of `prototypes`."""
    classes, size = domains + document.has_outside, _size(document, tensors)
    shapes = {"bias": (classes,), "weight": (classes, size)}
    if document.far is not None:
        shapes |= {"directions": (_rows(tensors, "directions"), size), "means": (domains, size)}
    if document.sharpness is not None:
        counts = document.prototype_counts
        count = _rows(tensors, "prototypes") if counts is None else sum(counts)
        shapes |= {"prototypes": (count, size), "weight": (classes, count)}
    types = {"prototypes": "float16"}
    return {name: (types.get(name, "float32"), shape) for name, shape in shapes.items()}


def _size(document: JudgeDocument, tensors: Tensors) -> int:
    """The dimensions of an embedding, as one tensor has them; 0 if that one is missing or none."""
    name = "prototypes" if document.sharpness is not None else "weight"
    tensor = tensors.get(name)
    return tensor.shape[1] if tensor is not None and tensor.ndim == 2 else 0


def _rows(tensors: Tensors, name: str) -> int:
    tensor = tensors.get(name)
    return len(tensor) if tensor is not None and tensor.ndim == 2 else 0
