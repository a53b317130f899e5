"""What says nearly the same is one group."""

import pytest

from crma_training.demo_data.clusters import clusters, telling_words


def test_plain_words_do_not_tell() -> None:
    assert telling_words("What is the gravity?") == {"gravity"}
    assert telling_words("What is it?") == {"what", "is", "it"}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("How do I invest in stocks?", "how to invest money in stocks", True),
        ("What is gravity?", "gravity", True),
        ("Is alpha a disease?", "Is beta a disease?", False),
        ("как дела", "где суд", False),
        ("как дела", "Как дела", True),
    ],
)
def test_groups_of_two(one: str, other: str, alike: bool) -> None:
    assert clusters([one, other]) == [0, 0 if alike else 1]


def test_likeness_is_carried_on_and_the_first_names_the_group() -> None:
    chain = ["red green blue", "x y", "red green blue white", "green blue white", "blue white brown"]
    assert clusters(chain) == [0, 1, 0, 0, 4]


def test_every_pair_over_the_threshold_is_found() -> None:
    words = ["a1", "b1", "c1", "d1", "e1", "f1"]
    texts = [" ".join(w for at, w in enumerate(words) if mask >> at & 1) for mask in range(1, 64)]
    found = clusters(texts)
    sets = [telling_words(text) for text in texts]
    for one, left in enumerate(sets):
        for other, right in enumerate(sets):
            if len(left & right) >= 0.6 * len(left | right):
                assert found[one] == found[other]
