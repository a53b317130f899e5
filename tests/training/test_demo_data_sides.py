"""Near-duplicates lie on one side; judged fields are only ever asked."""

from crma_training.demo_data.rows import Query
from crma_training.demo_data.sides import DemoQueries, Labelled, RouterSizes, drawn

WORDS = [f"{first}{second}" for first in "bcdfghklmn" for second in ("ana", "oro", "ulu", "ini")]


def labelled(text: str, label: str, field: str = "", judged: str = "") -> Labelled:
    return Labelled(Query(text, "pyserini==0.21.0:nq", text, "licence"), label, field, judged)


def both_ways(label: str, field: str = "", judged: str = "") -> list[Labelled]:
    """Every word asked about in two ways that say the same."""
    asked = [(f"what is {label} {word}", f"{label} {word} meaning") for word in WORDS]
    return [labelled(text, label, field, judged) for pair in asked for text in pair]


def words_of(queries: list[Query]) -> set[str]:
    return {word for query in queries for word in query.question.split() if word in WORDS}


def split(sizes: RouterSizes | None = None) -> DemoQueries:
    neighbours = [labelled(f"{word} next door", "out_of_domain", "next", "near") for word in WORDS]
    known = [labelled(f"{word} on the roof", "out_of_domain", "roof") for word in WORDS]
    far = [labelled(f"{word} far off", "out_of_domain", "off", "far") for word in WORDS]
    return drawn([*both_ways("legal"), *neighbours, *known, *far], sizes or RouterSizes(domain=1000))


def test_near_duplicates_do_not_cross() -> None:
    legal = split().routed["legal"]
    assert words_of(legal.train) | words_of(legal.evaluation) == set(WORDS)
    assert not words_of(legal.train) & words_of(legal.evaluation)
    assert 10 < len(words_of(legal.train)) < 30


def test_judged_fields_are_only_asked() -> None:
    found = split()
    assert {query.field for query in found.near} == {"next"}
    assert {query.field for query in found.far} == {"off"}
    outside = found.routed["out_of_domain"]
    assert outside.train and all("roof" in query.question for query in outside.train)
    assert not outside.evaluation


def test_a_judged_query_that_says_what_is_trained_on_is_left_out() -> None:
    trained = split().routed["out_of_domain"].train[0]
    copy = labelled(trained.question + " the", "out_of_domain", "next", "near")
    again = drawn([labelled(trained.question, "out_of_domain", "roof"), copy], RouterSizes())
    assert not again.near


def test_what_was_written_to_fit_on_is_never_asked_nor_what_says_the_same() -> None:
    plain = split()
    asked = plain.routed["legal"].evaluation[0].question
    own = Query(f"{asked} the", "crma", "asked_to_fit:legal:0", "licence")
    legal = drawn([*both_ways("legal"), Labelled(own, "legal", fitted=True)], RouterSizes(domain=3)).routed[
        "legal"
    ]
    assert own in legal.train and len(legal.train) == 4  # beside the three that the size allows
    assert not words_of([own]) & words_of(legal.evaluation)


def test_sizes_are_kept_to() -> None:
    found = split(RouterSizes(domain=5, field=3))
    legal = found.routed["legal"]
    assert (len(legal.train), len(legal.evaluation), len(found.near)) == (5, 5, 3)
