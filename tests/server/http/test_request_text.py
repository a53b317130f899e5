from typing import Any

import pytest

from crma_adapters.errors import RouterError
from crma_server.http.request_text import request_conversation

LONG = "What are the early symptoms of iron deficiency anemia in adults?"


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": LONG}]},
        {"messages": [{"role": "system", "content": "You are a lawyer."}, {"role": "user", "content": LONG}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": LONG}]}]},
        {"input": LONG},
        {
            "input": [{"role": "user", "content": [{"type": "input_text", "text": LONG}]}],
            "instructions": "Be brief",
        },
        {"prompt": LONG},
        {"prompt": [LONG]},
    ],
)
def test_what_the_user_wrote_is_found_in_every_api(body: dict[str, Any]) -> None:
    assert request_conversation(body).turns == (LONG,)


def test_several_prompts_are_routed_together() -> None:
    assert request_conversation({"prompt": ["one", "two"]}).turns == ("one\ntwo",)


@pytest.mark.parametrize(
    "body", [{}, {"prompt": None}, {"prompt": [1, 2, 3]}, {"prompt": [[1], [2]]}, {"prompt": 7}]
)
def test_requests_without_text_have_none(body: dict[str, Any]) -> None:
    assert request_conversation(body).turns == ()


@pytest.mark.parametrize(
    "body", [{"messages": "hi"}, {"messages": [1]}, {"messages": None}, {"input": {"a": 1}}]
)
def test_what_is_no_conversation_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(RouterError, match="expected"):
        request_conversation(body)


def test_where_the_system_text_stands_makes_no_difference_to_what_is_routed() -> None:
    chat = {"messages": [{"role": "system", "content": "Be a lawyer."}, {"role": "user", "content": LONG}]}
    messages = {"system": [{"type": "text", "text": "Be a lawyer."}], "messages": chat["messages"][1:]}
    responses = {"instructions": "Be a lawyer.", "input": LONG}
    found = [request_conversation(body) for body in (chat, messages, responses)]
    assert {conversation.turns for conversation in found} == {(LONG,)}
    assert request_conversation({"input": LONG}).opening != found[2].opening
    assert found[1].opening != request_conversation({"messages": chat["messages"][1:]}).opening


@pytest.mark.parametrize("system", [7, None, [1, {"text": 5}], {"a": 1}])
def test_a_system_text_that_is_none_is_left_to_the_engine(system: Any) -> None:
    body = {"system": system, "messages": [{"role": "user", "content": LONG}]}
    assert request_conversation(body).turns == (LONG,)
