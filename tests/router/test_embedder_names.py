"""Which embedder a router's file means."""

from pathlib import Path

import pytest

from crma_adapters.errors import RouterError
from crma_router.encoders.names import open_embedder
from crma_router.encoders.onnx import Int8Embedder
from crma_router.encoders.sentence_transformers import DEFAULT_EMBEDDER, SentenceTransformerEmbedder


def test_a_budget_in_the_name_means_the_fast_one() -> None:
    opened = open_embedder("all-MiniLM-L6-v2/int8/32")
    assert isinstance(opened, Int8Embedder)
    assert opened.name == "all-MiniLM-L6-v2/int8/32"


def test_routers_of_former_releases_still_get_theirs() -> None:
    opened = open_embedder(DEFAULT_EMBEDDER)
    assert isinstance(opened, SentenceTransformerEmbedder)
    assert opened.name == DEFAULT_EMBEDDER


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RouterError, match="cannot be loaded"):
        open_embedder(str(tmp_path))
