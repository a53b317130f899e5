"""A saved router decides as before, and nothing damaged or foreign is loaded."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from crma_adapters.errors import RouterError
from crma_router.classifier.artifact import (
    DOCUMENT_NAME,
    TENSORS_NAME,
    EarlierRouterError,
    is_earlier,
    load_model,
)
from crma_router.encoders.base import Embedder
from crma_router.router import Router, RouterData

Change = Callable[[Path], None]


@pytest.fixture
def saved(router: Router, tmp_path: Path) -> Path:
    router.save(tmp_path / "router")
    return tmp_path / "router"


def test_a_loaded_router_decides_exactly_as_the_fitted_one(
    router: Router, saved: Path, embedder: Embedder, unseen: RouterData
) -> None:
    loaded = Router.load(saved, embedder)
    texts = ["", *unseen.out_of_domain, *unseen.examples["code"], *unseen.examples["legal"]]
    assert loaded.route_many(texts) == router.route_many(texts)
    assert loaded.model.report == router.model.report


def test_saving_again_gives_the_same_bytes(saved: Path, embedder: Embedder) -> None:
    Router.load(saved, embedder).save(saved.parent / "again")
    for name in (DOCUMENT_NAME, TENSORS_NAME):
        assert (saved / name).read_bytes() == (saved.parent / "again" / name).read_bytes()


def document(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        content = json.loads((folder / DOCUMENT_NAME).read_bytes())
        change(content)
        (folder / DOCUMENT_NAME).write_text(json.dumps(content))

    return apply


def tensors(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(folder: Path) -> None:
        content = load_file(folder / TENSORS_NAME)
        change(content)
        save_file(content, folder / TENSORS_NAME)

    return apply


def replaced(name: str, data: bytes) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return apply


@pytest.mark.parametrize("number", [1, 2])
def test_a_router_of_an_earlier_release_is_told_apart(saved: Path, number: int) -> None:
    assert not is_earlier(saved)
    document(lambda it: it.update(format=number))(saved)
    assert is_earlier(saved)
    with pytest.raises(EarlierRouterError, match="crma-route --adapters DIR upgrade"):
        load_model(saved)
    assert not is_earlier(saved.parent / "nothing")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / DOCUMENT_NAME).unlink(), "is missing"),
        (lambda folder: (folder / TENSORS_NAME).unlink(), "is missing"),
        (replaced(DOCUMENT_NAME, b"{"), "not JSON"),
        (replaced(TENSORS_NAME, b"\x80\x04" + pickle.dumps({"weight": 1})), "pickle"),
        (document(lambda it: it.update(format=4)), "format 4"),
        (document(lambda it: it.update(surprise=1)), "surprise"),
        (document(lambda it: it.pop("temperature")), "temperature"),
        (document(lambda it: it.update(temperature=0.0)), "temperature"),
        (document(lambda it: it["ood"]["log_odds"].update(deviation=0.0)), "deviation"),
        (document(lambda it: it.update(domains=["code", "code", "legal"])), "distinct names"),
        (document(lambda it: it.update(domains=["code", "legal", "../x"])), "distinct names"),
        (document(lambda it: it.update(domains=["code", "legal"])), "expected"),
        (document(lambda it: it["ood"].update(log_odds=None)), "contradicts"),
        (document(lambda it: it["ood"].update(log_odds=None, unlikeness=None)), "contradicts"),
        (tensors(lambda it: it["weight"].fill(np.nan)), "NaN or Inf"),
        (tensors(lambda it: it.pop("bias")), "expected"),
        (tensors(lambda it: it.pop("rows.packed")), "expected"),
        (tensors(lambda it: it.update(extra=np.zeros(1, np.float32))), "extra"),
        (tensors(lambda it: it.update(bias=it["bias"].astype(np.float64))), "float64"),
        (tensors(lambda it: it.update({"rows.packed": it["rows.packed"][:, :-1].copy()})), "expected"),
        (tensors(lambda it: it["rows.labels"].fill(9)), "rows.labels"),
        (tensors(lambda it: it["rows.labels"].fill(-1)), "rows.labels"),
        (tensors(lambda it: it.update({"roles.output": it["roles.output"][:-1].copy()})), "expected"),
    ],
)
def test_a_damaged_router_is_refused(saved: Path, damage: Change, said: str) -> None:
    damage(saved)
    with pytest.raises(RouterError, match=said):
        load_model(saved)


def test_truncated_tensors_are_refused(saved: Path) -> None:
    data = (saved / TENSORS_NAME).read_bytes()
    for length in (0, 4, 100, len(data) - 1):
        (saved / TENSORS_NAME).write_bytes(data[:length])
        with pytest.raises(RouterError):
            load_model(saved)


def test_a_symlink_is_refused(saved: Path) -> None:
    (saved / DOCUMENT_NAME).rename(saved.parent / "elsewhere.json")
    (saved / DOCUMENT_NAME).symlink_to(saved.parent / "elsewhere.json")
    with pytest.raises(RouterError, match="symlink"):
        load_model(saved)
