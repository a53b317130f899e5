"""The release's router, fitted on the training questions.

Owns: which questions stand for which domain. Knows nothing of how routing works.
"""

from pathlib import Path

from crma_router.embedder import SentenceTransformerEmbedder
from crma_router.router import RouterData, fit_router
from crma_training.dataset import Dataset
from crma_training.small_talk import SMALL_TALK


def fit_release_router(data: Dataset, carried: tuple[str, ...], seed: int, folder: Path) -> None:
    """Fits on every domain of the release, trained or carried, and saves into `folder`."""
    domains = [*data.domains, *(domain for domain in data.others if domain.name in carried)]
    examples = {domain.name: domain.questions for domain in domains}
    questions = RouterData(examples=examples, out_of_domain=[*data.out_of_domain, *SMALL_TALK])
    fit_router(questions, SentenceTransformerEmbedder(), seed=seed).save(folder)
