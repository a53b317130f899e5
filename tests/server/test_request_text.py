from typing import Any

import pytest

from crma_adapters.errors import RouterError
from crma_server.request_text import request_text

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
    assert request_text(body) == LONG


def test_several_prompts_are_routed_together() -> None:
    assert request_text({"prompt": ["one", "two"]}) == "one\ntwo"


@pytest.mark.parametrize(
    "body", [{}, {"prompt": None}, {"prompt": [1, 2, 3]}, {"prompt": [[1], [2]]}, {"prompt": 7}]
)
def test_requests_without_text_have_none(body: dict[str, Any]) -> None:
    assert request_text(body) == ""


@pytest.mark.parametrize(
    "body", [{"messages": "hi"}, {"messages": [1]}, {"messages": None}, {"input": {"a": 1}}]
)
def test_what_is_no_conversation_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(RouterError, match="expected"):
        request_text(body)
