"""What pages of other origins may read of a reply."""

from fastapi import FastAPI, Response
from fastapi.testclient import TestClient
from starlette.middleware.cors import CORSMiddleware

from crma_server.http.marks import show_marks_to_pages


def test_pages_may_read_what_answered_where_they_may_ask() -> None:
    app = FastAPI()
    app.add_middleware(CORSMiddleware, allow_origins=["https://chat.example"])
    show_marks_to_pages(app)

    @app.post("/v1/chat/completions")
    def answer() -> Response:
        return Response(headers={"x-crma-adapter": "medical"})

    reply = TestClient(app).post("/v1/chat/completions", headers={"origin": "https://chat.example"})
    shown = reply.headers["access-control-expose-headers"].split(", ")
    assert {"x-crma-adapter", "x-crma-path", "x-request-id", "retry-after"} <= set(shown)
    stranger = TestClient(app).post("/v1/chat/completions", headers={"origin": "https://other.example"})
    assert "access-control-allow-origin" not in stranger.headers
