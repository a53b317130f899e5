"""Counting what was routed right."""

from crma_router.cli.question_files import Labelled
from crma_router.cli.scores import score
from crma_router.router import Router, RouterData


def test_right_and_elsewhere_are_counted_by_domain(router: Router, data: RouterData) -> None:
    medical, chat = data.examples["medical"][:20], data.out_of_domain[:20]
    rows = [Labelled(text, "medical") for text in medical] + [Labelled(text, "legal") for text in medical]
    rows += [Labelled(text, None) for text in chat]
    scores = score(rows, router)
    assert (scores.questions, set(scores.domains)) == (60, {"medical", "legal", "none"})
    assert scores.domains["medical"].right >= 17
    assert scores.domains["legal"].right == 0
    assert scores.domains["legal"].elsewhere["medical"] == scores.domains["medical"].right
    assert scores.domains["none"].right >= 17
    assert scores.right == sum(one.right for one in scores.domains.values())
