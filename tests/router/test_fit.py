"""What a fitted router gets right on questions it has not seen, and that fitting is repeatable."""

from pathlib import Path

import numpy as np
import pytest

from crma_router.classifier.data import embed_examples
from crma_router.classifier.domain_classifier import ENOUGH_NONE
from crma_router.classifier.fit import ACCEPTANCE, FOLDS, _folds
from crma_router.encoders.base import Embedder
from crma_router.roles.role_classifier import everything_asked
from crma_router.router import Router, RouterData, fit_router


def fitted(data: RouterData, embedder: Embedder, seed: int = 0) -> Router:
    """Without a role classifier of its own, which takes seconds."""
    return fit_router(data, embedder, seed=seed, roles=everything_asked(48))


def routed(router: Router, texts: list[str], domain: str | None) -> float:
    return float(np.mean([decision.domain == domain for decision in router.route_many(texts)]))


def test_unseen_questions_reach_their_domain(router: Router, unseen: RouterData) -> None:
    shares = {name: routed(router, texts, name) for name, texts in unseen.examples.items()}
    assert shares.keys() == {"code", "legal", "medical"}
    assert min(shares.values()) > 0.8  # of 60 questions each: random words, no nearer to one another by topic
    assert np.mean(list(shares.values())) > 0.87


def test_unseen_small_talk_falls_back(router: Router, unseen: RouterData) -> None:
    assert routed(router, unseen.out_of_domain, None) > 0.85


def test_without_out_of_domain_examples_the_distance_alone_still_refuses(
    data: RouterData, unseen: RouterData, bare_chat: list[str], embedder: Embedder
) -> None:
    router = fitted(RouterData(data.examples, []), embedder)
    assert router.model.classifier.ood.log_odds is None
    assert routed(router, bare_chat, None) > 0.8
    assert np.mean([routed(router, texts, name) for name, texts in unseen.examples.items()]) > 0.87


def test_with_many_out_of_domain_examples_their_likeness_alone_decides(
    data: RouterData, unseen: RouterData, much_small_talk: list[str], embedder: Embedder
) -> None:
    assert len(set(much_small_talk)) >= ENOUGH_NONE
    router = fitted(RouterData(data.examples, much_small_talk), embedder)
    assert router.model.classifier.ood.unlikeness is None
    assert routed(router, unseen.out_of_domain, None) > 0.85
    assert routed(router, unseen.examples["legal"], "legal") > 0.8


def test_the_threshold_accepts_the_stated_share_of_unseen(router: Router, unseen: RouterData) -> None:
    decisions = [one for texts in unseen.examples.values() for one in router.route_many(texts)]
    inside = np.mean([one.ood_distance <= one.ood_threshold for one in decisions])
    assert inside == pytest.approx(ACCEPTANCE, abs=0.05)


def test_the_report_says_what_unseen_questions_confirm(
    more_data: tuple[RouterData, RouterData], embedder: Embedder
) -> None:
    data, more = more_data
    router = fitted(data, embedder)
    report = router.model.report
    assert report.examples == {"code": 150, "legal": 150, "medical": 150}
    assert report.out_of_domain == 150
    for name, texts in more.examples.items():
        unseen = sorted(set(texts) - set(data.examples[name]))
        assert report.routed[name] == pytest.approx(routed(router, unseen, name), abs=0.08)
    none = sorted(set(more.out_of_domain) - set(data.out_of_domain))
    assert report.fallback == pytest.approx(routed(router, none, None), abs=0.05)


def test_one_domain_and_out_of_domain_examples(
    data: RouterData, unseen: RouterData, embedder: Embedder
) -> None:
    router = fitted(RouterData({"legal": data.examples["legal"]}, data.out_of_domain), embedder)
    assert routed(router, unseen.examples["legal"], "legal") > 0.85
    assert routed(router, unseen.out_of_domain, None) > 0.85


def test_one_domain_alone(data: RouterData, unseen: RouterData, embedder: Embedder) -> None:
    router = fitted(RouterData({"legal": data.examples["legal"]}, []), embedder)
    assert routed(router, unseen.examples["legal"], "legal") > 0.8


def test_two_domains_keep_their_names(data: RouterData, unseen: RouterData, embedder: Embedder) -> None:
    pair = {name: data.examples[name] for name in ("medical", "code")}
    router = fitted(RouterData(pair, []), embedder)
    assert router.domains == ("code", "medical")
    assert routed(router, unseen.examples["medical"], "medical") > 0.85
    assert routed(router, unseen.examples["code"], "code") > 0.85


def test_the_same_questions_in_any_order_give_the_same_bytes(
    data: RouterData, embedder: Embedder, tmp_path: Path
) -> None:
    backwards = {name: texts[::-1] for name, texts in reversed(data.examples.items())}
    fitted(data, embedder, seed=3).save(tmp_path / "one")
    fitted(RouterData(backwards, data.out_of_domain[::-1]), embedder, seed=3).save(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_seed_changes_the_folds(data: RouterData, embedder: Embedder) -> None:
    thresholds = {fitted(data, embedder, seed=seed).model.classifier.ood.threshold for seed in (0, 1)}
    assert len(thresholds) == 2


def test_a_question_and_its_variants_lie_in_one_fold(data: RouterData, embedder: Embedder) -> None:
    examples = embed_examples(data, embedder)
    folds = list(_folds(examples, 0))
    assert len(folds) == FOLDS
    for fitted, held in folds:
        assert not set(examples.rows.originals[fitted]) & set(examples.rows.originals[held])
        assert len(fitted) + len(held) == len(examples.labels)
    assert sorted(row for _, held in folds for row in held) == list(range(len(examples.labels)))


def test_only_questions_as_given_are_reported(router: Router, data: RouterData) -> None:
    counts = {name: len(set(texts)) for name, texts in data.examples.items()}
    assert router.model.report.examples == counts
