"""Releases published to a real `crma-serve` with a real engine, while it answers."""

import itertools
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from safetensors.torch import load_file, save_file

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store

from .conftest import publish_small_store, write_adapter

pytestmark = pytest.mark.engine

QUESTION = "How do doctors treat a high fever in children? " * 8  # several blocks of the prefix cache
SOON_S = 30.0
DRAIN_S = 120


class Hot:
    """A served store that tests publish to, one after the other."""

    def __init__(self, root: Path, drafts: Path, base: BaseModel, server: Any, log: Path) -> None:
        self.log = log
        self.store, self.drafts, self.base, self.server = Store(root), drafts, base, server
        self.seeds = itertools.count(100)
        self.client = openai.OpenAI(
            base_url=f"{server.address}/v1", api_key="none", timeout=120, max_retries=0
        )

    def draft(self, change: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor) -> Path:
        """A new adapter for `medical`, its tensors changed by `change`."""
        seed = next(self.seeds)
        backbone = self.store.live().backbone
        assert backbone is not None
        folder = self.drafts / f"medical-{seed}"
        write_adapter(folder, name="medical", base=self.base, backbone=backbone.version, seed=seed)
        weights = folder / "adapter_model.safetensors"
        tensors = {name: change(tensor) for name, tensor in load_file(weights).items()}
        save_file(tensors, weights, metadata={"format": "pt"})
        return folder

    def publish(self, **change: Any) -> str:
        """Publish a new version of `medical`, which the server may refuse; the version."""
        release = publish_parts(self.store, Publication(adapters={"medical": self.draft(**change)}))
        return release.adapters["medical"].part.version

    def swap(self) -> str:
        """Publish a new version and wait until it answers."""
        version = self.publish()
        assert self.becomes(lambda: self.version() == version), self.server.output
        return version

    def becomes(self, holds: Callable[[], bool]) -> bool:
        deadline_s = time.monotonic() + SOON_S
        while time.monotonic() < deadline_s:
            if holds():
                return True
            time.sleep(0.05)
        return False

    def ask(self, model: str = "medical", **more: Any) -> Any:
        settings: dict[str, Any] = {"max_tokens": 1, "temperature": 0, "logprobs": True} | more
        messages: Any = [{"role": "user", "content": QUESTION}]
        return self.client.chat.completions.create(model=model, messages=messages, **settings)

    def version(self, model: str = "medical") -> str:
        return str(self.ask(model).crma["version"])

    def logprobs(self, model: str = "medical", **more: Any) -> list[float]:
        reply = self.ask(model, max_tokens=8, **more)
        return [entry.logprob for entry in reply.choices[0].logprobs.content]

    def ready(self) -> tuple[int, Any]:
        """Status and document of `GET /ready`."""
        try:
            with urllib.request.urlopen(f"{self.server.address}/ready") as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def logged(self, request_id: str) -> list[Any]:
        """The lines of the request log with this id."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["request_id"] == request_id]

    def names(self) -> set[str]:
        return {model.id for model in self.client.models.list(extra_query={"names": "all"}).data}

    def metric(self, line: str) -> float:
        text = urllib.request.urlopen(f"{self.server.address}/metrics").read().decode()
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture(scope="module")
def hot(
    tmp_path_factory: pytest.TempPathFactory, base_model: BaseModel, serve: Callable[..., Any]
) -> Iterator[Hot]:
    root, drafts = tmp_path_factory.mktemp("hot") / "store", tmp_path_factory.mktemp("hot-drafts")
    publish_small_store(root, drafts / "first", base_model, None)
    log = drafts / "requests.log"
    flags = ("--request-log", str(log), "--shutdown-timeout", str(DRAIN_S))
    yield Hot(root, drafts, base_model, serve(root, *flags), log)


def test_a_new_version_answers_within_five_seconds_and_the_old_one_by_name(hot: Hot) -> None:
    old = hot.version()
    before = hot.logprobs()
    version = hot.publish()
    published_s = time.monotonic()
    assert hot.becomes(lambda: hot.version() == version), hot.server.output
    assert time.monotonic() - published_s < 5
    assert hot.logprobs() != pytest.approx(before, abs=1e-3)
    assert hot.logprobs(f"medical@{old}") == pytest.approx(before, abs=1e-4)


def test_what_was_cached_under_the_old_version_is_not_used_for_the_new_one(hot: Hot) -> None:
    for _ in range(2):
        hot.logprobs()  # the prompt's blocks are in the prefix cache now
        hot.swap()
        warm = hot.logprobs()
        cold = hot.logprobs(extra_body={"cache_salt": f"cold-{next(hot.seeds)}"})
        assert warm == pytest.approx(cold, abs=1e-4)


def test_a_stream_ends_on_the_version_it_began_with(hot: Hot) -> None:
    old = hot.version()
    stream = hot.ask(max_tokens=300, stream=True, extra_body={"ignore_eos": True})
    first = next(iter(stream))
    chunks: list[Any] = []
    listening = threading.Thread(target=lambda: chunks.extend(stream))
    listening.start()
    new = hot.swap()
    assert listening.is_alive(), "the stream ended before the swap: make it longer"
    listening.join(SOON_S * 4)
    assert first.crma["version"] == old != new
    assert {chunk.model.partition("@")[2][:12] for chunk in chunks} == {old}
    assert chunks[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        # Beside the backbone's CRMA it still differs from the base model; with CRMA off it does not.
        (torch.zeros_like, "gives the log-probabilities of the base model"),
        # Finite in the file, infinite in the first product.
        (lambda tensor: tensor * 1e25, "log-probabilities are not finite"),
    ],
)
def test_a_bundle_that_says_nothing_is_refused_and_harms_nobody(
    hot: Hot, change: Callable[[torch.Tensor], torch.Tensor], reason: str
) -> None:
    live, base = hot.version(), hot.logprobs("base")
    refused = hot.metric('crma_refused_releases_total{reason="IncompatibleError"}')
    before = hot.store.pointer().release
    version = hot.publish(change=change)
    number = hot.store.pointer().release
    assert hot.becomes(lambda: f"release {number} is refused" in hot.server.output), hot.server.output
    assert reason in hot.server.output.split(f"release {number} is refused")[1]
    assert hot.metric('crma_refused_releases_total{reason="IncompatibleError"}') == refused + 1
    assert hot.version() == live
    assert f"medical@{version}" not in hot.names()
    for _ in range(4):  # whatever blocks of the cache it left numbers in
        salt = {"cache_salt": f"after-{next(hot.seeds)}"}
        assert hot.logprobs("base", extra_body=salt) == pytest.approx(base, abs=1e-4)
    back = hot.store.rollback(before).number
    assert hot.becomes(lambda: f"release {back} is live" in hot.server.output)


def test_what_is_no_longer_kept_is_gone_from_names_and_memory(hot: Hot) -> None:
    versions = [hot.swap() for _ in range(5)]
    expected = {f"medical@{version}" for version in versions[-3:]}
    pattern = re.compile(r"medical@[0-9a-f]{12}")

    def kept() -> set[str]:
        return {found[0] for name in hot.names() if (found := pattern.match(name))}

    assert hot.becomes(lambda: kept() == expected), kept()
    with pytest.raises(openai.NotFoundError):
        hot.ask(f"medical@{versions[0]}")
    # medical and legal, with CRMA and without, and the backbone.
    assert hot.becomes(lambda: hot.metric('crma_bundles{state="loaded"}') == 5)


def test_a_canary_gets_its_share_of_sessions_and_each_session_stays(hot: Hot) -> None:
    first = hot.version()
    second = hot.swap()
    hot.store.set_canary("medical", first, weight=0.5)

    def answers() -> list[str]:
        headers = [{"x-session-id": f"session-{number}"} for number in range(16)]
        return [str(hot.ask(extra_headers=each).crma["version"]) for each in headers]

    assert hot.becomes(lambda: first in answers())
    drawn = answers()
    assert set(drawn) == {first, second}
    assert answers() == drawn
    hot.store.promote("medical")
    assert hot.becomes(lambda: set(answers()) == {first})


def test_the_log_knows_a_request_by_its_id_and_not_by_its_words(hot: Hot) -> None:
    asked = hot.client.chat.completions.with_raw_response.create(
        model="medical",
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=1,
        extra_headers={"x-request-id": "visit-7@ward"},
    )
    assert asked.headers["x-request-id"] == "visit-7@ward"
    assert hot.becomes(lambda: bool(hot.logged("visit-7@ward")))
    (line,) = hot.logged("visit-7@ward")
    assert (line["status"], line["ended"], line["asked"]) == (200, "complete", "medical")
    assert line["version"] == asked.headers["x-crma-version"]
    for said in (hot.log.read_text(), hot.server.output):
        assert "fever" not in said


def test_told_to_stop_it_finishes_what_it_answers_and_takes_no_more(hot: Hot) -> None:
    """The last test: its server is gone."""
    assert hot.ready() == (200, {"ready": True, "reason": None})
    stream = hot.ask(max_tokens=120, stream=True, extra_body={"ignore_eos": True})
    chunks = [next(iter(stream))]
    listening = threading.Thread(target=lambda: chunks.extend(stream))
    listening.start()
    hot.server.process.terminate()
    assert hot.becomes(lambda: hot.ready()[0] == 503)
    assert hot.ready()[1] == {"ready": False, "reason": "stopping"}
    with pytest.raises(openai.APIStatusError) as refused:
        hot.ask()
    assert refused.value.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert listening.is_alive(), "the stream ended before the refusal: make it longer"
    listening.join(DRAIN_S)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) > 20
    assert hot.server.process.wait(60) == 0
