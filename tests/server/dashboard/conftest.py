"""A real browser, and a server for the dashboard whose engine and store alone are stand-ins."""

import asyncio
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from prometheus_client import CollectorRegistry, generate_latest
from websockets.sync.client import ClientConnection, connect

from crma_adapters.store.card import CARD_FILE, AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.release import AdapterEntry, Part, Release
from crma_adapters.store.release import Canary as StoredCanary
from crma_router.example_map import ExampleMap
from crma_router.policy import ClassifierOutput, Policy, RoutingDecision, decide
from crma_server.admin import api
from crma_server.admin.api import decisions_router
from crma_server.admin.map_api import map_router
from crma_server.admin.service import adapters_document, status_document
from crma_server.dashboard import dashboard_router
from crma_server.http.auth import AuthMiddleware
from crma_server.http.keys import ApiKeyStore, KeySource
from crma_server.http.routing import RoutingMiddleware
from crma_server.observability.decisions import Decisions
from crma_server.observability.metrics import Metrics
from crma_server.observability.middleware import ObservabilityMiddleware
from crma_server.releases.manager import Status
from crma_server.routing.catalog import Canary, Catalog, adapter_entry, backbone_entry
from crma_server.routing.selector import Live, Selector

ADMIN_KEY, INFERENCE_KEY = "the-admin-key", "the-inference-key"
BACKBONE = "a0afad0b46d1"
VERSIONS = {
    "medical": "de91ac039f2f",
    "legal": "3b1f0c9a77e2",
    "financial": "90c2d4e1b8aa",
    "code": "5ef7712ab03c",
}
CANARY = "77aa01b2c3d4"
WORDS = {"medical": "fever", "legal": "court", "financial": "bond", "code": "loop"}
MAP = ExampleMap(
    np.zeros(2, np.float32),
    np.eye(2, dtype=np.float32),
    np.array([[0, 0], [1, 0], [0, 1], [1, 1], [0.4, 0.2]], np.float32),
    (*VERSIONS, None),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class WordRouter:
    """Knows each domain by one word."""

    policy = Policy()

    def route_known(self, text: str) -> RoutingDecision | None:  # noqa: ARG002
        return None

    def route_many(self, texts: list[str]) -> list[RoutingDecision]:
        return [self.route(text) for text in texts]

    def route(self, text: str) -> RoutingDecision:
        known = [name for name, word in WORDS.items() if word in text.lower()]
        sure = 0.90 + len(text) % 10 / 100 if known else 0.2 + len(text) % 25 / 100
        rest = (1 - sure) / (len(WORDS) - 1)
        leader = known[0] if known else "medical"
        scores = {name: sure if name == leader else rest for name in WORDS}
        decision = decide(ClassifierOutput(scores, 0.4 if known else 1.8, 1.0), self.policy)
        return replace(decision, place=(0.5, 0.5))


def make_release(number: int, *, canary: bool) -> Release:
    notes = {12: "a canary for medical", 11: "weekly retraining", 10: "code: more rows", 9: "first router"}
    entries = {name: AdapterEntry(Part(version, {}), BACKBONE, None) for name, version in VERSIONS.items()}
    if canary:
        medical = StoredCanary(Part(CANARY, {}), BACKBONE, 0.01, 0.2)
        entries["medical"] = AdapterEntry(Part(VERSIONS["medical"], {}), BACKBONE, None, medical)
    return Release(
        number=number,
        created=f"2026-01-{number:02}T09:30:00Z",
        base_model="smollm2-135m",
        base_fingerprint="f",
        backbone=Part(BACKBONE, {}),
        adapters=entries,
        router=Part("c0ffee012345", {}),
        note=notes.get(number, ""),
    )


class StandIn:
    """The server; a test changes what it is and reads what it was asked."""

    def __init__(self, store: Path) -> None:
        self.store = store
        for name, version in VERSIONS.items():
            write_card(self.adapter_dir(name, version), name)
        self.decisions = Decisions()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.asked: list[dict[str, Any]] = []
        self.token_s = 0.01
        self.break_off = False
        self.status = Status(None, (), None, (), None)
        self.set_release(12, canary=True)
        self.app = self._application()
        self._loop = asyncio.new_event_loop()
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_level="warning", lifespan="off"))
        self.port = _free_port()
        self._server.config.port = self.port
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._server.serve(),))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._loop.close()

    def set_release(self, number: int, *, canary: bool) -> None:
        self.release = make_release(number, canary=canary)
        self.history = [
            self.release,
            *(make_release(each, canary=False) for each in range(number - 1, 7, -1)),
        ]
        self.metrics.set_release(self.release)
        self.status = Status(number, (number, number - 1, number - 2), None, (), None)
        canaries = {"medical": Canary(adapter_entry("medical", CANARY, BACKBONE), 0.2)} if canary else {}
        entries = {name: adapter_entry(name, version, BACKBONE) for name, version in VERSIONS.items()}
        catalog = Catalog(entries, backbone_entry(BACKBONE), ["smollm2-135m"], canaries=canaries)
        self.live = Live(catalog, WordRouter(), number)
        if hasattr(self, "selector"):
            self.selector.live = self.live

    def call(self, work: Any) -> Any:
        """Run a coroutine function in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _application(self) -> Any:
        app = FastAPI()
        app.include_router(dashboard_router())
        app.include_router(decisions_router(self.decisions, lambda: self._server.should_exit))
        app.include_router(map_router(lambda: (12, MAP)))
        app.add_api_route("/crma/v1/status", self._status)
        app.add_api_route("/crma/v1/adapters", self._adapters)
        app.add_api_route("/metrics", self._metrics)
        app.add_api_route("/v1/models", self._models)
        app.add_api_route("/v1/chat/completions", self._chat, methods=["POST"])
        self.selector = Selector(self.live, self.metrics)
        inference, admin = ApiKeyStore(KeySource((INFERENCE_KEY,))), ApiKeyStore(KeySource((ADMIN_KEY,)))
        guard = AuthMiddleware(
            RoutingMiddleware(app, self.selector), inference, admin, self.metrics.count_limited
        )
        return ObservabilityMiddleware(guard, listeners=(self.decisions.add,))

    def adapter_dir(self, name: str, version: str) -> Path:
        return self.store / name / version

    async def _status(self) -> dict[str, Any]:
        return status_document(self.status, self.release, self.history)

    async def _adapters(self) -> dict[str, Any]:
        plan: Any = SimpleNamespace(release=self.release, catalog=self.live.catalog, kept=())
        folders: Any = self
        return {"adapters": adapters_document(plan, folders)}

    async def _metrics(self) -> PlainTextResponse:
        return PlainTextResponse(generate_latest(self.registry))

    async def _models(self) -> dict[str, Any]:
        names = [listing.name for listing in self.selector.live.catalog.listings()]
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}

    async def _chat(self, request: Request) -> StreamingResponse:
        body = await request.json()
        self.asked.append(body | {"session": request.headers.get("x-session-id")})
        return StreamingResponse(self._tokens(body), media_type="text/event-stream")

    async def _tokens(self, body: dict[str, Any]) -> AsyncIterator[str]:
        start_s = time.perf_counter()
        model = body["model"]
        adapter, _, rest = model.partition("@")
        version = rest.removesuffix(":crma-off").partition("+")[0] or None
        text = ANSWERS.get(adapter, ANSWERS["base"])
        pieces = [piece + " " for piece in text.split(" ")]
        first_s = None
        for piece in pieces:
            await asyncio.sleep(self.token_s)
            first_s = first_s or time.perf_counter() - start_s
            yield _chunk(model, {"choices": [{"index": 0, "delta": {"content": piece}}]})
            if self.break_off:
                return
        usage = {"prompt_tokens": 20, "completion_tokens": len(pieces), "total_tokens": 20 + len(pieces)}
        yield _chunk(model, {"choices": [], "usage": usage})
        yield "data: [DONE]\n\n"
        took_s = time.perf_counter() - start_s
        self.metrics.observe_generation((adapter, version, True), 20, len(pieces), first_s, took_s)


ANSWERS = {
    "medical": (
        "A fever is a body temperature over 38 °C. In most adults it passes by itself within a few days: "
        "rest, drink enough, and take paracetamol if it troubles you. See a doctor if it lasts longer than "
        "three days or comes with a stiff neck, confusion or a rash."
    ),
    "legal": "A court decides on the evidence that both sides bring before it.",
    "base": "I am not sure, but here is what I can say about it. <b>This is text</b>, not markup.",
}


def _chunk(model: str, members: dict[str, Any]) -> str:
    return f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'model': model} | members)}\n\n"


def write_card(folder: Path, name: str) -> None:
    """An adapter's card as training writes one."""
    sources = {"medical": "MedQuAD", "legal": "LegalBench", "financial": "FiQA", "code": "MBPP"}
    after = {"medical": 1.94, "legal": 2.07, "financial": 2.21, "code": 1.38}
    card = AdapterCard(
        name=name,
        base_model="smollm2-135m",
        base_fingerprint="f",
        backbone=BACKBONE,
        rank=16,
        alpha=32.0,
        target_modules=("q_proj", "v_proj"),
        data=CardData(2400, 200, (sources[name],), ("CC-BY-4.0",)),
        training=CardTraining(450, 3.0, 0, 2e-4, 312_000),
        holdout_loss=CardLoss(2.61, 2.55, after[name]),
    )
    folder.mkdir(parents=True)
    (folder / CARD_FILE).write_bytes(card.to_json())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Page:
    """One tab of its own session, driven over the DevTools protocol."""

    def __init__(self, wire: ClientConnection, width: int, height: int) -> None:
        self._wire = wire
        self._count = 0
        self._session: str | None = None
        self.errors: list[str] = []
        self.requested: list[str] = []
        self._context = self.command("Target.createBrowserContext")["browserContextId"]
        target = self.command("Target.createTarget", url="about:blank", browserContextId=self._context)
        attached = self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        self.resize(width, height)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._wire.send(json.dumps(message))
        while True:
            reply = json.loads(self._wire.recv(timeout=20))
            if reply.get("id") == self._count:
                assert "error" not in reply, f"{method}: {reply['error']}"
                result: dict[str, Any] = reply["result"]
                return result
            self._hear(reply)

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("sessionId") != self._session:
            return
        method, given = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(given["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning"):
            self.errors.append(json.dumps(given["args"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.errors.append(f"{given['entry']['source']}: {given['entry']['text']}")
        elif method == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])

    def resize(self, width: int, height: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def prefer(self, scheme: str) -> None:
        """What the system's colours are: light or dark."""
        self.command(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def open(self, address: str) -> None:
        self.command("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.protocol === 'http:'")

    def evaluate(self, expression: str) -> Any:
        result = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, expression: str, timeout_s: float = 30) -> Any:
        """Until the expression is true."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := self.evaluate(expression)):
            shown = self.evaluate("document.body?.innerText")
            assert time.monotonic() < deadline_s, f"never: {expression}\n{shown}\n{self.errors}"
            time.sleep(0.03)
        return value

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def count(self, selector: str) -> int:
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def focused(self) -> str:
        """The id of what has the focus, or its tag."""
        return str(self.evaluate("document.activeElement.id || document.activeElement.tagName"))

    def click(self, selector: str) -> None:
        """With the mouse, where the element is."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1
            )

    def press(self, key: str, *, shift: bool = False) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowDown": 40}
        text = {"Enter": "\r", " ": " "}.get(key)
        common = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        down = common | ({"text": text} if text else {})
        self.command("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **down)
        self.command("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.command("Input.insertText", text=text)

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._session = None
        self.command("Target.disposeBrowserContext", browserContextId=self._context)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientConnection]:
    """A running Chromium. Without one on this machine the tests that need it are skipped."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(
            f"no Chromium on this machine: looked for {', '.join(BROWSERS)}; install one to test the page"
        )
    profile = tmp_path_factory.mktemp("chromium")
    flags = ["--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--disable-gpu"]
    flags += [
        "--no-first-run",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--hide-scrollbars",
    ]
    if os.geteuid() == 0:  # Chromium has no sandbox for root
        flags.append("--no-sandbox")
    process = subprocess.Popen(
        [found, *flags, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        with connect(_devtools(profile, process), max_size=None) as wire:
            yield wire
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _devtools(profile: Path, process: subprocess.Popen[bytes]) -> str:
    file = profile / "DevToolsActivePort"
    deadline_s = time.monotonic() + 60
    while not (file.exists() and file.read_text().count("\n")):
        assert process.poll() is None, f"Chromium ended with {process.returncode}"
        assert time.monotonic() < deadline_s, "Chromium did not start within a minute"
        time.sleep(0.05)
    port, path = file.read_text().split("\n")[:2]
    return f"ws://127.0.0.1:{port}{path}"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(api, "_LOOK_S", 0.1)  # so that a server stops sooner
    server = StandIn(tmp_path / "store")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def page(browser: ClientConnection) -> Iterator[Page]:
    tab = Page(browser, 1280, 900)
    yield tab
    tab.close()


@pytest.fixture
def connected(page: Page, stand_in: StandIn) -> Page:
    """The page with both keys, showing what the stand-in has."""
    page.open(f"{stand_in.address}/crma")
    page.wait("document.getElementById('keys').open")
    page.type(ADMIN_KEY)
    page.press("Tab")
    page.type(INFERENCE_KEY)
    page.press("Enter")
    page.wait("document.querySelectorAll('.card').length === 4")
    page.wait("document.getElementById('stream-state').textContent === 'live'")
    page.errors.clear()  # without a key the server answers 401, as it should
    return page
