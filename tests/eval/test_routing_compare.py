"""The rule that keeps a design, and the split it is applied on."""

from crma_eval.routing.compare import Scored, choose


def scored(design: str, score: float) -> Scored:
    return Scored("words", design, score, score, score, score, {})


def test_of_designs_within_the_tie_the_simplest_is_kept() -> None:
    designs = [scored("simple", 0.90), scored("middle", 0.956), scored("large", 0.96)]
    assert choose(designs).design == "middle"
    assert choose([*designs, scored("huge", 0.97)]).design == "huge"
