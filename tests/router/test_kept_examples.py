"""Examples beside a router: what comes back, what is refused."""

from pathlib import Path

import pytest

from crma_adapters.errors import RouterError
from crma_router.classifier.kept_examples import MOST_KEPT, load_examples, save_examples
from crma_router.router import RouterData

DATA = RouterData({"medical": ["a fever?", "a cough?"], "legal": ["a tort?", "née — 法?"]}, ["hello"])


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    save_examples(DATA, tmp_path)
    kept = load_examples(tmp_path)
    assert {name: sorted(texts) for name, texts in DATA.examples.items()} == kept.examples
    assert kept.out_of_domain == ["hello"]


def test_the_order_of_questions_makes_no_difference(tmp_path: Path) -> None:
    save_examples(DATA, tmp_path)
    once = (tmp_path / "examples.jsonl").read_bytes()
    turned = {name: texts[::-1] * 2 for name, texts in reversed(DATA.examples.items())}
    save_examples(RouterData(turned, DATA.out_of_domain), tmp_path)
    assert (tmp_path / "examples.jsonl").read_bytes() == once


def test_lone_surrogates_and_line_ends_survive_as_text(tmp_path: Path) -> None:
    save_examples(RouterData({"medical": ["a \ud800 b", "one\ntwo\u2028three"]}, []), tmp_path)
    assert load_examples(tmp_path).examples["medical"] == ["a ? b", "one\ntwo\u2028three"]


def test_no_more_than_so_many_of_a_domain(tmp_path: Path) -> None:
    save_examples(RouterData({"medical": [f"question {at}" for at in range(MOST_KEPT + 10)]}, []), tmp_path)
    assert len(load_examples(tmp_path).examples["medical"]) == MOST_KEPT


def test_a_router_without_them(tmp_path: Path) -> None:
    with pytest.raises(RouterError, match="without its examples"):
        load_examples(tmp_path)


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"domain": 1, "text": "x"}', b'{"text": "x"}', b"\xff"])
def test_a_damaged_file_is_refused(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "examples.jsonl").write_bytes(b'{"domain": "a", "text": "x"}\n' + line + b"\n")
    with pytest.raises(RouterError, match=r"examples.jsonl:2"):
        load_examples(tmp_path)
