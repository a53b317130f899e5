"""The release's router, fitted on the training questions.

Owns: which questions stand for which domain. Knows nothing of how routing works.
"""

from collections.abc import Sequence
from pathlib import Path

from crma_router.classifier.kept_examples import save_examples
from crma_router.encoders.onnx import Int8Embedder
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
) -> None:
    """Fits on all domains of the release, saves into `folder`, and the questions too if `keep_examples`.

    Raises `RouterError` on too few questions.
    """
    questions = RouterData(
        examples={domain.name: domain.questions for domain in domains},
        out_of_domain=[*out_of_domain, *SMALL_TALK],
    )
    fit_router(questions, Int8Embedder(), seed=seed).save(folder)
    if keep_examples:
        save_examples(questions, folder)
