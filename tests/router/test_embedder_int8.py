"""The int8 embedder beside the model it stands for."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnxruntime import InferenceSession

from crma_adapters.errors import RouterError
from crma_adapters.models.packaged import embedder_path
from crma_router.encoders.graph import build_graph, quantise
from crma_router.encoders.onnx import ENDS_TOKENS, TELLING_TOKENS, Int8Embedder
from crma_router.encoders.sentence_transformers import Embeddings, SentenceTransformerEmbedder, words_part

QUESTIONS = [
    "How do I lower a fever?",
    "Can my landlord keep the deposit?",
    "sort a list in C",
    "What is a put option?",
    "why is the sky blue",
    "What is the function of the protein encoded by the gene NKCC2?",
]


@pytest.fixture(scope="module")
def int8() -> Int8Embedder:
    return Int8Embedder()


@pytest.fixture(scope="module")
def reference() -> Embeddings:
    return SentenceTransformerEmbedder().encode(QUESTIONS)


def test_in_float32_the_graph_is_the_model(int8: Int8Embedder, reference: Embeddings) -> None:
    graph = build_graph(embedder_path() / "model.safetensors", int8=False).SerializeToString()
    session = InferenceSession(graph, providers=["CPUExecutionProvider"])
    for question, expected in zip(QUESTIONS, reference, strict=True):
        ids = np.array([int8._tokenizer.encode(question).ids], np.int32)
        np.testing.assert_allclose(session.run(None, {"ids": ids})[0][0], expected, atol=2e-5)


def test_int8_is_near_the_model(reference: Embeddings) -> None:
    cosines = (Int8Embedder(256, None, words=False).encode(QUESTIONS) * reference).sum(axis=1)

    assert cosines.min() > 0.98


def test_unit_vectors_of_768_numbers_for_any_text(int8: Int8Embedder) -> None:
    vectors = int8.encode(
        ["What is a fever?", "", "a\x00b", "word " * 100_000, "x" * 5000, "😀", "ибупрофен"]
    )
    assert vectors.shape == (7, 768)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    assert int8.encode([]).shape == (0, 768)


def test_the_words_by_themselves_are_the_end_of_the_vector(int8: Int8Embedder) -> None:
    texts = [*QUESTIONS, "", "word " * 1000]
    words = int8.encode_words(texts)
    assert words.shape == (len(texts), 384)
    np.testing.assert_allclose(words, words_part(int8.encode(texts), 384), atol=1e-6)
    without = Int8Embedder(words=False)
    assert without.encode_words(["a"]).shape == (1, 0)


def test_a_vector_does_not_hang_on_its_neighbours(int8: Int8Embedder) -> None:
    texts = [f"{'word ' * number}number {number}" for number in range(40)]
    alone = np.concatenate([int8.encode([text]) for text in texts])
    np.testing.assert_array_equal(int8.encode(texts), alone)
    with ThreadPoolExecutor(8) as threads:
        shared = np.concatenate(list(threads.map(lambda text: int8.encode([text]), texts)))
    np.testing.assert_array_equal(shared, alone)


def test_of_a_long_text_the_sentence_is_its_two_ends(int8: Int8Embedder) -> None:
    first, same, head, tail = int8.encode(
        [
            f"fever {'lorem ' * 60} rash",
            f"fever {'lorem ' * 20} python {'lorem ' * 20} rash",
            f"python {'lorem ' * 60} rash",
            f"fever {'lorem ' * 60} python",
        ]
    )[:, :384]
    np.testing.assert_allclose(first, same, atol=1e-3)
    assert cosine(first, head) < 0.999
    assert cosine(first, tail) < 0.999


def test_of_a_long_text_the_words_are_all_of_it(int8: Int8Embedder) -> None:
    middles = ("lorem " * 60, "lorem " * 20 + "python " * 20 + "lorem " * 20)
    plain, other = int8.encode([f"fever {middle} rash" for middle in middles])
    assert cosine(plain[:384], other[:384]) > 0.9999
    assert cosine(plain[384:], other[384:]) < 0.999


def cosine(one: Embeddings, other: Embeddings) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def test_its_name_tells_the_budget_and_opens_it_again() -> None:
    assert Int8Embedder().name == f"all-MiniLM-L6-v2/int8/{ENDS_TOKENS}/{TELLING_TOKENS}+words"
    for read in ("48", "48+words", "48/16", "48/16+words"):
        opened = Int8Embedder.named(f"all-MiniLM-L6-v2/int8/{read}")
        assert opened is not None and opened.name == f"all-MiniLM-L6-v2/int8/{read}"


def test_a_name_without_telling_tokens_still_means_all_of_the_ends(int8: Int8Embedder) -> None:
    former = Int8Embedder.named("all-MiniLM-L6-v2/int8/24+words")
    assert former is not None
    text = "Is it so that what I have to do with it is of the same kind as what is due by a tenant of hers?"
    ids = int8._tokenizer.encode(text).ids
    ends = np.array([ids[:12] + ids[-12:]], np.int32)
    assert len(ids) > ends.size
    sentence = int8._session.run(None, {"ids": ends})[0][0]
    np.testing.assert_allclose(former.encode([text])[0, :384] * np.sqrt(2), sentence, atol=1e-5)


def test_the_sentence_is_read_without_the_words_that_tell_least(int8: Int8Embedder) -> None:
    telling = "fever cough vaccine surgery kidney tumor asthma insulin artery lung liver clinic bone skin"
    texts = [f"of the {telling} that is", telling]
    np.testing.assert_array_equal(*int8.encode(texts)[:, :384])
    all_of_it = Int8Embedder(ENDS_TOKENS, None).encode(texts)[:, :384]
    assert cosine(*all_of_it) < 0.999


@pytest.mark.parametrize(
    "name",
    [
        "all-MiniLM-L6-v2",
        "all-MiniLM-L6-v2/int8",
        "all-MiniLM-L6-v2/int8/024",
        "all-MiniLM-L6-v2/int8/32/",
        "x",
    ],
)
def test_other_names_are_not_its_own(name: str) -> None:
    assert Int8Embedder.named(name) is None


@pytest.mark.parametrize(
    ("ends", "telling"), [(0, None), (3, None), (257, None), (32, 3), (32, 32), (257, 16), (10, 16)]
)
def test_numbers_of_tokens_that_cannot_be_are_refused(ends: int, telling: int | None) -> None:
    with pytest.raises(RouterError, match="expected 4 to 256"):
        Int8Embedder(ends, telling)


def test_quantised_columns_are_near_and_leave_room_for_pairs() -> None:
    matrix = np.random.default_rng(0).standard_normal((64, 5)).astype(np.float32)
    matrix[:, 3] = 0
    integers, scales = quantise(matrix)
    assert np.abs(integers).max() <= 63
    np.testing.assert_allclose(integers * scales, matrix, atol=float(scales.max()) / 2 + 1e-6)


def test_an_embedder_goes_when_nobody_holds_it() -> None:
    """At once, not when Python's collector comes round to it: its word vectors alone are 47 MB."""
    embedder = Int8Embedder()
    embedder.encode(QUESTIONS)
    gone = weakref.ref(embedder)
    gc.disable()
    try:
        del embedder
        assert gone() is None
    finally:
        gc.enable()
