"""The questions a router is fitted on, checked and embedded.

Owns: what is refused, the one order of the rows, and that each question brings its variants. Knows nothing of
classifiers.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crma_adapters.errors import RouterError
from crma_adapters.store.names import is_domain_name
from crma_router.classifier.augment import Augmentation, augment
from crma_router.classifier.head import Labels
from crma_router.encoders.sentence_transformers import Embedder, Embeddings, encode_words, words_part
from crma_router.text.clip import clip, has_words

FEWEST_EXAMPLES = 10  # two for each fold
AUGMENTATION = Augmentation()


@dataclass(frozen=True)
class RouterData:
    """Questions of every domain, and questions that belong to none (may be empty)."""

    examples: dict[str, list[str]]
    out_of_domain: list[str]


@dataclass(frozen=True, eq=False)
class EmbeddedExamples:
    """labels (N,): index of the domain, or the number of domains if out of domain; embeddings (N, D).

    origins (N,): which question a row is, or is a variant of (augment.py); varied (N,): which rows are
    variants. words_size: how many of the last dimensions are of the words alone.
    """

    domains: tuple[str, ...]
    labels: Labels
    embeddings: Embeddings
    origins: Labels
    varied: npt.NDArray[np.bool_]
    words_size: int = 0

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """(N,): which rows belong to a domain."""
        return self.labels < len(self.domains)

    @property
    def has_outside(self) -> bool:
        return not bool(self.inside.all())

    def at(self, rows: npt.NDArray[Any]) -> "EmbeddedExamples":
        """Those rows alone, by index or mask."""
        return replace(
            self,
            labels=self.labels[rows],
            embeddings=self.embeddings[rows],
            origins=self.origins[rows],
            varied=self.varied[rows],
        )

    def of_words(self) -> "EmbeddedExamples":
        """The same rows, embedded by their words alone."""
        return replace(self, embeddings=words_part(self.embeddings, self.words_size), words_size=0)

    def count(self, label: int) -> int:
        """How many questions bear the label, variants not counted."""
        return int(((self.labels == label) & ~self.varied).sum())


def embed_examples(
    data: RouterData, embedder: Embedder, augmentation: Augmentation = AUGMENTATION, seed: int = 0
) -> EmbeddedExamples:
    """Distinct questions with words, domains and texts in alphabetical order, then their variants, embedded.

    Raises:
        RouterError: no domain, a name no domain may bear, too few examples, or embeddings not finite.
    """
    domains = tuple(sorted(data.examples))
    if not domains or not all(map(is_domain_name, domains)):
        raise RouterError(f"domains {list(domains)}; expected one or more domain names, such as 'medical'")
    groups = [_distinct(data.examples[name]) for name in domains]
    for name, texts in zip(domains, groups, strict=True):
        _check_enough(name, texts)
    outside = _distinct(data.out_of_domain)
    # Too few to have some in every fold say nothing.
    groups.append(outside if len(outside) >= FEWEST_EXAMPLES else [])
    labels = np.repeat(np.arange(len(groups)), [len(texts) for texts in groups])
    texts = [text for group in groups for text in group]
    variants = augment(texts, augmentation, seed)
    embeddings = embedder.encode([*texts, *(variant for _, variant in variants)])
    _check_numbers(embeddings, len(texts) + len(variants), embedder.name)
    origins = np.array([*range(len(texts)), *(origin for origin, _ in variants)])
    return EmbeddedExamples(
        domains,
        labels[origins],
        embeddings,
        origins,
        np.arange(len(origins)) >= len(texts),
        encode_words(embedder, texts[:1]).shape[1],
    )


def _distinct(texts: list[str]) -> list[str]:
    return sorted({text for text in map(clip, texts) if has_words(text)})


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
