import re
from importlib.resources import files

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crma_server.dashboard import dashboard_router
from crma_server.http.access import Access, access_to


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(dashboard_router())
    return TestClient(app)


def test_the_page_and_every_file_it_loads_are_there(client: TestClient) -> None:
    page = client.get("/crma")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = re.findall(r'(?:src|href)="(crma/static/[^"]+)"', page.text)
    assert len(loaded) == 4
    scripts = {"/" + path for path in loaded}
    for path in sorted(scripts):  # and what the scripts import
        text = client.get(path).text
        scripts |= {f"/crma/static/{name}" for name in re.findall(r'from "\./([\w.]+)"', text)}
    assert "/crma/static/playground.js" in scripts
    for path in scripts:
        reply = client.get(path)
        assert reply.status_code == 200, path
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert access_to("GET", path) is Access.PUBLIC


def test_nothing_inline_and_nothing_from_elsewhere(client: TestClient) -> None:
    reply = client.get("/crma")
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in str(policy)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style| style=| on\w+=", reply.text)
    for file in files("crma_server").joinpath("dashboard", "static").iterdir():
        addresses = re.findall(r"https?://[^\s\"'`]+", file.read_text(encoding="utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, file.name


def test_a_page_that_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/crma").headers["etag"]
    again = client.get("/crma", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/crma", headers={"if-none-match": '"other"'}).status_code == 200
    assert client.get("/crma").headers["cache-control"] == "no-cache"


def test_a_head_has_the_headers_alone(client: TestClient) -> None:
    reply = client.head("/crma/static/style.css")
    assert reply.status_code == 200
    assert reply.content == b""
    assert int(reply.headers["content-length"]) > 1000


@pytest.mark.parametrize(
    "name",
    ["missing.js", "..%2froutes.py", "..%2f..%2fpyproject.toml", "%2e%2e", "index.html%00", "."],
)
def test_nothing_but_the_files_of_the_page_can_be_had(client: TestClient, name: str) -> None:
    reply = client.get(f"/crma/static/{name}")
    assert reply.status_code == 404
    assert b"Owns:" not in reply.content
