"""The model list over a real FastAPI application."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

from crma_server.http.models import Served, models_router
from crma_server.routing.catalog import Catalog, adapter_entry, backbone_entry

MEDICAL, CRMA = "de91ac039f2f", "a0afad0b46d1"


def client() -> TestClient:
    catalog = Catalog({"medical": adapter_entry("medical", MEDICAL, CRMA)}, backbone_entry(CRMA), ["smollm2"])
    app = FastAPI()
    app.include_router(models_router(lambda: Served(catalog, None, 8192)))
    return TestClient(app)


def names(path: str) -> list[str]:
    reply = client().get(path)
    assert reply.status_code == 200
    assert reply.json()["object"] == "list"
    return [model["id"] for model in reply.json()["data"]]


def test_the_list_is_what_people_choose_from() -> None:
    assert names("/v1/models") == ["auto", "smollm2", "medical", "backbone", "base"]


def test_every_name_is_there_on_request() -> None:
    listed = names("/v1/models?names=all")
    assert f"medical@{MEDICAL}+{CRMA}" in listed
    assert "medical:crma-off" in listed
    assert client().get("/v1/models?names=some").status_code == 422


def test_any_name_that_answers_is_a_model() -> None:
    for name in names("/v1/models?names=all"):
        card = client().get(f"/v1/models/{name}").json()
        assert (card["id"], card["object"], card["max_model_len"]) == (name, "model", 8192)
    reply = client().get("/v1/models/nobody")
    assert reply.status_code == 404
    assert reply.json()["error"]["type"] == "NotFoundError"
