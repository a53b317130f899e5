"""An embedder of words that needs no weights, and routers fitted with it in milliseconds."""

import itertools
import random
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest

from crma_router.encoders.base import Embeddings
from crma_router.roles.role_classifier import everything_asked
from crma_router.router import Router, RouterData, fit_router

TOPICS = {
    "code": "python function compile loop variable class exception library recursion pointer thread git",
    "legal": "court statute judge contract appeal tort plaintiff verdict lawyer constitution felony lease",
    "medical": "dose fever patient tumour vaccine symptom surgery artery diabetes virus rash asthma",
}
CHAT = "hello thanks joke weather movie dinner birthday song weekend holiday football recipe"
FRAMES = ("what is a {} and a {}", "tell me about {} with {}", "how does the {} change a {}", "{} or {}?")


@lru_cache(10_000)
def direction(word: str, size: int) -> Embeddings:
    """A random one, the same for the same word."""
    seed = zlib.crc32(word.encode("utf-8"))
    return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)


@dataclass(frozen=True)
class WordEmbedder:
    """Every word is a random direction of its own, a text the unit sum of its words."""

    name: str = "words"
    size: int = 48
    languages: frozenset[str] = frozenset()

    def encode(self, texts: list[str]) -> Embeddings:
        return np.stack([self._encode(text) for text in texts])

    def _encode(self, text: str) -> Embeddings:
        words = text.lower().replace("?", " ").split()
        sums = np.sum([direction(word, self.size) for word in ["", *words]], axis=0)
        return np.asarray(sums / np.linalg.norm(sums), dtype=np.float32)


def questions(words: str, count: int, seed: int) -> list[str]:
    """Distinct questions of two of the words each."""
    chance = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        made[chance.choice(FRAMES).format(*chance.sample(words.split(), 2))] = None
    return list(made)


def sample(count: int, seed: int) -> RouterData:
    """`count` questions of each topic, and as many of none."""
    examples = {name: questions(words, count, seed) for name, words in TOPICS.items()}
    return RouterData(examples, questions(CHAT, count, seed))


@pytest.fixture(scope="session")
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture(scope="session")
def data() -> RouterData:
    return sample(60, 1)


@pytest.fixture(scope="session")
def unseen() -> RouterData:
    """More questions like those of `data`."""
    return sample(120, 2)


@pytest.fixture(scope="session")
def more_data() -> tuple[RouterData, RouterData]:
    """150 questions of each, and others of the same kind."""
    return sample(150, 1), sample(150, 2)


@pytest.fixture(scope="session")
def bare_chat() -> list[str]:
    """Words of small talk in no frame that questions share."""
    return [" ".join(words) for words in itertools.combinations(CHAT.split(), 3)]


@pytest.fixture(scope="session")
def router(data: RouterData, embedder: WordEmbedder) -> Router:
    return fit_router(data, embedder, roles=everything_asked(embedder.size))


@pytest.fixture(scope="session")
def much_small_talk() -> list[str]:
    """510 out-of-domain questions."""
    return questions(CHAT, 510, 3)
