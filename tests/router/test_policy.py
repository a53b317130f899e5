"""Decisions and the sentences that give their reasons."""

from hypothesis import given
from hypothesis import strategies as st

from crma_router.policy import ClassifierOutput, Policy, decide

SURE = ClassifierOutput({"legal": 0.03, "medical": 0.95}, ood_distance=0.4, ood_threshold=1.7)


def test_the_leading_domain_is_followed() -> None:
    decision = decide(SURE, Policy())
    assert (decision.domain, decision.path, decision.cause) == ("medical", "routed", "sure")
    assert decision.confidence == 0.95
    assert decision.reason == (
        "medical leads with 0.95, legal follows with 0.03, and the text is like what the domains know "
        "(distance 0.40, up to 1.70 is inside)"
    )


def test_a_text_outside_falls_back_however_sure_the_classifier_is() -> None:
    decision = decide(ClassifierOutput(SURE.scores, ood_distance=1.71, ood_threshold=1.7), Policy())
    assert (decision.domain, decision.path, decision.cause) == (None, "fallback", "out of domain")
    assert decision.reason == (
        "the text is unlike what the domains know (distance 1.71, up to 1.70 is inside); "
        "medical leads with 0.95"
    )


def test_a_close_call_falls_back() -> None:
    decision = decide(
        ClassifierOutput({"legal": 0.45, "medical": 0.44}, 0.0, 1.0), Policy(min_confidence=0.5)
    )
    assert (decision.domain, decision.cause, decision.confidence) == (None, "unsure", 0.45)
    assert "legal leads with 0.45, medical follows with 0.44, 0.50 is needed" in decision.reason


def test_without_words_it_falls_back() -> None:
    decision = decide(ClassifierOutput(SURE.scores, 0.0, 1.0, has_words=False), Policy())
    assert (decision.domain, decision.cause, decision.reason) == (
        None,
        "no words",
        "there are no words to route by",
    )


def test_a_single_domain_has_no_follower() -> None:
    assert decide(ClassifierOutput({"medical": 1.0}, 0.0, 1.0), Policy()).reason.startswith(
        "medical leads with 1.00, and"
    )


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1),
    st.floats(-5, 5),
    st.floats(-5, 5),
    st.floats(0, 1),
)
def test_routed_means_inside_and_sure(
    scores: dict[str, float], distance: float, threshold: float, least: float
) -> None:
    decision = decide(ClassifierOutput(scores, distance, threshold), Policy(least))
    routed = distance <= threshold and max(scores.values()) >= least
    assert (
        (decision.path == "routed") == routed == (decision.domain is not None) == (decision.cause == "sure")
    )
    assert decision.confidence == max(scores.values())
    assert decision.domain is None or scores[decision.domain] == decision.confidence
