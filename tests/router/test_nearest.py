"""Which examples a text is most like."""

from pathlib import Path

import pytest

from crma_adapters.errors import RouterError
from crma_router.classifier.kept_examples import save_examples
from crma_router.cli.nearest import nearest_examples
from crma_router.encoders.sentence_transformers import Embedder, Embeddings
from crma_router.router import RouterData


class OnceEmbedder:
    """Counts the calls that embed more than one text."""

    def __init__(self, embedder: Embedder) -> None:
        self.name = embedder.name
        self.encode_texts = embedder.encode
        self.batches = 0

    def encode(self, texts: list[str]) -> Embeddings:
        self.batches += len(texts) > 1
        return self.encode_texts(texts)


def test_the_nearest_come_first_and_examples_are_embedded_once(
    embedder: Embedder, data: RouterData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path / "cache"))
    save_examples(data, tmp_path)
    once = OnceEmbedder(embedder)
    asked = data.examples["legal"][0]
    for _ in range(2):
        first, *others = nearest_examples(tmp_path, once, asked, 3)
        assert (first.text, first.domain) == (asked, "legal")
        assert first.similarity == pytest.approx(1, abs=1e-2)
        assert len(others) == 2
        assert first.similarity >= others[0].similarity >= others[1].similarity
    assert once.batches == 1
    assert nearest_examples(tmp_path, embedder, data.out_of_domain[0], 1)[0].domain is None


def test_without_examples_there_are_none_to_show(embedder: Embedder, tmp_path: Path) -> None:
    with pytest.raises(RouterError, match="without its examples"):
        nearest_examples(tmp_path, embedder, "x", 1)
