import pytest

from crma_eval.learning.ablation.score import is_right, mentions, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Arthralgia.", "arthralgia"),
        ("  The\tIndian \n Rupee ", "indian rupee"),
        ("**Cheilitis**", "cheilitis"),
        ("`dict.get()`", "dict.get"),
        ("“Sol”", "sol"),
        ("S.D. Ind.", "s.d. ind"),
        ("Geo. Mason L. Rev.", "geo. mason l. rev"),
        ("Ｑ35", "q35"),
        ("Int’l Law", "int'l law"),
        ("A. Smith", "a. smith"),
        ("vitamin A", "vitamin a"),
        ("A", "a"),
        ("The", "the"),
        ("...", "..."),
        ("- five", "five"),
        ("-5", "-5"),
        ("(−5)", "-5"),
        (".5", ".5"),
        ("5%", "5%"),
        ("C#", "c#"),
        ("Na+", "na+"),
        ("1,000", "1,000"),
        ("072", "072"),
        ("__init__", "__init__"),
        ("", ""),
    ],
)
def test_normalised_as_by_hand(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("the Kuwaiti dinar.", "Kuwaiti Dinar"),
        ("Bankr. S.D. Tex", "Bankr. S.D. Tex."),
        ("'bytes.isascii'", "bytes.isascii"),
        ("q35", "Q35"),
        ("straße", "STRASSE"),
    ],
)
def test_right_for_its_meaning_whatever_its_dress(answer: str, gold: str) -> None:
    assert is_right(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("S.D. Cal.", "S.D. Ind."),
        ("dict.pop", "dict.get"),
        ("dict get", "dict.get"),
        ("Q3", "Q35"),
        ("72", "072"),
        ("5", "-5"),
        ("It is 115.", "115"),
        ("Hepatitis", "Hepatitis A"),
        (
            "Indiana International and Comparative Law Review",
            "Indiana International & Comparative Law Review",
        ),
        ("", "Sol"),
    ],
)
def test_near_is_not_right(answer: str, gold: str) -> None:
    assert not is_right(answer, gold)


def test_mentioned_as_words_of_its_own_only() -> None:
    assert mentions("The atomic number is 115.", "115")
    assert mentions("I'd call dict.get() here", "dict.get")
    assert not mentions("It is 1155.", "115")
    assert not mentions("consolation", "Sol")
