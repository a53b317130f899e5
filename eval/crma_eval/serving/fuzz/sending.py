"""Sending requests and judging the replies."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from crma_eval.serving.fuzz.cases import Case

WORKERS = 8
# The engine is asked to give up after this: what a request generates is not what is tested.
DEADLINE_MS = 3000
_TIMEOUT_S = 60.0
_MOST_BYTES = 2**20
_KEPT = 20
# Said on purpose, with the reason: not implemented, busy or stopping, too late.
_HANDLED = (501, 503, 504)


@dataclass(frozen=True)
class Finding:
    """A reply nobody meant: `status` is None when the connection ended without one."""

    case: Case
    status: int | None
    reply: str


@dataclass
class Outcome:
    """What became of all requests: statuses and failures by operation, the first failures of each kind."""

    statuses: dict[str, Counter[int | None]] = field(default_factory=dict)
    failed_by: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, case: Case, status: int | None, reply: str) -> None:
        self.statuses.setdefault(case.operation.name, Counter())[status] += 1
        if is_handled(status, reply):
            return
        self.failed_by[case.operation.name] += 1
        alike = [f for f in self.findings if (f.case.operation, f.status) == (case.operation, status)]
        if len(alike) < 2 and len(self.findings) < _KEPT:
            self.findings.append(Finding(case, status, reply[:500]))

    @property
    def failed(self) -> int:
        return sum(self.failed_by.values())

    @property
    def sent(self) -> int:
        return sum(sum(counts.values()) for counts in self.statuses.values())


def is_handled(status: int | None, reply: str) -> bool:
    """Below 500, or one of the few that are said on purpose, in an error document."""
    if status is None:
        return False
    if status < 500:
        return True
    return status in _HANDLED and _is_error_document(reply)


def send_all(
    url: str, cases: Sequence[Case], key_for: Callable[[Case], Mapping[str, str]], told: Callable[[], None]
) -> Outcome:
    """Send every case, `WORKERS` at a time; `told` is called after each."""
    outcome, lock = Outcome(), threading.Lock()
    workers = threading.local()

    def send(case: Case) -> None:
        if not hasattr(workers, "client"):
            workers.client = httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
        status, reply = _send(workers.client, case, key_for(case))
        with lock:
            outcome.add(case, status, reply)
            told()

    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(send, cases):
            pass
    return outcome


def _send(client: httpx.Client, case: Case, key: Mapping[str, str]) -> tuple[int | None, str]:
    """Once more if the connection ended: a kept one may have been closed while the request was under way."""
    headers = {**case.headers, **key, "x-crma-deadline-ms": str(DEADLINE_MS)}
    reply = ""
    for attempt in ({}, {"connection": "close"}):
        try:
            with client.stream(
                case.operation.method, case.url, content=case.content, headers=headers | attempt
            ) as answer:
                text = b"".join(_some(answer.iter_bytes())).decode("utf-8", "replace")
                return answer.status_code, text
        except httpx.HTTPError as error:
            reply = f"{type(error).__name__}: {error}"
    return None, reply


def _some(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What is read of a reply: all of it, but not for ever."""
    size_bytes = 0
    for chunk in chunks:
        yield chunk
        size_bytes += len(chunk)
        if size_bytes > _MOST_BYTES:
            return


def _is_error_document(reply: str) -> bool:
    try:
        document = json.loads(reply)
    except ValueError:
        return False
    return isinstance(document, dict) and bool(document.get("error"))
