"""`crma-eval fuzz`: hostile requests to every route of a server, and every route without its key."""

import argparse
import json
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from tqdm import tqdm

from crma_adapters.errors import ConfigError, DataError
from crma_eval.report import Goal, Report, Section
from crma_eval.serve import live_server
from crma_eval.task import Context, Result

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

REQUESTS = GOAL_REQUESTS = 10_000
WORKERS = 8
# The engine is asked to give up after this: what a request generates is not what is tested.
DEADLINE_MS = 3000
_TIMEOUT_S = 60.0
_KEPT = 20
# Said on purpose, with the reason: not implemented, busy or stopping, too late.
_ON_PURPOSE = (501, 503, 504)
_BROKEN = (b"", b"{", b"[" * 3000, b"\xff\xfe", b'{"model": "auto"', b"null", b"[]", b'"auto"', b"1e999")
_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "min_tokens", "n", "best_of")

# Which key opens which route; what is not listed needs an admin key, whatever adds it.
_PUBLIC = frozenset({"/health", "/ready", "/ping", "/crma", "/crma/", "/crma/static/{name}"})
_EITHER = frozenset({"/metrics", "/metrics/"})
_READABLE = re.compile(
    r"/(v1/models(/.+)?|v1/responses/.+|openapi\.json|docs(/oauth2-redirect)?|redoc|load|version|kv_event_sources)"
)
_GENERATING = re.compile(
    r"/(ping|(de)?tokenize|invocations|v1/(chat/)?completions(/(de)?render)?|v1/chat/completions/batch"
    r"|v1/responses(/render|/[^/]+/cancel)?|v1/messages(/count_tokens|/render)?|v1/systemone"
    r"|generative_scoring|inference/v1/(generate|abort_requests))"
)
# Routes a server has, or may have, but does not list.
UNLISTED = (
    "GET /openapi.json", "GET /docs", "GET /redoc", "POST /inference/v1/generate",
    "POST /inference/v1/abort_requests", "POST /v1/chat/completions/render", "POST /v1/completions/render",
    "GET /metrics/", "GET //health", "GET /health/", "GET /crma/static/%2e%2e/v1/status",
    "POST /collective_rpc", "GET /nothing",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its options."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--serve", type=Path, metavar="STORE", help="start crma-serve on a copy of this store")
    where.add_argument(
        "--url", help="a server that runs already; its releases will be changed, so not one in use"
    )
    parser.add_argument("--key-file", type=Path, help="an inference key of --url, alone in a file")
    parser.add_argument("--admin-key-file", type=Path, help="an admin key of --url, alone in a file")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (default: 0)")
    parser.add_argument(
        "--leave-out", action="append", default=[], metavar="PATH", help="a route not to send to (repeatable)"
    )


def run(context: Context) -> Result:
    """Try every door, generate, send, judge."""
    args = context.args
    if args.requests < 1:
        raise ConfigError(f"--requests is {args.requests}; give 1 or more")
    try:
        import schemathesis  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "crma-eval fuzz makes its requests with schemathesis, which is not installed: "
            "pip install 'crma[dev]', or schemathesis itself"
        ) from error
    with _server(args, context.report or Path("runs")) as (url, keys):
        with httpx.Client(base_url=url, headers=keys.header("inference"), timeout=60, trust_env=False) as one:
            document = _json(one, "/openapi.json")
            models = [model["id"] for model in _json(one, "/v1/models?names=all")["data"]]
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            doors = [try_door(client, route, keys) for route in (*routes_of(document), *UNLISTED)]
        with tqdm(total=args.requests, desc="fuzz", unit="request", file=sys.stderr) as bar:

            def advance() -> None:
                bar.update()

            cases = generate(document, url, models, args.requests, args.seed, args.leave_out)
            outcome = send_all(cases, keys, advance)
    return Result(fuzz_report(args.seed, args.leave_out, outcome, doors), goals_of(outcome, doors))


@contextmanager
def _server(args: argparse.Namespace, logs: Path) -> Iterator[tuple[str, "Keys"]]:
    """The address and a key of each kind."""
    if args.url:
        if args.key_file is None or args.admin_key_file is None:
            raise ConfigError("--url needs --key-file and --admin-key-file, so that every route is reached")
        yield args.url, Keys(_first_line(args.key_file), _first_line(args.admin_key_file))
        return
    with tempfile.TemporaryDirectory(prefix="crma-fuzz-") as folder:
        beside = Path(folder)
        store = Path(shutil.copytree(args.serve, beside / "store"))
        keys = Keys(secrets.token_urlsafe(), secrets.token_urlsafe())
        flags: list[str] = []
        for flag, key in (("--api-key-file", keys.inference), ("--admin-key-file", keys.admin)):
            file = beside / flag.strip("-")
            file.touch(mode=0o600)
            file.write_text(key + "\n", encoding="ascii")
            flags += [flag, str(file)]
        with live_server(store, logs / "fuzz-serve.log", flags=flags) as url:
            yield url, keys


def _first_line(file: Path) -> str:
    try:
        lines = file.read_text(encoding="utf-8").split()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); expected a key") from error
    if not lines:
        raise ConfigError(f"{file}: holds no key")
    return lines[0]


def _json(client: httpx.Client, path: str) -> Any:
    try:
        reply = client.get(path)
        reply.raise_for_status()
    except httpx.HTTPError as error:
        raise ConfigError(f"{client.base_url}{path} cannot be read: {error}") from error
    return reply.json()


# Doors: whether a route opens without the key it needs.


@dataclass(frozen=True)
class Keys:
    """A key of each kind."""

    inference: str
    admin: str

    def header(self, kind: str) -> dict[str, str]:
        """The header that opens a route of this kind."""
        return _bearer(self.admin if kind == "admin" else self.inference)


@dataclass(frozen=True)
class Door:
    """A route as `METHOD /path` and the statuses it answered with, by what was sent for the right key."""

    route: str
    needs: str
    statuses: Mapping[str, int]

    @property
    def is_open(self) -> bool:
        """Whether anything but the right key got through."""
        return self.needs != "public" and any(status != 401 for status in self.statuses.values())


def kind_of(route: str) -> str:
    """`public`, `either` or `inference`; `admin` is what any other route needs."""
    method, _, path = route.partition(" ")
    if method in ("GET", "HEAD"):
        if path in _PUBLIC:
            return "public"
        if path in _EITHER:
            return "either"
        return "inference" if _READABLE.fullmatch(path) else "admin"
    return "inference" if method == "POST" and _GENERATING.fullmatch(path) else "admin"


def try_door(client: httpx.Client, route: str, keys: Keys) -> Door:
    """Ask for a route with everything that must not open it."""
    kind = kind_of(route)
    tries = {"none": {}, "wrong": _bearer("wrong"), "empty": {"authorization": "Bearer", "x-api-key": ""}}
    if kind == "admin":
        tries["inference"] = _bearer(keys.inference)
    if kind == "inference":
        tries["admin"] = _bearer(keys.admin)
    method, _, path = route.replace("{", "").replace("}", "").partition(" ")
    return Door(
        route, kind, {n: client.request(method, path, headers=h).status_code for n, h in tries.items()}
    )


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def routes_of(document: Any) -> list[str]:
    """Every operation of an OpenAPI document as `METHOD /path`. Raises `DataError` if it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise DataError("not an OpenAPI document: it has no paths; expected what GET /openapi.json gives")
    methods = ("get", "head", "post", "put", "patch", "delete", "options")
    paths = sorted(document["paths"].items())
    return [f"{method.upper()} {path}" for path, facts in paths for method in facts if method in methods]


# Requests: drawn by schemathesis from the schemas, as they should be and not, and some that are no JSON.


@dataclass(frozen=True)
class Case:
    """One request to `route`, as it goes over the wire; `content` None: without a body."""

    route: str
    url: str
    content: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


def generate(
    document: Mapping[str, Any],
    url: str,
    models: Sequence[str],
    count: int,
    seed: int,
    left_out: Sequence[str] = (),
) -> list[Case]:
    """`count` requests, as many for each operation not `left_out`; `models` are names the server knows."""
    import schemathesis
    from schemathesis.core.result import Ok

    schema = schemathesis.openapi.from_dict(dict(document))
    schema.hook("flatmap_body")(_fitting(models))
    every: list[Any] = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    operations = sorted((each for each in every if each.path not in left_out), key=lambda each: each.label)
    share, more = divmod(count, len(operations))
    return [
        case
        for at, operation in enumerate(operations)
        if share + (at < more)
        for case in _for_operation(operation, url, share + (at < more), seed)
    ]


def _fitting(models: Sequence[str]) -> Callable[[Any, Any], "SearchStrategy[Any]"]:
    """A hook: names the server knows, and answers that end soon; a mile of tokens would test the engine."""
    from hypothesis import strategies as st

    names = st.sampled_from([*models, "auto", "base", "auto:crma-off", "nobody", "medical@0", ""])

    def fit(context: Any, body: Any) -> "SearchStrategy[Any]":  # schemathesis looks at the names
        if not isinstance(body, dict):
            return st.just(body)
        asks = context.operation is not None and "/v1/" in context.operation.path
        few = [each for each in _TOKENS if each in body or (each == "max_tokens" and asks)]
        better = {"model": names} | dict.fromkeys(few, st.integers(1, 4))
        kept = {name: value for name, value in better.items() if name in body or name == "max_tokens"}
        return st.fixed_dictionaries(kept).map(lambda drawn: body | drawn)

    fit.__name__ = "flatmap_body"
    return fit


def _for_operation(operation: Any, url: str, count: int, chosen_seed: int) -> list[Case]:
    from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
    from hypothesis import strategies as st
    from schemathesis import GenerationMode

    cases: list[Case] = []
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    drawn = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    # hypothesis as a generator: it varies what it draws, and draws the same for the same seed.
    @seed(chosen_seed)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        verbosity=Verbosity.quiet, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(drawn)
    def collect(case: Any) -> None:
        if (made := _on_the_wire(operation.label, case, url)) is not None:
            cases.append(made)

    collect()
    if not cases:
        raise AssertionError(f"{operation.label}: nothing was generated")
    if cases[0].content is not None or operation.method.upper() in ("POST", "PUT", "PATCH"):
        # A route that lists no body may read one all the same; a content type may be wrong.
        kinds = ("application/json", "application/json", "text/plain", "application/json; x", "")
        cases = [
            Case(operation.label, cases[-at - 1].url, body, {"content-type": kinds[at % len(kinds)]})
            for at, body in enumerate(_BROKEN[: max(count // 10, 1)])
            if at < len(cases)
        ] + cases
    # A route without parameters has few requests that differ; they are sent again.
    return [cases[at % len(cases)] for at in range(count)]


def _on_the_wire(route: str, case: Any, url: str) -> Case | None:
    """None for what no client can put into a request: NaN, a line break in a header."""
    import requests

    try:
        request = requests.Request(**case.as_transport_kwargs(base_url=url)).prepare()
    except (requests.RequestException, ValueError):
        return None
    content = request.body.encode() if isinstance(request.body, str) else request.body
    kind = request.headers.get("Content-Type")
    return Case(route, request.url, content, {"content-type": kind} if kind else {})


# Sending and judging.


@dataclass(frozen=True)
class Finding:
    """A reply nobody meant: `status` is None when the connection ended without one."""

    case: Case
    status: int | None
    reply: str


@dataclass
class Outcome:
    """What became of all requests: statuses and failures by route, the first failures of each kind."""

    statuses: dict[str, Counter[int | None]] = field(default_factory=dict)
    failed_by: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, case: Case, status: int | None, kind: str, reply: str) -> None:
        self.statuses.setdefault(case.route, Counter())[status] += 1
        if is_handled(status, kind, reply):
            return
        self.failed_by[case.route] += 1
        alike = [f for f in self.findings if (f.case.route, f.status) == (case.route, status)]
        if len(alike) < 2 and len(self.findings) < _KEPT:
            self.findings.append(Finding(case, status, reply[:500]))

    @property
    def failed(self) -> int:
        return sum(self.failed_by.values())

    @property
    def sent(self) -> int:
        return sum(sum(counts.values()) for counts in self.statuses.values())


def is_handled(status: int | None, kind: str, reply: str) -> bool:
    """Below 500, or one of the few that are said on purpose, in an error document; what is called JSON is."""
    if status is None:
        return False
    try:
        document = json.loads(reply) if kind == "application/json" or status >= 500 else None
    except ValueError:
        return not reply and status < 500  # an answer to HEAD has a type and no body
    return status < 500 or (
        status in _ON_PURPOSE and isinstance(document, dict) and bool(document.get("error"))
    )


def send_all(cases: Sequence[Case], keys: Keys, told: Callable[[], None]) -> Outcome:
    """Send every case, `WORKERS` at a time; `told` is called after each."""
    outcome, lock = Outcome(), threading.Lock()
    workers = threading.local()

    def send(case: Case) -> None:
        if not hasattr(workers, "client"):
            workers.client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)
        found = _send(workers.client, case, keys.header(kind_of(case.route)))
        with lock:
            outcome.add(case, *found)
            told()

    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(send, cases):
            pass
    return outcome


def _send(client: httpx.Client, case: Case, key: Mapping[str, str]) -> tuple[int | None, str, str]:
    """Status, content type, text. Once more if the connection ended: a kept one may have been closed while
    the request was under way."""
    headers = {**case.headers, **key, "x-crma-deadline-ms": str(DEADLINE_MS)}
    method, reply = case.route.partition(" ")[0], ""
    for attempt in ({}, {"connection": "close"}):
        try:
            answer = client.request(method, case.url, content=case.content, headers=headers | attempt)
            return answer.status_code, answer.headers.get("content-type", "").partition(";")[0], answer.text
        except httpx.HTTPError as error:
            reply = f"{type(error).__name__}: {error}"
    return None, "", reply


# The report.


def goals_of(outcome: Outcome, doors: Sequence[Door]) -> tuple[Goal, ...]:
    """Enough was sent, nothing failed, nothing was open."""
    opened = sum(door.is_open for door in doors)
    enough = outcome.sent >= GOAL_REQUESTS
    return (
        Goal("requests", f"at least {GOAL_REQUESTS:,}", f"{outcome.sent:,}", enough),
        Goal("requests that failed", "0", f"{outcome.failed}", not outcome.failed),
        Goal("routes open without their key", "0", f"{opened} of {len(doors)}", not opened),
    )


def fuzz_report(seed: int, left_out: Sequence[str], outcome: Outcome, doors: Sequence[Door]) -> Report:
    """A row for each route; what failed, with the request; what each door answered."""
    without = f" Left out: {', '.join(left_out)}." if left_out else ""
    return Report(
        name="fuzz",
        title="Hostile requests to every route",
        header=("route", "requests", "2xx", "4xx", "5xx said on purpose", "failed"),
        rows=tuple(_row(name, counts, outcome) for name, counts in sorted(outcome.statuses.items())),
        figures={
            "setting": {"seed": seed, "left_out": list(left_out)},
            "goal_requests": GOAL_REQUESTS,
            "reached": all(goal.met for goal in goals_of(outcome, doors)),
            "sent": outcome.sent,
            "failed": outcome.failed,
            "statuses": {
                name: {str(status): count for status, count in counts.items()}
                for name, counts in sorted(outcome.statuses.items())
            },
            "findings": [_finding(each) for each in outcome.findings],
            "doors": [asdict(door) for door in doors],
        },
        remarks=(
            f"{outcome.sent} requests, seed {seed}, each with the key of its route: made by schemathesis "
            f"from the schemas of /openapi.json, valid and invalid, and some that are not JSON.{without}",
            "Failed: a reply of 500 or above that is not an error document of 501, 503 or 504, none at all "
            f"within {_TIMEOUT_S:g} s, or one that is called JSON and is not.",
        ),
        sections=(_failure_section(outcome.findings), _door_section(doors)),
    )


def _row(name: str, counts: Mapping[int | None, int], outcome: Outcome) -> tuple[str, ...]:
    failed = outcome.failed_by.get(name, 0)
    classes = Counter[str]()
    for status, count in counts.items():
        classes["none" if status is None else f"{status // 100}xx"] += count
    on_purpose = max(classes["5xx"] + classes["none"] - failed, 0)
    shown = (sum(counts.values()), classes["2xx"], classes["4xx"], on_purpose, failed)
    return (name, *map(str, shown))


def _finding(found: Finding) -> dict[str, Any]:
    content = found.case.content
    return {
        "request": f"{found.case.route.partition(' ')[0]} {httpx.URL(found.case.url).raw_path.decode()}",
        "status": found.status,
        "headers": dict(found.case.headers),
        "body": None if content is None else content.decode("utf-8", "replace"),
        "reply": found.reply,
    }


def _failure_section(findings: Sequence[Finding]) -> Section:
    shown = [_finding(each) for each in findings]
    rows = tuple(
        (
            each["request"][:120],
            str(each["status"] or "none"),
            _cell((each["body"] or "")[:120]),
            _cell(each["reply"][:200]),
        )
        for each in shown
    )
    header = ("request", "status", "body", "reply") if rows else ()
    return Section("What failed", header, rows, () if rows else ("None.",))


def _door_section(doors: Sequence[Door]) -> Section:
    tries = sorted({name for door in doors for name in door.statuses})
    rows = tuple(
        (
            door.route,
            door.needs,
            *(str(door.statuses.get(name, "")) for name in tries),
            "OPEN" if door.is_open else "",
        )
        for door in doors
    )
    header = ("route", "needs", *(f"{name} key" for name in tries), "")
    remark = "Anything but 401 from a route that is not public counts as open."
    return Section("Without the right key", header, rows, (remark,))


def _cell(text: str) -> str:
    """Text that does not break out of a table."""
    return "`" + text.replace("|", "\\|").replace("`", "'").replace("\n", " ").replace("\r", " ") + "`"
