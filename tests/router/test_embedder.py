"""The real default embedder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from crma_adapters.errors import RouterError
from crma_router.encoders.sentence_transformers import DEFAULT_EMBEDDER, SentenceTransformerEmbedder


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder()


def test_unit_vectors_of_384_numbers(minilm: SentenceTransformerEmbedder) -> None:
    vectors = minilm.encode(["What is a fever?", "", "a\x00b"])
    assert minilm.name == DEFAULT_EMBEDDER
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)


def test_meaning_is_near_meaning(minilm: SentenceTransformerEmbedder) -> None:
    asked, same, other = minilm.encode(
        ["How do I lower a fever?", "bring down high temperature", "Sort a list in C"]
    )
    assert asked @ same > 0.5 > asked @ other


def test_threads_may_share_it(minilm: SentenceTransformerEmbedder) -> None:
    texts = [f"{'word ' * number}number {number}" for number in range(12)]
    alone = np.concatenate([minilm.encode([text]) for text in texts])
    with ThreadPoolExecutor(8) as threads:
        together = np.concatenate(list(threads.map(lambda text: minilm.encode([text]), texts)))
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_torch_stays_as_the_process_set_it(minilm: SentenceTransformerEmbedder) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.initial_seed(),
        )

    before = state()
    minilm.encode(["one"])
    assert state() == before


def test_few_texts_take_one_thread_and_many_all(
    minilm: SentenceTransformerEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    forward = minilm._model.forward

    def watched(*arguments: object, **options: object) -> object:
        seen.append(torch.get_num_threads())
        return forward(*arguments, **options)

    monkeypatch.setattr(minilm._model, "forward", watched)
    minilm.encode(["one"])
    minilm.encode(["many"] * 20)
    assert seen == [1, torch.get_num_threads()]


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RouterError, match="cannot be loaded"):
        SentenceTransformerEmbedder(tmp_path)


def test_two_loads_at_a_time_leave_transformers_as_it_was() -> None:
    before = PreTrainedModel.tie_weights
    with ThreadPoolExecutor(4) as threads:
        loads = [threads.submit(SentenceTransformerEmbedder) for _ in range(4)]
    assert {load.result().name for load in loads} == {DEFAULT_EMBEDDER}
    assert PreTrainedModel.tie_weights is before
