"""A saved router decides as before, and nothing damaged or foreign is loaded."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from crma_adapters.errors import RouterError
from crma_router.classifier.artifact import DOCUMENT_NAME, TENSORS_NAME, load_model, save_model
from crma_router.classifier.domain_classifier import Judge
from crma_router.classifier.fit_head import PROTOTYPES
from crma_router.classifier.head import LinearHead, Prototypes
from crma_router.classifier.mahalanobis import MOST_DIRECTIONS, Mahalanobis
from crma_router.classifier.ood import Standard, Unlikeness
from crma_router.encoders.sentence_transformers import Embedder
from crma_router.router import Router, RouterData

LARGEST_BYTES = 2_000_000

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


def test_what_reads_the_words_is_kept(
    reader: Router, two_parts: Embedder, unseen: RouterData, tmp_path: Path
) -> None:
    reader.save(tmp_path)
    loaded = Router.load(tmp_path, two_parts)
    assert loaded.model.first is not None and reader.model.first is not None
    assert loaded.model.first.sure_from == reader.model.first.sure_from
    texts = [*unseen.out_of_domain, *unseen.examples["code"]]
    assert loaded.route_many(texts) == reader.route_many(texts)


def test_words_of_another_size_are_refused(reader: Router, two_parts: Embedder, tmp_path: Path) -> None:
    reader.save(tmp_path)
    model = load_model(tmp_path)
    assert model.first is not None
    head = model.first.judge.head
    assert head.prototypes is not None
    narrow = replace(head.prototypes, centres=head.prototypes.centres[:, 1:])
    judge = replace(model.first.judge, head=replace(head, prototypes=narrow))
    with pytest.raises(RouterError, match="gives 48 dimensions, the router was fitted on 47"):
        Router(replace(model, first=replace(model.first, judge=judge)), two_parts)


def test_five_domains_of_the_widest_embedder_are_small(router: Router, tmp_path: Path) -> None:
    domains, size = ("a", "b", "c", "d", "e"), 768  # sentence and words
    prototypes = Prototypes(np.zeros((6 * PROTOTYPES, size), np.float32), 6.0, (PROTOTYPES,) * 6, 40.0)
    weight = np.zeros((6, 6 * PROTOTYPES), np.float32)
    head = LinearHead(weight, np.zeros(6, np.float32), 1.0, True, prototypes)
    means, directions = np.zeros((5, size), np.float32), np.zeros((MOST_DIRECTIONS, size), np.float32)
    mahalanobis = Mahalanobis(means, directions, 1.0)
    unlikeness = Unlikeness(mahalanobis, Standard(0.0, 1.0))
    outside = replace(router.model.judge.outside, unlikeness=unlikeness)
    save_model(replace(router.model, judge=Judge(domains, head, outside)), tmp_path)
    assert load_model(tmp_path).judge.domains == domains
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < LARGEST_BYTES


def test_a_router_of_weights_alone_is_read_as_before(
    router: Router, embedder: Embedder, tmp_path: Path
) -> None:
    size = router.model.judge.head.size
    weight = np.ones((4, size), np.float32)
    head = LinearHead(weight, np.zeros(4, np.float32), 1.0, has_outside=True)
    save_model(replace(router.model, judge=replace(router.model.judge, head=head)), tmp_path)
    kept = json.loads((tmp_path / DOCUMENT_NAME).read_bytes())
    del kept["sharpness"]
    (tmp_path / DOCUMENT_NAME).write_text(json.dumps(kept))
    loaded = Router.load(tmp_path, embedder)
    assert loaded.model.judge.head.prototypes is None
    np.testing.assert_array_equal(loaded.model.judge.head.weight, weight)


def test_without_the_distance_its_tensors_are_not_kept(
    router: Router, embedder: Embedder, tmp_path: Path
) -> None:
    alone = replace(router.model.judge.outside, unlikeness=None)
    save_model(replace(router.model, judge=replace(router.model.judge, outside=alone)), tmp_path)
    assert set(load_file(tmp_path / TENSORS_NAME)) == {"weight", "bias", "prototypes"}
    expected = Router(replace(router.model, judge=replace(router.model.judge, outside=alone)), embedder)
    texts = ["the plaintiff and the lease", "a movie and dinner", "python"]
    assert Router.load(tmp_path, embedder).route_many(texts) == expected.route_many(texts)


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


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / DOCUMENT_NAME).unlink(), "is missing"),
        (lambda folder: (folder / TENSORS_NAME).unlink(), "is missing"),
        (replaced(DOCUMENT_NAME, b"{"), "not JSON"),
        (replaced(TENSORS_NAME, b"\x80\x04" + pickle.dumps({"weight": 1})), "pickle"),
        (document(lambda it: it.update(format=2)), "format 2"),
        (document(lambda it: it.update(surprise=1)), "surprise"),
        (document(lambda it: it.pop("temperature")), "temperature"),
        (document(lambda it: it.update(temperature=0.0)), "temperature"),
        (document(lambda it: it["far"].update(deviation=0.0)), "deviation"),
        (document(lambda it: it.update(domains=["code", "code", "legal"])), "distinct names"),
        (document(lambda it: it.update(domains=["code", "legal", "../x"])), "distinct names"),
        (document(lambda it: it.update(domains=["code", "legal"])), "expected"),
        (document(lambda it: it.update(log_odds=None)), "contradicts"),
        (document(lambda it: it.update(far=None)), "contradict one another"),
        (document(lambda it: it.update(far=None, precision=None)), "expected"),
        (document(lambda it: it.update(nearest=None)), "prototype_counts"),
        (document(lambda it: it.update(prototype_counts=None)), "prototype_counts"),
        (document(lambda it: it["prototype_counts"].append(1)), "prototype_counts"),
        (document(lambda it: it.update(prototype_counts=[0] * len(it["prototype_counts"]))), "greater"),
        (document(lambda it: it["prototype_counts"].__setitem__(0, 1)), "expected"),
        (document(lambda it: it.update(sharpness=None)), "prototype_counts"),
        (tensors(lambda it: it["weight"].fill(np.nan)), "NaN or Inf"),
        (tensors(lambda it: it.pop("means")), "expected"),
        (tensors(lambda it: it.update(extra=np.zeros(1, np.float32))), "extra"),
        (tensors(lambda it: it.update(bias=it["bias"].astype(np.float64))), "float64"),
        (tensors(lambda it: it.update(directions=it["directions"][:, :-1].copy())), "expected"),
        (tensors(lambda it: it.update(directions=it["directions"][0].copy())), "expected"),
    ],
)
def test_a_damaged_router_is_refused(saved: Path, damage: Change, said: str) -> None:
    damage(saved)
    with pytest.raises(RouterError, match=said):
        load_model(saved)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (document(lambda it: it.pop("first")), "of a first reading, of which"),
        (document(lambda it: it["first"].pop("sure_from")), "sure_from"),
        (document(lambda it: it["first"].update(sure_from=0.0)), "sure_from"),
        (document(lambda it: it["first"].update(log_odds=None)), "first reading: has_outside"),
        (tensors(lambda it: it.pop("first.bias")), "first reading: tensors"),
        (tensors(lambda it: it.update({"first.x": it["bias"]})), "first reading: tensors"),
        (tensors(lambda it: it["first.weight"].fill(np.inf)), "NaN or Inf"),
    ],
)
def test_a_damaged_reading_of_words_is_refused(
    reader: Router, tmp_path: Path, damage: Change, said: str
) -> None:
    reader.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(RouterError, match=said):
        load_model(tmp_path)


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
