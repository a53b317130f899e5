"""The map's route on an application of its own."""

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient

from crma_router.example_map import ExampleMap
from crma_server.admin.map_api import map_router

MAP = ExampleMap(
    np.zeros(2, np.float32),
    np.eye(2, dtype=np.float32),
    np.array([[0.12345, -1], [0, 0.5], [2, 2]], np.float32),
    ("legal", None, "code"),
)


def test_points_bear_their_domain_and_no_text() -> None:
    app = FastAPI()
    app.include_router(map_router(lambda: (8, MAP)))
    document = TestClient(app).get("/crma/v1/map").json()
    assert document == {
        "release": 8,
        "domains": ["code", "legal", None],
        "points": [[0.123, -1.0, 1], [0.0, 0.5, 2], [2.0, 2.0, 0]],
    }
