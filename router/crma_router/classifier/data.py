"""The questions a router is fitted on: checked, varied and embedded, in one order."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crma_adapters.errors import RouterError
from crma_adapters.store.names import is_domain_name
from crma_router.classifier.augment import Augmentation, augment
from crma_router.classifier.domain_classifier import Labels, TrainingRows, digest_of, pack, unpack
from crma_router.encoders.base import Embedder, Embeddings
from crma_router.text.words import clip, has_words, languages_of

FEWEST_EXAMPLES = 5
"""Distinct questions that a domain needs."""

AUGMENTATION = Augmentation(variants=0.5)


@dataclass(frozen=True)
class RouterData:
    """Questions of every domain, and questions that belong to none (may be empty)."""

    examples: dict[str, list[str]]
    out_of_domain: list[str]


@dataclass(frozen=True, eq=False)
class EmbeddedExamples:
    """`rows.labels`: index of the domain, or the number of domains if out of domain."""

    domains: tuple[str, ...]
    rows: TrainingRows

    @property
    def labels(self) -> Labels:
        return self.rows.labels

    @property
    def vectors(self) -> Embeddings:
        """(N, D), as a loaded router has them."""
        return unpack(self.rows.packed)

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """(N,): which rows belong to a domain."""
        return self.labels < len(self.domains)

    @property
    def has_none(self) -> bool:
        return not bool(self.inside.all())

    def at(self, chosen: npt.NDArray[Any]) -> "EmbeddedExamples":
        """Those rows alone, by index or mask."""
        return replace(self, rows=self.rows.at(chosen))

    def count(self, label: int) -> int:
        """How many questions bear the label, variants not counted."""
        return int(((self.labels == label) & ~self.rows.varied).sum())


def embed_examples(
    data: RouterData, embedder: Embedder, augmentation: Augmentation = AUGMENTATION, seed: int = 0
) -> EmbeddedExamples:
    """Distinct questions with words, domains and texts in alphabetical order, each with its variants.

    Raises:
        RouterError: no domain, a name no domain may bear, too few examples, or embeddings not finite.
    """
    domains = tuple(sorted(data.examples))
    if not domains or not all(map(is_domain_name, domains)):
        raise RouterError(f"domains {list(domains)}; expected one or more domain names, such as 'medical'")
    groups = [distinct(data.examples[name]) for name in domains]
    for name, texts in zip(domains, groups, strict=True):
        _check_enough(name, texts)
    groups.append(_none_examples(data, groups, embedder))
    labels = np.repeat(np.arange(len(groups)), [len(texts) for texts in groups])
    return embed_rows(
        [text for group in groups for text in group], labels, domains, embedder, augmentation, seed
    )


def embed_rows(
    texts: list[str],
    labels: Labels,
    domains: tuple[str, ...],
    embedder: Embedder,
    augmentation: Augmentation,
    seed: int,
) -> EmbeddedExamples:
    """`texts` with their labels and variants of them, as rows sorted by label."""
    variants = augment(texts, augmentation, seed)
    vectors = embedder.encode([*texts, *(variant for _, variant in variants)])
    _check_numbers(vectors, len(texts) + len(variants), embedder.name)
    originals = np.array([*range(len(texts)), *(origin for origin, _ in variants)], np.int64)
    varied = np.arange(len(originals)) >= len(texts)
    digests = np.array([digest_of(text) for text in texts], np.int64)
    rows = TrainingRows(pack(vectors), labels[originals], originals, varied, digests[originals])
    order = np.argsort(rows.labels, kind="stable")
    return EmbeddedExamples(domains, rows).at(order)


def distinct(texts: list[str]) -> list[str]:
    """The texts that have words, as they are read, each once, sorted."""
    return sorted({text for text in map(clip, texts) if has_words(text)})


def _none_examples(data: RouterData, groups: list[list[str]], embedder: Embedder) -> list[str]:
    """Out-of-domain examples, but none in a language that the encoder knows and no domain has examples in.

    Otherwise that language itself would come to stand for "none of them".
    """
    none = distinct(data.out_of_domain)
    if embedder.languages:
        spoken = languages_of([text for group in groups for text in group])
        told = languages_of(none, each=True)
        none = [
            text
            for text, language in zip(none, told, strict=True)
            if language is None or language in spoken or language not in embedder.languages
        ]
    # Too few to have some in every fold say nothing.
    return none if len(none) >= 2 * FEWEST_EXAMPLES else []


def _check_enough(name: str, texts: list[str]) -> None:
    if len(texts) < FEWEST_EXAMPLES:
        raise RouterError(
            f"domain {name!r} has {len(texts)} distinct questions with words; "
            f"the router needs {FEWEST_EXAMPLES} or more of each domain: add some"
        )


def _check_numbers(embeddings: Embeddings, rows: int, name: str) -> None:
    if embeddings.ndim != 2 or len(embeddings) != rows or embeddings.shape[1] < 2:
        raise RouterError(
            f"embedder {name!r} gave shape {embeddings.shape} for {rows} texts; expected ({rows}, D > 1)"
        )
    if not np.isfinite(embeddings).all():
        raise RouterError(f"embedder {name!r} gave NaN or Inf; its weights are damaged: fetch them again")
