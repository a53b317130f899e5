import json
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from crma_adapters.errors import ConfigError
from crma_eval.learning.ablation.answers import AnswerLog
from crma_eval.learning.ablation.arms import ARMS, BASE, OFF, ON
from crma_eval.learning.ablation.ask import Asking, ask_all, interleaved, setup_digest
from crma_eval.learning.ablation.questions import ShortQuestion
from crma_eval.learning.ablation.server import ServedModels

QUESTIONS = tuple(
    ShortQuestion(domain, f"{domain} {n}?", str(n)) for domain in ("medical", "legal") for n in range(20)
)
EXACT = {arm.model(d): f"{arm.model(d)}@exact" for arm in ARMS for d in ("medical", "legal")}
MODELS = ServedModels(EXACT, "tiny")


class Server:
    """Answers the number in the question; counts; fails from the `fails_at`-th request on."""

    def __init__(self, fails_at: int = 10**9, model: str | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._fails_at, self._model, self._lock = fails_at, model, threading.Lock()
        self.client = httpx.Client(transport=httpx.MockTransport(self._answer), base_url="http://test")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body: dict[str, Any] = json.loads(request.content)
        question = body["messages"][0]["content"]
        with self._lock:
            self.asked.append((body["model"], question))
            if len(self.asked) >= self._fails_at:
                return httpx.Response(500, text="out of memory")
        message = {"content": question.split()[-1].rstrip("?")}
        model = self._model or EXACT[body["model"]]
        choice = {"message": message, "finish_reason": "stop"}
        return httpx.Response(200, json={"model": model, "choices": [choice]})


def test_every_arm_gets_a_question_before_the_next_question() -> None:
    order = interleaved(ARMS, QUESTIONS)
    for index, question in enumerate(QUESTIONS):
        group = order[len(ARMS) * index : len(ARMS) * (index + 1)]
        assert {inquiry.question for inquiry in group} == {question}
        assert {inquiry.arm for inquiry in group} == set(ARMS)


def test_the_order_of_arms_varies_and_is_always_the_same() -> None:
    order = interleaved(ARMS, QUESTIONS)
    random.seed(5)
    assert order == interleaved(ARMS, QUESTIONS)
    first = Counter(order[5 * index].arm.name for index in range(len(QUESTIONS)))
    assert len(first) == len(ARMS) and max(first.values()) < len(QUESTIONS) / 2


@pytest.mark.parametrize("in_flight", [1, 4])
def test_asks_all_and_returns_them_in_order(tmp_path: Path, in_flight: int) -> None:
    server, order, done = Server(), interleaved((ON, OFF), QUESTIONS), []
    with AnswerLog(tmp_path / "answers.jsonl", "setup") as log:
        answers = ask_all(server.client, order, log, Asking(MODELS, 32, in_flight), lambda: done.append(1))
    assert [answer.key for answer in answers] == [inquiry.key for inquiry in order]
    assert all(answer.text == answer.question.split()[-1].rstrip("?") for answer in answers)
    assert all(answer.model == EXACT[ON.model(answer.domain)] for answer in answers if answer.arm == "on")
    assert len(done) == len(order) == len(server.asked)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    order, asking = interleaved((ON, OFF, BASE), QUESTIONS), Asking(MODELS, 32, 1)
    failing = Server(fails_at=31)
    with (
        AnswerLog(tmp_path / "answers.jsonl", "setup") as log,
        pytest.raises(ConfigError, match=r"500.*out of memory"),
    ):
        ask_all(failing.client, order, log, asking, lambda: None)
    server, done = Server(), []
    with AnswerLog(tmp_path / "answers.jsonl", "setup") as log:
        answers = ask_all(server.client, order, log, asking, lambda: done.append(1))
    assert len(server.asked) == len(order) - 30 and len(done) == len(answers) == len(order)
    assert server.asked[0] == failing.asked[30]
    with AnswerLog(tmp_path / "answers.jsonl", "another release") as log:
        ask_all(server.client, order, log, asking, lambda: None)
    assert len(server.asked) == 2 * len(order) - 30


def test_an_answer_of_another_model_is_refused(tmp_path: Path) -> None:
    server, order = Server(model="medical@newer"), interleaved((ON,), QUESTIONS)
    with (
        AnswerLog(tmp_path / "answers.jsonl", "setup") as log,
        pytest.raises(ConfigError, match="'medical@exact' at the start, and 'medical@newer' answered"),
    ):
        ask_all(server.client, order, log, Asking(MODELS, 32, 1), lambda: None)
    assert log.get(order[0].key) is None


def test_the_setup_is_what_answers_depend_on() -> None:
    digest = setup_digest(MODELS, 32, [])
    assert digest == setup_digest(ServedModels(dict(reversed(EXACT.items())), "tiny"), 32, [])
    changed = [
        setup_digest(ServedModels(EXACT | {"medical": "medical@newer"}, "tiny"), 32, []),
        setup_digest(ServedModels(EXACT, "other"), 32, []),
        setup_digest(MODELS, 16, []),
        setup_digest(MODELS, 32, ["--dtype", "bfloat16"]),
    ]
    assert len({digest, *changed}) == 5
