"""The admin API on a real store and real releases, over a stand-in for the engine."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from crma_adapters.models.base_model import BaseModel
from crma_adapters.store.store import Store
from crma_server.admin.api import admin_router
from crma_server.admin.service import StoreOperations
from crma_server.app import add_layers
from crma_server.http.keys import KeySource
from crma_server.http.limits import Drain
from crma_server.observability.metrics import Metrics
from crma_server.releases.manager import Releases, make_live
from crma_server.releases.plan import StoreSource, make_plan
from crma_server.releases.snapshot import open_snapshot
from crma_server.routing.selector import Selector
from crma_server.settings import Settings

from ..conftest import publish_small_store, write_adapter, write_lora
from ..fake_engine import FakeEngine

Act = Callable[["Admin"], Awaitable[None]]


class Admin:
    """A server of `root` and a client with the admin key. Made within an event loop."""

    def __init__(self, root: Path) -> None:
        plan = make_plan(open_snapshot(root, None))
        self.store = Store(root)
        self.engine = FakeEngine(slots=8)
        metrics = Metrics(CollectorRegistry())
        selector = Selector(make_live(plan, None), metrics)
        self.releases = Releases(plan, StoreSource(plan.origin, 8), self.engine, selector, metrics)
        app = FastAPI()
        settings = Settings(KeySource(("user",)), KeySource(("boss",)))
        add_layers(app, settings, selector, Drain(), lambda _: None, lambda: None)
        app.include_router(admin_router(StoreOperations(root, lambda: self.releases)))
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://x", headers={"x-api-key": "boss"}
        )

    async def get(self, path: str, **query: Any) -> Any:
        reply = await self._client.get(path, params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        reply = await self._client.post(path, json=body)
        assert reply.status_code == status, reply.text
        return reply.json() if "json" in reply.headers["content-type"] else reply.text

    async def refused(self, path: str, body: Any, status: int) -> str:
        return str((await self.post(path, body, status))["error"]["message"])

    def version(self, name: str) -> str:
        return self.store.live().adapters[name].part.version


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory, base_model: BaseModel) -> Path:
    """A second version of medical, to be added."""
    folder = tmp_path_factory.mktemp("second")
    backbone = Store(_published(folder, base_model)).live().backbone
    assert backbone is not None
    return write_adapter(folder / "new", name="medical", base=base_model, backbone=backbone.version, seed=50)


@pytest.fixture
def unchanged(drafts: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store for tests that change nothing."""
    monkeypatch.setenv("CRMA_CACHE", str(own_cache))
    return drafts.parent / "store"


@pytest.fixture
def store(tmp_path: Path, base_model: BaseModel, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CRMA_CACHE", str(own_cache))
    return _published(tmp_path, base_model)


def _published(folder: Path, base: BaseModel) -> Path:
    publish_small_store(folder / "store", folder / "drafts", base, None)
    return folder / "store"


def play(root: Path, act: Act) -> None:
    async def run() -> None:
        admin = Admin(root)
        await admin.releases.start()
        await act(admin)
        await admin.releases.close()

    asyncio.run(run())


def test_what_is_told(store: Path) -> None:
    write_lora(store / "pirate", seed=99)

    async def act(admin: Admin) -> None:
        live = admin.store.live()
        status = await admin.get("/crma/v1/status")
        assert (status["live"], status["kept"], status["loading"], status["refusal"]) == (1, [1], None, None)
        assert status["backbone"] == (live.backbone.version if live.backbone else "")
        assert status["router"] is None
        assert [each["number"] for each in status["history"]] == [1]
        assert status["history"][0]["adapters"].keys() == {"medical", "legal"}
        legal, medical, pirate = (await admin.get("/crma/v1/adapters"))["adapters"]
        assert (legal["name"], medical["name"], pirate["name"]) == ("legal", "medical", "pirate")
        assert medical["version"] == admin.version("medical")
        assert medical["card"]["rank"] == 4
        assert medical["canary"] is None
        assert pirate["plain"]
        assert len(pirate["version"]) == 12
        document = await admin.get("/crma/v1/release")
        assert document["adapters"]["medical"]["part"]["files"]
        assert await admin.get("/crma/v1/release", number=1) == document
        assert [each["number"] for each in (await admin.get("/crma/v1/releases"))["releases"]] == [1]

    play(store, act)


def test_a_canary_from_trial_to_live_and_back(store: Path, drafts: Path) -> None:
    async def act(admin: Admin) -> None:
        old, new = admin.version("medical"), admin.store.add_adapter("medical", drafts).version
        body = {"name": "medical", "version": new, "weight": 0.25}
        done = await admin.post("/crma/v1/canary", body)
        assert done["release"]["canaries"] == {"medical": {"version": new, "weight": 0.25}}
        assert done["status"]["live"] == 2
        assert any(name.startswith(f"medical@{new}+") for name in admin.engine.memory)
        _, medical = (await admin.get("/crma/v1/adapters"))["adapters"]
        assert medical["canary"] == {"version": new, "weight": 0.25}

        await admin.post("/crma/v1/drop", {"name": "medical"})
        assert (await admin.get("/crma/v1/status"))["live"] == 3
        await admin.post("/crma/v1/canary", body)
        done = await admin.post("/crma/v1/promote", {"name": "medical"})
        assert done["status"]["live"] == 5
        _, medical = (await admin.get("/crma/v1/adapters"))["adapters"]
        assert (medical["version"], medical["kept"]) == (new, [old])

        done = await admin.post("/crma/v1/rollback", {"release": 1})
        assert done["status"]["live"] == 6
        assert admin.version("medical") == old
        await admin.post("/crma/v1/rollback")
        assert admin.version("medical") == new

    play(store, act)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/crma/v1/rollback", {"release": 99}, 409, "99"),
        ("/crma/v1/rollback", {}, 400, "release 1 is live"),
        ("/crma/v1/promote", {"name": "medical"}, 409, "no canary"),
        ("/crma/v1/drop", {"name": "../medical"}, 409, "no such adapter"),
        ("/crma/v1/canary", {"name": "medical", "version": "0" * 12, "weight": 0.5}, 409, "not in the store"),
        ("/crma/v1/canary", {"name": "medical", "version": "../../x", "weight": 0.5}, 409, "version"),
        ("/v1/load_lora_adapter", {"lora_name": "medical"}, 400, "NAME@VERSION"),
        ("/v1/load_lora_adapter", {"lora_name": "auto"}, 400, "NAME@VERSION"),
        ("/v1/load_lora_adapter", {"lora_name": "base"}, 400, "NAME@VERSION"),
        ("/v1/load_lora_adapter", {"lora_name": "medical@" + "0" * 12}, 404, "does not exist"),
        ("/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/etc"}, 404, "does not exist"),
        ("/v1/unload_lora_adapter", {"lora_name": "nope@" + "0" * 12}, 404, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_said(unchanged: Path, path: str, body: Any, status: int, says: str) -> None:
    async def act(admin: Admin) -> None:
        assert says in await admin.refused(path, body, status)
        assert admin.store.live().number == 1
        assert (await admin.get("/crma/v1/status"))["live"] == 1

    play(unchanged, act)


def test_adapters_are_loaded_and_unloaded_by_exact_name_and_from_the_store_alone(
    store: Path, drafts: Path, tmp_path: Path
) -> None:
    async def act(admin: Admin) -> None:
        old = admin.version("medical")
        new = admin.store.add_adapter("medical", drafts).version
        await admin.post("/crma/v1/canary", {"name": "medical", "version": new, "weight": 0.5})
        await admin.post("/crma/v1/promote", {"name": "medical"})
        while admin.releases.status().draining:
            await asyncio.sleep(0)
        loaded = [name for name in admin.engine.memory if name.startswith(f"medical@{old}")]
        assert loaded == []

        assert "does not exist" in await admin.refused("/v1/load_lora_adapter", {"lora_name": "x@1"}, 404)
        load = {"lora_name": f"medical@{old}"}
        for path in ("/etc", str(tmp_path), f"{store}/medical/{old}/../{new}", f"{store}/legal", ""):
            assert "lora_path" in await admin.refused(
                "/v1/load_lora_adapter", load | {"lora_path": path}, 400
            )
        inplace = load | {"load_inplace": True}
        assert "load_inplace" in await admin.refused("/v1/load_lora_adapter", inplace, 400)
        assert [name for name in admin.engine.memory if name.startswith(f"medical@{old}")] == []

        said = await admin.post("/v1/load_lora_adapter", load | {"lora_path": f"{store}/medical/{old}"})
        assert said == f"Success: LoRA adapter 'medical@{old}' added successfully."
        assert any(name.startswith(f"medical@{old}+") for name in admin.engine.memory)
        await admin.post("/v1/unload_lora_adapter", load)
        assert not any(name.startswith(f"medical@{old}+") for name in admin.engine.memory)
        assert any(name.startswith(f"medical@{old}+") for name in admin.engine.names)  # it still answers
        live = {"lora_name": f"medical@{new}"}
        assert "is live" in await admin.refused("/v1/unload_lora_adapter", live, 400)

    play(store, act)


def test_what_was_refused_is_tried_again_when_asked_to(store: Path, drafts: Path) -> None:
    async def act(admin: Admin) -> None:
        new = admin.store.add_adapter("medical", drafts).version
        weights = store / "medical" / new / "adapter_model.safetensors"
        sound = weights.read_bytes()
        admin.store.set_canary("medical", new, weight=0.5)
        weights.write_bytes(sound[:-8])
        await admin.releases.notice()
        status = await admin.get("/crma/v1/status")
        assert (status["live"], status["refusal"]["release"]) == (1, 2)
        assert "adapter_model.safetensors" in status["refusal"]["reason"]
        weights.write_bytes(sound)
        assert (await admin.post("/crma/v1/reload"))["live"] == 2

    play(store, act)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/crma/v1/canary", {"name": "medical"}),
        ("/crma/v1/canary", {"name": "medical", "version": "0" * 12, "weight": "0.5"}),
        ("/crma/v1/canary", {"name": "medical", "version": "0" * 12, "weight": 1.0}),
        ("/crma/v1/canary", {"name": "medical", "version": "0" * 12, "weight": 0.0}),
        ("/crma/v1/promote", {"name": ["medical"]}),
        ("/crma/v1/promote", {"name": "medical", "path": "/etc"}),
        ("/crma/v1/rollback", {"release": 0}),
        ("/crma/v1/rollback", {"release": True}),
        ("/crma/v1/rollback", {"release": 10**30}),
        ("/v1/load_lora_adapter", {}),
        ("/v1/load_lora_adapter", [1]),
    ],
)
def test_bodies_that_are_none_are_refused(unchanged: Path, path: str, body: Any) -> None:
    async def act(admin: Admin) -> None:
        await admin.post(path, body, status=422)

    play(unchanged, act)


def test_without_the_guard_the_routes_are_closed(unchanged: Path) -> None:
    async def run() -> None:
        app = FastAPI()
        app.include_router(admin_router(StoreOperations(unchanged, lambda: None)))  # type: ignore[arg-type,return-value]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            assert (await client.get("/crma/v1/status")).status_code == 401
            assert (await client.post("/v1/load_lora_adapter", json={"lora_name": "a"})).status_code == 401

    asyncio.run(run())
