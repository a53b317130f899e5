"""What is learnt under the chat templates of real models: every answer with its end, nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from crma_adapters.errors import DataError
from crma_training.data.formats import row_of
from crma_training.data.rows import Learn
from crma_training.data.templates import ChatFormat, render
from crma_training.data.tokens import Example, encode_rows, end_ids, prompt_ids

TEMPLATES = Path(__file__).parent / "templates"  # as published with the models
ENDS = {
    "gemma": "<end_of_turn>",  # Gemma-2's
    "gemma3": "<end_of_turn>",
    "llama3_1": "<|eot_id|>",
    "mistral": "</s>",  # Mistral-7B-Instruct-v0.1's
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
}
PROMPT_ENDS = {
    "gemma": "<start_of_turn>model\n",
    "gemma3": "<start_of_turn>model\n",
    "llama3_1": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "[INST] What is 4? [/INST]",
    "qwen2_5": "<|im_start|>assistant\n",
    "qwen3": "<|im_start|>assistant\n",
}
SPECIAL = [
    "<bos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "</s>",
]
WITH_TOOLS = ("llama3_1", "qwen2_5", "qwen3")
USER, ANSWER = {"role": "user", "content": "What is 4?"}, {"role": "assistant", "content": "Even."}
SYSTEM = {"role": "system", "content": "Be brief."}
MORE = [USER, ANSWER, {"role": "user", "content": "And 5?"}, {"role": "assistant", "content": "Odd."}]
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "parity", "arguments": {"n": 4}}}
TOOLS = [{"type": "function", "function": {"name": "parity", "description": "d", "parameters": {}}}]


@pytest.fixture
def chat(base_model: Path, request: pytest.FixtureRequest) -> ChatFormat:
    """The template named by the parameter over a byte-level tokenizer that has its special tokens."""
    tokenizer: Any = AutoTokenizer.from_pretrained(base_model)
    tokenizer.add_tokens([AddedToken(token, special=True) for token in SPECIAL], special_tokens=True)
    tokenizer.bos_token = "<bos>"
    if request.param == "mistral":
        tokenizer.eos_token = "</s>"
    tokenizer.chat_template = (TEMPLATES / f"{request.param}.jinja").read_text()
    return ChatFormat(tokenizer)


def examples(chat: ChatFormat, turns: list[Any], learn: Learn = "all", **fields: Any) -> tuple[Example, ...]:
    row = row_of({"messages": turns, **fields}, "here:1")
    return encode_rows([row], chat, 4096, learn=learn, overlong="error").examples


def learnt(chat: ChatFormat, example: Example) -> list[str]:
    """The runs of learnt tokens, as text."""
    runs, current = [], list[int]()
    for token_id, learn in [*zip(example.token_ids, example.learn, strict=True), (0, False)]:
        if learn:
            current.append(token_id)
        elif current:
            runs.append(chat.tokenizer.decode(current))
            current = []
    return runs


@pytest.mark.parametrize(("chat", "name"), [(name, name) for name in ENDS], indirect=["chat"])
def test_an_answer_with_its_end_is_learnt_after_the_prompt_of_serving(chat: ChatFormat, name: str) -> None:
    (example,) = examples(chat, [USER, ANSWER])
    assert learnt(chat, example) == ["Even." + ENDS[name]]
    served = chat.tokenizer.apply_chat_template([USER], tokenize=False, add_generation_prompt=True)
    prompt = chat.tokenizer.encode(served, add_special_tokens=False)
    assert list(example.token_ids[: example.answer_start]) == prompt
    assert served.endswith(PROMPT_ENDS[name])
    if name in ("gemma", "gemma3", "llama3_1"):
        assert example.token_ids[0] == chat.tokenizer.bos_token_id
        assert example.token_ids.count(chat.tokenizer.bos_token_id) == 1


@pytest.mark.parametrize(("chat", "name"), [(name, name) for name in ENDS], indirect=["chat"])
def test_every_turn_or_the_last_is_learnt_each_with_its_end(chat: ChatFormat, name: str) -> None:
    (both,) = examples(chat, MORE)
    assert learnt(chat, both) == ["Even." + ENDS[name], "Odd." + ENDS[name]]
    (last,) = examples(chat, MORE, "last")
    assert learnt(chat, last) == ["Odd." + ENDS[name]]
    assert last.token_ids == both.token_ids
    (weighted,) = examples(chat, [USER, {**ANSWER, "weight": 0}, *MORE[2:]])
    assert learnt(chat, weighted) == ["Odd." + ENDS[name]]


@pytest.mark.parametrize(("chat", "name"), [(name, name) for name in ENDS], indirect=["chat"])
def test_a_system_prompt_is_read_and_not_learnt(chat: ChatFormat, name: str) -> None:
    (example,) = examples(chat, [SYSTEM, *MORE])
    text = chat.tokenizer.decode(example.token_ids)
    assert text.count("Be brief.") == 1
    assert learnt(chat, example) == ["Even." + ENDS[name], "Odd." + ENDS[name]]
    if name.startswith("gemma"):  # no system role: at the head of the first question
        assert "<start_of_turn>user\nBe brief.\n\nWhat is 4?" in text
    if name == "mistral":
        assert "[INST] Be brief.\n\nWhat is 4? [/INST]" in text


@pytest.mark.parametrize(("chat", "name"), [(n, n) for n in WITH_TOOLS], indirect=["chat"])
def test_a_call_is_learnt_and_the_tools_result_is_not(chat: ChatFormat, name: str) -> None:
    called = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "abcdefghi", "content": "4 is EVEN"}
    (example,) = examples(chat, [USER, called, result, ANSWER], tools=TOOLS)
    call, answer = learnt(chat, example)
    assert answer == "Even." + ENDS[name]
    assert '"parity"' in call
    assert call.endswith(ENDS[name])
    assert "EVEN" not in call + answer
    assert "EVEN" in chat.tokenizer.decode(example.token_ids)
    assert json.dumps("parity") in chat.tokenizer.decode(example.token_ids[: example.answer_start])


@pytest.mark.parametrize("chat", ["qwen3"], indirect=True)
def test_qwen3s_empty_think_block_is_not_learnt_and_reasoning_that_was_given_is(chat: ChatFormat) -> None:
    (example,) = examples(chat, MORE)
    assert "<think>" not in chat.tokenizer.decode(example.token_ids)
    thought = {**ANSWER, "reasoning_content": "4 = 2 * 2"}
    (example,) = examples(chat, [USER, thought])
    assert learnt(chat, example) == ["<think>\n4 = 2 * 2\n</think>\n\nEven.<|im_end|>"]
    # The template drops earlier reasoning, so the turn that had it is learnt in a text of its own.
    row = row_of({"messages": [USER, thought, *MORE[2:]]}, "here:1")
    first, second = render(row, chat, "all")
    assert first.text.endswith("Even.<|im_end|>")
    assert [second.text[slice(*span)] for span in second.spans] == ["Odd.<|im_end|>"]


@pytest.mark.parametrize("chat", ["gemma"], indirect=True)
def test_an_end_that_the_model_does_not_know_gives_way_to_its_eos(chat: ChatFormat) -> None:
    end = chat.tokenizer.convert_tokens_to_ids("<end_of_turn>")
    eos = chat.tokenizer.eos_token_id
    for format_ in (
        ChatFormat(chat.tokenizer, frozenset({eos, end}), unknown=frozenset({end})),
        ChatFormat(chat.tokenizer, frozenset({eos})),
    ):
        first, second = examples(format_, MORE)
        assert learnt(chat, first) == ["Even." + chat.tokenizer.eos_token]
        assert learnt(chat, second) == ["Odd." + chat.tokenizer.eos_token]


@pytest.mark.parametrize(("chat", "name"), [(name, name) for name in ENDS], indirect=["chat"])
def test_teachers_are_asked_and_end_as_rows_are_learnt(chat: ChatFormat, name: str) -> None:
    (example,) = examples(chat, [USER, ANSWER])
    assert prompt_ids(USER["content"], chat) == example.token_ids[: example.answer_start]
    assert example.token_ids[-1] in end_ids(chat)
    assert chat.tokenizer.convert_tokens_to_ids(ENDS[name]) in end_ids(chat)


@pytest.mark.parametrize("chat", ["gemma3"], indirect=True)
def test_a_teacher_does_not_end_with_what_its_model_does_not_know(chat: ChatFormat) -> None:
    """Gemma-3-270M's base: the turn's end is among the engine's stops, and untrained."""
    end, eos = chat.tokenizer.convert_tokens_to_ids("<end_of_turn>"), chat.tokenizer.eos_token_id
    base = ChatFormat(chat.tokenizer, frozenset({eos, end}), unknown=frozenset({end}))
    (example,) = examples(base, [USER, ANSWER])
    assert end_ids(base) == (example.token_ids[-1],) == (eos,)
    assert end in end_ids(ChatFormat(chat.tokenizer, frozenset({eos, end})))


@pytest.mark.parametrize("chat", ["mistral"], indirect=True)
def test_a_row_that_a_template_refuses_without_its_system_prompt_too_is_refused(chat: ChatFormat) -> None:
    called = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "abcdefghi", "content": "EVEN"}
    with pytest.raises(DataError, match="here:1: the model's chat template refuses this row"):
        examples(chat, [SYSTEM, USER, called, result, ANSWER], tools=TOOLS)
