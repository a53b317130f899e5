"""The mean of a text's word vectors."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from crma_router.encoders.word_vectors import WordVectors


@pytest.fixture
def words(tmp_path: Path) -> WordVectors:
    vectors = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)  # centred already
    save_file({"embeddings.word_embeddings.weight": vectors}, tmp_path / "model.safetensors")
    return WordVectors(tmp_path / "model.safetensors")


def test_rare_words_weigh_more(words: WordVectors) -> None:
    expected = np.array([np.log(3), np.log(5)])  # ids 0 and 2
    np.testing.assert_allclose(words.mean([0, 2]), expected / np.linalg.norm(expected), atol=1e-3)


def test_order_does_not_matter_and_number_does(words: WordVectors) -> None:
    np.testing.assert_allclose(words.mean([0, 2, 2]), words.mean([2, 0, 2]), atol=1e-6)
    assert words.mean([0, 2, 2])[1] > words.mean([0, 2])[1]


def test_no_words_are_zeros_and_opposite_ones_are_no_error(words: WordVectors) -> None:
    assert words.mean([]).tolist() == [0, 0]
    assert np.isfinite(words.mean([2, 3])).all()


def test_the_mean_of_all_vectors_says_nothing(tmp_path: Path) -> None:
    shifted = np.array([[1, 5], [-1, 5], [0, 5]], np.float32)
    save_file({"embeddings.word_embeddings.weight": shifted}, tmp_path / "model.safetensors")
    assert abs(WordVectors(tmp_path / "model.safetensors").mean([0])[1]) < 1e-6
