"""Files as people have them: read as what they mean, or refused with file, line and what to do."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from crma_adapters.errors import ConfigError, DataError
from crma_training.data.checks.run import run_checks
from crma_training.data.dataset import load_dataset, load_domain
from crma_training.data.formats import parse_columns
from crma_training.data.rows import Row
from crma_training.data.sources import read_rows

QA = {"question": "What is 4?", "answer": "Even."}
TURNS = [{"role": "user", "content": "What is 4?"}, {"role": "assistant", "content": "Even."}]
SAID = [("user", "What is 4?"), ("assistant", "Even.")]
SYSTEM = ("system", "Be brief.")
CALL = {"id": "c1", "type": "function", "function": {"name": "parity", "arguments": '{"n": 4}'}}
TOOL_TURNS = [
    TURNS[0],
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "even"},
    TURNS[1],
]
PARTS = [{"type": "text", "text": "What is "}, {"type": "text", "text": "4?"}]
SHAREGPT = [{"from": "human", "value": "What is 4?"}, {"from": "gpt", "value": "Even."}]
ALPACA = {"instruction": "What is 4?", "input": "", "output": "Even."}
LATE = {"role": "system", "content": "x"}
TOOLS = [{"type": "function", "function": {"name": "parity", "parameters": {}}}]


def lines(*rows: object, end: str = "\n") -> bytes:
    return end.join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def table(*rows: list[str], delimiter: str = ",") -> bytes:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue().encode()


def said(row: Row) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in row.messages]


@pytest.mark.parametrize(
    ("name", "content", "form", "expected"),
    [
        ("qa.jsonl", lines(QA), "question/answer", SAID),
        ("system.jsonl", lines({**QA, "system": "Be brief."}), "question/answer", [SYSTEM, *SAID]),
        ("bom.jsonl", b"\xef\xbb\xbf" + lines(QA), "question/answer", SAID),
        ("crlf.jsonl", lines(QA, QA, end="\r\n") + b"\r\n", "question/answer", SAID),
        (
            "separator.jsonl",
            lines({**QA, "answer": "Even.\u2028Yes.\u0085"}),
            "question/answer",
            [SAID[0], ("assistant", "Even.\u2028Yes.\u0085")],
        ),
        ("openai.jsonl", lines({"messages": TURNS}), "messages", SAID),
        (
            "developer.jsonl",
            lines({"messages": [{"role": "developer", "content": "Be brief."}, *TURNS]}),
            "messages",
            [SYSTEM, *SAID],
        ),
        (
            "parts.jsonl",
            lines(
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "text", "text": "What is 4?"}]},
                        TURNS[1],
                    ]
                }
            ),
            "messages",
            SAID,
        ),
        (
            "tools.jsonl",
            lines({"messages": TOOL_TURNS, "tools": TOOLS}),
            "messages",
            [SAID[0], ("assistant", ""), ("tool", "even"), SAID[1]],
        ),
        (
            "sharegpt.json",
            lines(
                [
                    {
                        "conversations": [
                            {"from": "human", "value": "What is 4?"},
                            {"from": "gpt", "value": "Even."},
                        ]
                    }
                ]
            ),
            "sharegpt",
            SAID,
        ),
        (
            "alpaca.json",
            lines([ALPACA]),
            "alpaca",
            SAID,
        ),
        (
            "alpaca-input.json",
            lines({"data": [{"instruction": "Is it even?", "input": "4", "output": "Even."}]}),
            "alpaca",
            [("user", "Is it even?\n\n4"), SAID[1]],
        ),
        ("lines.json", lines(QA, QA), "question/answer", SAID),
        ("pair.jsonl", lines({"prompt": "What is 4?", "completion": "Even."}), "prompt/completion", SAID),
        (
            "trl.jsonl",
            lines({"prompt": TURNS[:1], "completion": TURNS[1:]}),
            "prompt/completion",
            SAID,
        ),
        ("text.jsonl", lines({"text": "Four is even."}), "text", [("text", "Four is even.")]),
        ("table.csv", table(["question", "answer"], ["What is 4?", "Even."]), "question/answer", SAID),
        (
            "numbers.csv",
            table(["question", "answer"], ["What is 4, or 5?", "007"]),
            "question/answer",
            [("user", "What is 4, or 5?"), ("assistant", "007")],
        ),
        (
            "table.tsv",
            table(["instruction", "output"], ["What is 4?", "Even."], delimiter="\t"),
            "alpaca",
            SAID,
        ),
        ("cells.csv", table(["messages"], [json.dumps(TURNS)]), "messages", SAID),
    ],
)
def test_a_file_is_read_as_what_it_means(
    tmp_path: Path, name: str, content: bytes, form: str, expected: list[tuple[str, str]]
) -> None:
    (tmp_path / name).write_bytes(content)
    rows = read_rows(tmp_path / name)
    assert said(rows[0]) == expected
    assert rows[0].form == form
    assert rows[0].unused == ()


def test_parquet_gives_every_row_every_field_and_is_read_like_jsonl(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": TOOL_TURNS, "tools": None}, {"messages": TURNS, "tools": None}]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "rows.parquet"))
    (tmp_path / "rows.jsonl").write_bytes(lines(*rows))
    from_parquet, from_lines = (read_rows(tmp_path / f"rows.{kind}") for kind in ("parquet", "jsonl"))
    assert [row.messages for row in from_parquet] == [row.messages for row in from_lines]
    assert from_parquet[1].where == f"{tmp_path / 'rows.parquet'}:2"


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([TURNS[0], TURNS[0], TURNS[1]], r"messages\[1\]: a user's turn after 'user'; join them"),
        ([TURNS[1], TURNS[0], TURNS[1]], r"messages\[0\]: no question"),
        ([*TURNS, TURNS[1]], r"messages\[2\]: an assistant's turn after another"),
        (
            [*TURNS, {"role": "system", "content": "x"}, *TURNS],
            r"messages\[2\]: a system message after 'assistant'",
        ),
        ([TOOL_TURNS[0], TOOL_TURNS[1], TURNS[1]], r"messages\[2\]: an assistant's turn after tool_calls"),
        (
            [TURNS[0], {"role": "tool", "content": "x"}, TURNS[1]],
            r"messages\[1\]: a tool's result after",
        ),
        (
            [{"role": "human", "content": "x"}, TURNS[1]],
            r"messages\[0\] has role 'human'; expected",
        ),
        ([TURNS[0], {**TURNS[1], "weight": 0}], "nothing to learn; every assistant's message has weight 0"),
        ([TURNS[0], {**TURNS[1], "weight": 0.5}], r"messages\[1\] has weight 0.5; expected 0 or 1"),
        ([{**TURNS[0], "weight": 0}, TURNS[1]], r"messages\[0\] has weight 0; .*in an assistant's"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, TURNS[1]],
            r"messages\[0\] has content of type image_url; only text",
        ),
    ],
)
def test_turns_out_of_order_are_refused_by_name(tmp_path: Path, turns: list[object], message: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines(QA, {"messages": turns}))
    with pytest.raises(DataError, match=rf"rows\.jsonl:2: {message}"):
        read_rows(tmp_path / "rows.jsonl")


def test_weight_0_and_the_last_turn_say_what_is_learnt(tmp_path: Path) -> None:
    turns = [TURNS[0], {**TURNS[1], "weight": 0}, TURNS[0], TURNS[1], TURNS[0], {**TURNS[1], "weight": 1}]
    (tmp_path / "rows.jsonl").write_bytes(lines({"messages": turns}))
    (row,) = read_rows(tmp_path / "rows.jsonl")
    assert row.learnt("all") == (3, 5)
    assert row.learnt("last") == (5,)


def test_columns_are_mapped_and_a_wrong_flag_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(table(["Frage", "Antwort", "Nr"], ["Was ist 4?", "Gerade.", "1"]))
    (row,) = read_rows(tmp_path / "rows.csv", parse_columns("question=Frage,answer=Antwort"))
    assert said(row) == [("user", "Was ist 4?"), ("assistant", "Gerade.")]
    assert row.unused == ("Nr",)
    with pytest.raises(DataError, match=r"rows\.csv:2: fields Frage, Antwort, Nr: no known format"):
        read_rows(tmp_path / "rows.csv")
    for wrong in ("question", "frage=question", "question="):
        with pytest.raises(ConfigError, match="expected FIELD=COLUMN"):
            parse_columns(wrong)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cells.csv", b"question,answer\nWhat is 4, or 5?,Even.\n", r"cells\.csv:2: more or fewer cells"),
        ("half.csv", b"question,answer\nWhat is 4?\n", r"half\.csv:2: more or fewer cells"),
        ("latin.csv", "question,answer\nWas?,Käse\n".encode("latin-1"), r"latin\.csv: not UTF-8 at byte 22"),
        ("wide.jsonl", lines(QA).decode().encode("utf-16"), r"wide\.jsonl:1: not UTF-8, byte 0xff"),
        ("scalar.json", b"3", r"scalar\.json\[0\]: int instead of an object"),
        ("broken.parquet", b"PAR1 no", r"broken\.parquet: not a Parquet file"),
        ("nested.jsonl", b"[" * 100_000, r"nested\.jsonl:1: broken JSON"),
        ("prompt.jsonl", lines({"prompt": "x"}), r"prompt\.jsonl:1: no completion"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / name)


def test_an_unknown_field_is_named_by_check(tmp_path: Path) -> None:
    rows = [{**QA, "question": f"What is {n}?", "topic": "maths"} for n in range(3)]
    rows.append({"messages": [{**TURNS[0], "sender": "x"}, TURNS[1]]})  # type: ignore[dict-item]
    (tmp_path / "maths.jsonl").write_bytes(lines(*rows))
    found = [f for f in run_checks(tmp_path).findings if f.kind == "unknown-field"]
    assert [(f.severity, f.where.rpartition(":")[2]) for f in found] == [("warning", "1"), ("warning", "4")]
    assert "of 3 rows is not used (read as question/answer)" in found[0].detail
    assert {f.detail.split("'")[1] for f in found} == {"topic", "messages[].sender"}


def test_a_folder_as_the_hub_stores_it_and_a_manifest_that_names_a_source(tmp_path: Path) -> None:
    (tmp_path / "maths").mkdir()
    for part, count in (("train-00000-of-00002", 3), ("train-00001-of-00002", 2), ("test-00000-of-00001", 1)):
        rows = [{**QA, "question": f"What is {part} {n}?"} for n in range(count)]
        Dataset.from_list(rows).to_parquet(str(tmp_path / "maths" / f"{part}.parquet"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "law.csv").write_bytes(
        table(["Frage", "Antwort"], *[[f"Was ist Paragraph {n}?", "Recht."] for n in range(12)])
    )
    source = {"source": "elsewhere/law.csv", "columns": {"question": "Frage", "answer": "Antwort"}}
    (tmp_path / "manifest.json").write_text(json.dumps({"domains": {"law": source, "maths": {}}}))
    data = load_dataset(tmp_path)
    assert [domain.name for domain in data.domains] == ["law", "maths"]
    assert [len(part) for d in data.domains for part in (d.train, d.holdout)] == [11, 1, 5, 1]


def test_conversations_that_end_in_the_same_turn_are_different_questions(tmp_path: Path) -> None:
    topics = ["rivers", "kings", "verbs", "metals", "operas", "planets", "breads", "knots", "dyes", "moths"]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Tell me about {topic}."},
                {"role": "assistant", "content": f"Gladly: {topic}."},
                {"role": "user", "content": "Go on."},
                {"role": "assistant", "content": f"There is more to say about {topic}."},
            ]
        }
        for topic in topics
    ]
    (tmp_path / "talk.jsonl").write_bytes(lines(*rows))
    domain = load_domain(tmp_path, "talk")
    assert len(domain.train) == 9
    assert len(set(domain.questions)) == 9
    assert not [f for f in run_checks(tmp_path).findings if f.severity == "error"]
