"""What a router can be fitted on, and what is refused."""

from dataclasses import dataclass

import numpy as np
import pytest

from crma_adapters.errors import RouterError
from crma_router.classifier.augment import Augmentation
from crma_router.classifier.data import FEWEST_EXAMPLES, RouterData, embed_examples
from crma_router.classifier.domain_classifier import digest_of, pack, unpack
from crma_router.encoders.base import Embedder, Embeddings

TEN = [f"question {number}" for number in range(10)]
GERMAN = [
    f"Warum möchte der Vermieter die Kaution nicht zurückgeben, obwohl alles sauber ist, Fall {n}?"
    for n in range(12)
]


@dataclass(frozen=True)
class FixedEmbedder:
    """Gives `value` in rows of `size`, whatever the text."""

    value: float
    size: int = 4
    name: str = "fixed"
    languages: frozenset[str] = frozenset()

    def encode(self, texts: list[str]) -> Embeddings:
        return np.full((len(texts), self.size), self.value, np.float32)


def test_order_and_repetition_do_not_count(embedder: Embedder) -> None:
    once = embed_examples(RouterData({"b": TEN, "a": TEN}, TEN), embedder)
    twice = embed_examples(RouterData({"a": TEN[::-1] + TEN, "b": TEN}, TEN[::-1]), embedder)
    assert once.domains == twice.domains == ("a", "b")
    np.testing.assert_array_equal(once.labels, twice.labels)
    np.testing.assert_array_equal(once.rows.packed, twice.rows.packed)


def test_texts_without_words_are_left_out(embedder: Embedder) -> None:
    examples = embed_examples(RouterData({"a": [*TEN, "", "  ", "?!"]}, ["..."] * 30), embedder)
    assert examples.count(0) == 10
    assert not examples.has_none


def test_too_few_out_of_domain_examples_say_nothing(embedder: Embedder) -> None:
    assert not embed_examples(RouterData({"a": TEN}, TEN[:9]), embedder).has_none
    assert embed_examples(RouterData({"a": TEN}, TEN), embedder).has_none


def test_a_language_that_no_domain_has_does_not_come_to_stand_for_none(embedder: Embedder) -> None:
    reads_german = type(embedder)(languages=frozenset({"de", "en"}))  # type: ignore[call-arg]
    assert embed_examples(RouterData({"a": TEN}, [*TEN, *GERMAN]), reads_german).count(1) == 10
    assert embed_examples(RouterData({"a": [*TEN, *GERMAN]}, GERMAN), reads_german).count(1) == 12
    assert embed_examples(RouterData({"a": TEN}, [*TEN, *GERMAN]), embedder).count(1) == 22


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (RouterData({}, TEN), "one or more domain names"),
        (RouterData({"Medical": TEN}, []), "Medical"),
        (RouterData({"auto": TEN}, []), "auto"),
        (RouterData({"medical": TEN[: FEWEST_EXAMPLES - 1]}, []), "'medical' has 4 distinct questions"),
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


def test_variants_are_labelled_like_their_questions(data: RouterData, embedder: Embedder) -> None:
    plain = embed_examples(data, embedder, Augmentation(0.0))
    varied = embed_examples(data, embedder, Augmentation(1.0))
    assert not plain.rows.varied.any() and varied.rows.varied.any()
    assert [varied.count(label) for label in range(4)] == [plain.count(label) for label in range(4)]
    label_of = dict(zip(plain.rows.originals.tolist(), plain.labels.tolist(), strict=True))
    assert [label_of[one] for one in varied.rows.originals.tolist()] == varied.labels.tolist()
    assert list(varied.labels) == sorted(varied.labels)


def test_rows_know_their_texts_by_digest(data: RouterData, embedder: Embedder) -> None:
    rows = embed_examples(data, embedder, Augmentation(0.0)).rows
    assert digest_of(data.examples["legal"][0]) in rows.digests


def test_packed_vectors_are_within_a_step_of_what_they_were(embedder: Embedder) -> None:
    vectors = embedder.encode(TEN)
    again = unpack(pack(vectors))
    np.testing.assert_allclose(np.linalg.norm(again, axis=1), 1, atol=1e-6)
    assert np.abs(again - vectors).max() <= np.abs(vectors).max() / 127
    np.testing.assert_array_equal(unpack(pack(again)), again)
