"""What is remembered, for how long, and that it is the same as computing it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_router.encoders.cache import CACHE_BYTES, CachedEmbedder, EmbeddingCache
from crma_router.encoders.sentence_transformers import Embeddings


class CountingEmbedder:
    """Two numbers of the text's length; remembers what it was asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> Embeddings:
        self.asked += texts
        return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32).reshape(-1, 2)


def room_for(entries: int, size: int = 2) -> int:
    """Bytes that hold so many vectors of `size` numbers, and no more."""
    one = EmbeddingCache()
    one.put("a", np.zeros(size, np.float32))
    return one.size_bytes * entries


def test_a_text_is_computed_once_and_alike() -> None:
    inner = CountingEmbedder()
    cached = CachedEmbedder(inner)
    first = cached.encode(["a", "bb", "a"])
    np.testing.assert_array_equal(first, CountingEmbedder().encode(["a", "bb", "a"]))
    np.testing.assert_array_equal(
        cached.encode(["bb", "ccc", "a"]), CountingEmbedder().encode(["bb", "ccc", "a"])
    )
    assert inner.asked == ["a", "bb", "ccc"]
    assert cached.name == inner.name


def test_no_texts_give_no_rows() -> None:
    assert CachedEmbedder(CountingEmbedder()).encode([]).shape == (0, 2)


def test_known_is_what_was_embedded_and_nothing_else() -> None:
    cached = CachedEmbedder(CountingEmbedder())
    assert cached.known("a") is None
    row = cached.encode(["a"])
    known = cached.known("a")
    assert known is not None
    np.testing.assert_array_equal(known, row)
    assert cached.known("b") is None


def test_an_embedder_that_reads_no_words_gives_none() -> None:
    cached = CachedEmbedder(CountingEmbedder())
    assert cached.encode_words(["a", "b"]).shape == (2, 0)


def test_the_one_used_longest_ago_gives_way() -> None:
    inner = CountingEmbedder()
    cached = CachedEmbedder(inner, EmbeddingCache(room_for(2)))
    for text in ("a", "b", "a", "c"):  # b was used before a
        cached.encode([text])
    inner.asked.clear()
    cached.encode(["a", "c"])
    assert inner.asked == []
    cached.encode(["b"])
    assert inner.asked == ["b"]


@given(st.lists(st.text(st.characters(), max_size=3), max_size=60))  # lone surrogates included
def test_its_size_is_bounded_and_what_it_gives_is_right(texts: list[str]) -> None:
    cache = EmbeddingCache(room_for(5))
    cached = CachedEmbedder(CountingEmbedder(), cache)
    for text in texts:
        np.testing.assert_array_equal(cached.encode([text]), CountingEmbedder().encode([text]))
        assert cache.size_bytes <= room_for(5)
        assert len(cache) == min(5, len(cache))
        assert cache.size_bytes == room_for(len(cache))


def test_a_vector_put_twice_counts_once() -> None:
    cache = EmbeddingCache()
    for _ in range(3):
        cache.put("a", np.zeros(2, np.float32))
    assert (len(cache), cache.size_bytes) == (1, room_for(1))


def test_what_does_not_fit_at_all_is_not_kept() -> None:
    cache = EmbeddingCache(100)
    cache.put("a", np.zeros(384, np.float32))
    assert (len(cache), cache.size_bytes, cache.get("a")) == (0, 0, None)


def test_nobody_can_change_what_is_remembered() -> None:
    cache, vector = EmbeddingCache(), np.ones(2, np.float32)
    cache.put("a", vector)
    vector[0] = 7
    kept = cache.get("a")
    assert kept is not None and kept[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 7


def test_threads_may_share_it() -> None:
    cached = CachedEmbedder(CountingEmbedder(), EmbeddingCache(room_for(7)))
    texts = [f"text {number % 20}" for number in range(2000)]
    with ThreadPoolExecutor(8) as threads:
        rows = list(threads.map(lambda text: cached.encode([text])[0], texts))
    np.testing.assert_array_equal(np.stack(rows), CountingEmbedder().encode(texts))


def test_the_default_holds_thousands_of_questions() -> None:
    assert CACHE_BYTES // room_for(1, 384) > 5000
