import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from crma_adapters.errors import ConfigError
from crma_eval.learning.ablation.measure import Settings, measure


@pytest.fixture
def data(data_folder: Path, write_rows: Callable[..., Path]) -> Path:
    for domain in ("medical", "legal", "code", "financial"):
        rows = [{"question": f"{domain} number {n}?", "answer": str(n)} for n in range(10)]
        write_rows(f"{domain}/short_answer.jsonl", rows)
    return data_folder


class Release:
    """A server of some models; `asked` counts the questions."""

    def __init__(self, *models: str) -> None:
        self.models, self.asked = models, 0
        self.client = httpx.Client(transport=httpx.MockTransport(self._answer), base_url="http://test")

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            listed = [{"id": name, "root": f"{name}@1"} for name in self.models]
            return httpx.Response(200, json={"data": [{"id": "tiny", "root": None}, *listed]})
        self.asked += 1
        body: dict[str, Any] = json.loads(request.content)
        text = body["messages"][0]["content"].split()[-1] if body["model"] in ("medical", "legal") else "?"
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return httpx.Response(200, json={"model": f"{body['model']}@1", "choices": [choice]})


def settings(data: Path, **changes: Any) -> Settings:
    given = {"work": data.parent / "work", "domains": None, "questions": 8, "max_tokens": 32, "in_flight": 2}
    return Settings(data=data, **(given | changes))


def test_asks_the_domains_and_arms_that_are_served(data: Path) -> None:
    release = Release("base", "medical", "medical:crma-off", "legal", "legal:crma-off", "medical-lora")
    results, base = measure(release.client, settings(data))
    assert base == "tiny" and results.domains == ("legal", "medical")
    assert [arm.name for arm in results.arms] == ["on", "off", "base"]
    assert [results.share(arm).right for arm in results.arms] == [8, 0, 0]
    assert release.asked == 3 * 8
    measure(release.client, settings(data))
    assert release.asked == 3 * 8  # every answer was kept
    measure(release.client, settings(data, questions=10))
    assert release.asked < 3 * 8 + 3 * 10


def test_named_domains_must_be_served(data: Path) -> None:
    release = Release("base", "medical", "medical:crma-off")
    results, _ = measure(release.client, settings(data, domains=("medical",)))
    assert results.domains == ("medical",)
    with pytest.raises(ConfigError, match=r"no adapter for legal of .*it lists base, medical, medical:crma"):
        measure(release.client, settings(data, domains=("medical", "legal")))
    with pytest.raises(ConfigError, match=r"no adapter for code, financial, legal, medical of"):
        measure(Release("base").client, settings(data))


def test_one_arm_is_no_comparison(data: Path) -> None:
    with pytest.raises(ConfigError, match="nothing can be compared"):
        measure(Release("medical").client, settings(data))


def test_says_that_damaged_answers_are_asked_again(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = Release("base", "medical")
    measure(release.client, settings(data))
    path = data.parent / "work" / "answers.jsonl"
    path.write_text(path.read_text().replace('"text": "?"', '"text": "0"', 1))
    results, _ = measure(release.client, settings(data))
    assert release.asked == 2 * 8 + 1 and results.share(results.arms[1]).right == 0
    assert "1 damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["questions", "max_tokens", "in_flight"])
def test_refuses_sizes_below_one(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} is 0; give a number"):
        settings(Path("data"), **{name: 0})
