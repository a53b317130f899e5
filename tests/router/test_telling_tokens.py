"""Which tokens of a text are kept."""

from hypothesis import given
from hypothesis import strategies as st

from crma_router.encoders.telling_tokens import TellingTokens

VOCABULARY = {"[CLS]": 1, "[SEP]": 2, "of": 10, "##s": 11, "##itis": 12, "fever": 50, "derm": 60, "rash": 70}
CLS, SEP, OF, S, ITIS, FEVER, DERM, RASH = VOCABULARY.values()


def test_a_text_within_the_budget_stays_as_it_is() -> None:
    ids = [CLS, OF, OF, FEVER, SEP]
    assert TellingTokens(VOCABULARY).of(ids, 5) == ids


def test_the_rarest_words_are_kept_in_their_order() -> None:
    telling = TellingTokens(VOCABULARY)
    assert telling.of([CLS, OF, RASH, OF, FEVER, DERM, SEP], 5) == [CLS, RASH, FEVER, DERM, SEP]
    assert telling.of([CLS, OF, RASH, OF, FEVER, DERM, SEP], 4) == [CLS, RASH, DERM, SEP]


def test_a_piece_is_as_rare_as_its_word() -> None:
    telling = TellingTokens(VOCABULARY)
    assert telling.of([CLS, FEVER, OF, DERM, ITIS, SEP], 4) == [CLS, DERM, ITIS, SEP]
    assert telling.of([CLS, OF, S, FEVER, SEP], 3) == [CLS, FEVER, SEP]


def test_a_word_said_again_tells_nothing_more() -> None:
    telling = TellingTokens(VOCABULARY)
    assert telling.of([CLS, RASH, OF, RASH, RASH, SEP], 4) == [CLS, RASH, OF, SEP]
    assert telling.of([CLS, RASH, RASH, RASH, RASH, SEP], 5) == [CLS, RASH, RASH, RASH, SEP]


@given(st.lists(st.sampled_from([OF, S, ITIS, FEVER, DERM, RASH]), max_size=60), st.integers(2, 50))
def test_the_ends_are_kept_and_the_budget_is_used(inner: list[int], budget: int) -> None:
    ids = [CLS, *inner, SEP]
    kept = TellingTokens(VOCABULARY).of(ids, budget)
    assert (kept[0], kept[-1], len(kept)) == (CLS, SEP, min(len(ids), budget))
    left = iter(ids)
    assert all(token in left for token in kept)  # a subsequence: in their order
