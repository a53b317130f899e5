"""The release's router, fitted on the training questions."""

from collections.abc import Sequence
from pathlib import Path

from crma_router.classifier.kept_examples import save_examples
from crma_router.encoders.base import DEFAULT_EMBEDDER, open_embedder
from crma_router.router import RouterData, fit_router
from crma_training.data.dataset import DomainData
from crma_training.small_talk import SMALL_TALK


def fit_release_router(
    domains: Sequence[DomainData],
    out_of_domain: Sequence[str],
    seed: int,
    folder: Path,
    *,
    keep_examples: bool = True,
    embedder: str = DEFAULT_EMBEDDER,
) -> None:
    """Fits on all domains of the release, saves into `folder`, and the questions too if `keep_examples`.

    Raises `RouterError` on too few questions.
    """
    questions = RouterData(
        examples={domain.name: domain.questions for domain in domains},
        out_of_domain=[*out_of_domain, *SMALL_TALK],
    )
    fit_router(questions, open_embedder(embedder), seed=seed).save(folder)
    if keep_examples:
        save_examples(questions, folder)
