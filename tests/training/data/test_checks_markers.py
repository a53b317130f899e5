"""Traces of templates, and text that only resembles them."""

import pytest

from crma_training.data.checks.markers import check_markers
from crma_training.data.checks.record import Record


def found(text: str) -> list[tuple[str, str]]:
    record = Record("medical", "train", "f:1", "q", ("q", text))
    return [(finding.kind, finding.severity) for finding in check_markers([record])]


@pytest.mark.parametrize(
    ("text", "kind", "severity"),
    [
        ("<|im_start|>user", "template-token", "error"),
        ("bye<|eot_id|>", "template-token", "error"),
        ("<start_of_turn>model", "template-token", "error"),
        ("<｜Assistant｜>", "template-token", "error"),
        ("[INST] hi [/INST]", "template-leak", "warning"),
        ("<<SYS>>", "template-leak", "warning"),
        ("Below\n### Response:\nyes", "template-leak", "warning"),
        ("ok\nHuman: and then?", "template-leak", "warning"),
        ("As an AI language model, I cannot", "boilerplate", "warning"),
        ("as a large language model", "boilerplate", "warning"),
        ("Dear {customer_name},", "placeholder", "warning"),
        ("Dear {{ name }},", "placeholder", "warning"),
        ("Dear [Your Name],", "placeholder", "warning"),
        ("Call <insert phone>", "placeholder", "warning"),
    ],
)
def test_traces_are_found(text: str, kind: str, severity: str) -> None:
    assert found(text) == [(kind, severity)]


@pytest.mark.parametrize(
    "text",
    [
        "x <| y |> z",
        "a[i] = {1, 2}",
        "The response: yes.",
        "{'a': 1}",
        "AI models",
        "Instruct [the] jury",
        "List<String>",
        "a set {}",
        "{x, y}",
    ],
)
def test_other_text_is_left_alone(text: str) -> None:
    assert found(text) == []
