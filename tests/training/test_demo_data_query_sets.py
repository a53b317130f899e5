"""Small talk and the formats of the sets."""

from importlib.resources import files

from crma_training.demo_data.query_sets import asked, asked_to_fit, misjudged, opening_lines, small_talk
from crma_training.demo_data.rows import Query
from crma_training.demo_data.sentence import normalised


def test_small_talk_covers_greetings_and_thanks() -> None:
    said = {query.question.lower().rstrip("!?.") for query in small_talk()}

    assert {"hi", "hello", "how are you", "thanks", "tell me a joke", "bye"} <= said


def test_opening_lines_are_first_utterances_on_one_line() -> None:
    corpus = "- - Hello\n  - Hi\n- - 'It''s me'\n  - Oh\n- - A long\n    line\n  - Yes\n- - Hello\n  - Hey\n"

    assert opening_lines(corpus) == ["Hello", "It's me"]


def test_own_questions_are_of_the_five_domains_and_distinct() -> None:
    found = asked()
    assert set(found) == {"medical", "legal", "financial", "code", "science"}
    assert all(len(queries) >= 30 for queries in found.values())
    texts = [query.question.casefold() for queries in found.values() for query in queries]
    assert len(set(texts)) == len(texts)
    assert {query.source for queries in found.values() for query in queries} == {"crma"}


def test_questions_to_fit_on_are_none_of_those_that_are_asked() -> None:
    def texts(found: dict[str, list[Query]]) -> list[str]:
        return [normalised(query.question) for queries in found.values() for query in queries]

    own = asked_to_fit()
    assert set(own) == {*asked(), "out_of_domain"} and all(len(queries) >= 200 for queries in own.values())
    assert len(set(texts(own))) == len(texts(own)) and not set(texts(own)) & set(texts(asked()))


def test_misjudged_questions_are_listed_once() -> None:
    text = files("crma_training.demo_data").joinpath("misjudged.txt").read_text("utf-8")
    listed = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(misjudged()) == len(listed) >= 20 and all(line == line.strip() for line in listed)
