import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_server.http.request import RequestContext
from crma_server.http.response import ResponseRecorder
from crma_server.observability.logging import RequestLog, line

SECRET = "my left knee"  # what the user of `routed` writes
SECONDS = 1.23456789
Make = Callable[..., RequestContext]


def unrouted(request_id: str = "r-1", path: str = "/v1/models", status: int = 200) -> RequestContext:
    return RequestContext("GET", path, request_id=request_id, response=ResponseRecorder(status=status))


def test_a_line_says_what_was_asked_and_what_answered(routed: Make) -> None:
    document = line(routed(), SECONDS, prompts=False)
    assert document == {
        "at": "2026-01-01T00:00:00.000Z",
        "request_id": "r-1",
        "client": "127.0.0.1",
        "key": "0a1b2c3d",
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "ended": "complete",
        "seconds": 1.2346,
        "first_byte_seconds": 0.05,
        "sent_bytes": 345,
        "asked": "auto",
        "adapter": "medical",
        "version": "de91ac039f2f",
        "backbone": "a0afad0b46d1",
        "release": 7,
        "route": "routed",
        "route_seconds": 0.004,
        "domain": "medical",
        "confidence": 0.9877,
        "cause": "sure",
    }


def test_a_canary_is_named_as_one(routed: Make) -> None:
    assert line(routed(canary=True), SECONDS, prompts=False)["canary"] is True


def test_what_users_wrote_is_logged_only_where_asked_for(routed: Make, tmp_path: Path) -> None:
    for prompts in (False, True):
        path = tmp_path / f"{prompts}.log"
        log = RequestLog(str(path), prompts=prompts)
        log.write(routed(), SECONDS)
        log.close()
        assert (SECRET in path.read_text()) is prompts
    assert json.loads((tmp_path / "True.log").read_text())["prompt"] == SECRET


def test_a_line_is_one_line_whatever_a_client_sends(routed: Make, tmp_path: Path) -> None:
    log = RequestLog(str(tmp_path / "log"), prompts=True)
    nasty = 'a"\n{"status":200}\r\x1b[2J\u2028\ud800'
    context = routed()
    context.asked, context.path = nasty, "/x\n" + "y" * 9999
    context.body = json.dumps({"prompt": nasty}).encode()
    log.write(context, SECONDS)
    log.close()
    raw = (tmp_path / "log").read_bytes()
    assert raw.count(b"\n") == 1
    assert raw.isascii() and b"\x1b" not in raw
    document = json.loads(raw)
    assert document["asked"] == document["prompt"] == nasty
    assert len(document["path"]) == 512


def test_a_log_moved_away_is_begun_anew(tmp_path: Path) -> None:
    log = RequestLog(str(tmp_path / "log"))
    log.write(unrouted(), SECONDS)
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.write(unrouted("r-2"), SECONDS)
    log.close()
    assert json.loads((tmp_path / "log.1").read_text())["request_id"] == "r-1"
    assert json.loads((tmp_path / "log").read_text())["request_id"] == "r-2"


def test_a_log_is_added_to_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    for _ in range(2):
        log = RequestLog(str(tmp_path / "log"))
        log.write(unrouted(), SECONDS)
        log.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_health_checks_are_logged_only_when_they_fail(tmp_path: Path) -> None:
    log = RequestLog(str(tmp_path / "log"))
    log.write(unrouted(path="/health"), SECONDS)
    log.write(unrouted(path="/ready", status=503), SECONDS)
    log.close()
    assert [json.loads(each)["path"] for each in (tmp_path / "log").read_text().splitlines()] == ["/ready"]


def test_stderr_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    RequestLog("stderr").write(unrouted(), SECONDS)
    assert json.loads(capsys.readouterr().err)["request_id"] == "r-1"


def test_a_log_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"request log .* cannot be written .*--request-log"):
        RequestLog(str(tmp_path / "missing" / "log"))
    with pytest.raises(ConfigError, match="cannot be written"):
        RequestLog(str(tmp_path))
