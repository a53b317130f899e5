"""Which turns and parts of a conversation are routed, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.errors import RouterError
from crma_router.conversation.messages import conversation_text, read_conversation

LONG_QUESTION = "What is the usual dose of ibuprofen for adults?"

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["role", "content", "type", "text"]), inner)
    ),
    max_leaves=12,
)


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_a_full_last_turn_stands_alone() -> None:
    messages = [user("Can my landlord keep the deposit after I moved out?"), user(LONG_QUESTION)]
    assert conversation_text(messages) == LONG_QUESTION


def test_only_user_turns_count() -> None:
    messages = [
        {"role": "system", "content": "You are a lawyer. Speak of statutes only."},
        {"role": "developer", "content": "Cite courts."},
        user("hello"),
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "def compile(): ...", "tool_call_id": "1"},
    ]
    assert conversation_text(messages) == "hello"


def test_what_was_said_to_the_model_before_the_user_is_the_system_prompt() -> None:
    messages = [
        {"role": "system", "content": "You are a lawyer."},
        {"role": "developer", "content": "Cite courts."},
        user("hello"),
        {"role": "system", "content": "Later."},
    ]
    assert read_conversation(messages, "Apart.").system == "Apart.\nYou are a lawyer.\nCite courts."


def test_text_parts_of_multimodal_content() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    untyped = {"image_url": "https://example.org/a.png"}
    parts = [
        {"type": "text", "text": "What is this"},
        image,
        untyped,
        {"type": "input_text", "text": "rash"},
        "here?",
    ]
    assert conversation_text([user(parts)]) == "What is this\nrash\nhere?"


def test_responses_items_without_a_role_do_not_count() -> None:
    items = [user("fever"), {"type": "function_call_output", "call_id": "1", "output": "statute"}]
    assert conversation_text(items) == "fever"


@pytest.mark.parametrize(
    "messages", [[], [{"role": "system", "content": "x"}], [user("")], [user(None)], [user([])]]
)
def test_nothing_said_is_no_text(messages: list[dict[str, object]]) -> None:
    assert conversation_text(messages) == ""


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (None, "messages is missing or null"),
        ("hello", "messages is a string"),
        ({"role": "user"}, "messages is an object"),
        ([3], "messages[0] is int"),
        ([{"content": "x"}], "messages[0].role is missing or null"),
        ([{"role": 7, "content": "x"}], "messages[0].role is int"),
        ([user("x"), user(5)], "messages[1].content is int"),
        ([user([{"type": "text"}])], "messages[0].content[0].text is missing or null"),
        ([user([7])], "messages[0].content[0] is int"),
    ],
)
def test_malformed_messages_are_refused_by_place(messages: Any, said: str) -> None:
    with pytest.raises(RouterError) as refusal:
        conversation_text(messages)
    assert said in str(refusal.value)
    assert "expected" in str(refusal.value)


@given(Json | st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": Json})))
def test_any_json_gives_a_text_or_a_refusal(messages: object) -> None:
    try:
        text = conversation_text(messages)
    except RouterError:
        return
    assert isinstance(text, str)
