"""The texts are as long as they say, and new."""

import pytest
from tokenizers import Tokenizer

from crma_adapters.models.packaged import embedder_path
from crma_eval.routing.latency.texts import WORDS, fresh_texts


def test_every_word_is_one_token() -> None:
    tokenizer = Tokenizer.from_file(str(embedder_path() / "tokenizer.json"))
    tokenizer.no_padding()
    longer = [word for word in WORDS if len(tokenizer.encode(word, add_special_tokens=False).ids) != 1]
    assert longer == []


@pytest.mark.parametrize("tokens", [8, 512])
def test_distinct_texts_of_that_length_the_same_for_a_seed(tokens: int) -> None:
    texts = fresh_texts(tokens, 300, 1)
    assert len(set(texts)) == 300
    assert {len(text.split()) for text in texts} == {tokens}
    assert texts == fresh_texts(tokens, 300, 1)
    assert not set(texts) & set(fresh_texts(tokens, 300, 2))
