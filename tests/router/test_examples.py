"""What a router can be fitted on, and what is refused."""

from dataclasses import dataclass

import numpy as np
import pytest

from crma_adapters.errors import RouterError
from crma_router.classifier.augment import Augmentation
from crma_router.classifier.data import RouterData, embed_examples
from crma_router.encoders.sentence_transformers import Embedder, Embeddings

TEN = [f"question {number}" for number in range(10)]


@dataclass(frozen=True)
class FixedEmbedder:
    """Gives `value` in rows of `size`, whatever the text."""

    value: float
    size: int = 4
    name: str = "fixed"

    def encode(self, texts: list[str]) -> Embeddings:
        return np.full((len(texts), self.size), self.value, np.float32)


def test_order_and_repetition_do_not_count(embedder: Embedder) -> None:
    once = embed_examples(RouterData({"b": TEN, "a": TEN}, TEN), embedder)
    twice = embed_examples(RouterData({"a": TEN[::-1] + TEN, "b": TEN}, TEN[::-1]), embedder)
    assert once.domains == twice.domains == ("a", "b")
    np.testing.assert_array_equal(once.labels, twice.labels)
    np.testing.assert_array_equal(once.embeddings, twice.embeddings)


def test_texts_without_words_are_left_out(embedder: Embedder) -> None:
    examples = embed_examples(RouterData({"a": [*TEN, "", "  ", "?!"]}, ["..."] * 30), embedder)
    assert examples.count(0) == 10
    assert not examples.has_outside


def test_too_few_out_of_domain_examples_say_nothing(embedder: Embedder) -> None:
    assert not embed_examples(RouterData({"a": TEN}, TEN[:9]), embedder).has_outside
    assert embed_examples(RouterData({"a": TEN}, TEN), embedder).has_outside


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (RouterData({}, TEN), "one or more domain names"),
        (RouterData({"Medical": TEN}, []), "Medical"),
        (RouterData({"auto": TEN}, []), "auto"),
        (RouterData({"medical": TEN[:9]}, []), "'medical' has 9 distinct questions"),
        (RouterData({"medical": ["same"] * 50}, []), "'medical' has 1 distinct question"),
    ],
)
def test_unusable_data_is_refused(data: RouterData, said: str, embedder: Embedder) -> None:
    with pytest.raises(RouterError, match=said):
        embed_examples(data, embedder)


@pytest.mark.parametrize(
    ("broken", "said"),
    [(FixedEmbedder(float("nan")), "NaN or Inf"), (FixedEmbedder(1.0, size=1), r"shape \(\d+, 1\)")],
)
def test_a_broken_embedder_is_refused(broken: Embedder, said: str) -> None:
    with pytest.raises(RouterError, match=said):
        embed_examples(RouterData({"medical": TEN}, []), broken)


def test_variants_follow_the_questions_and_are_labelled_like_them(
    data: RouterData, embedder: Embedder
) -> None:
    plain = embed_examples(data, embedder, Augmentation(0.0))
    varied = embed_examples(data, embedder, Augmentation(1.0))
    count = len(plain.labels)
    assert not plain.varied.any() and len(varied.labels) > count
    np.testing.assert_array_equal(varied.embeddings[:count], plain.embeddings)
    np.testing.assert_array_equal(varied.varied, np.arange(len(varied.labels)) >= count)
    np.testing.assert_array_equal(varied.labels, plain.labels[varied.origins])
    assert [varied.count(label) for label in range(4)] == [plain.count(label) for label in range(4)]
