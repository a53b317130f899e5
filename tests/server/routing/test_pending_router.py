import pickle
from pathlib import Path

import pytest

from crma_adapters.errors import RouterError
from crma_router.encoders.base import Embedder
from crma_router.router import Router
from crma_server.releases.plan import PendingRouter, load_router


def test_it_loads_once(small_router: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Path] = []
    real = Router.load

    def load(folder: Path, embedder: Embedder | None = None) -> Router:
        loads.append(folder)
        return real(folder, embedder)

    monkeypatch.setattr(Router, "load", load)
    pending = PendingRouter(small_router)
    pending.start()
    assert pending.result() is pending.result()
    assert loads == [small_router]
    assert pending.result().route("How do doctors treat diabetes?").domain == "medical"


def test_it_travels_without_what_it_has_loaded(small_router: Path) -> None:
    pending = PendingRouter(small_router)
    pending.start()
    travelled = pickle.loads(pickle.dumps(pending))  # noqa: S301
    assert travelled.result().domains == pending.result().domains


def test_a_broken_router_says_so(tmp_path: Path) -> None:
    with pytest.raises(RouterError):
        PendingRouter(tmp_path).result()


def test_the_next_router_shares_the_embedder_and_no_decisions(small_router: Path) -> None:
    first = Router.load(small_router)
    question = "How do doctors treat diabetes?"
    first.route(question)
    second = load_router(small_router, first)
    third = load_router(small_router, second)
    assert second is not first
    assert third.embedder is second.embedder is first.embedder
    assert first.route_known(question) is not None
    assert third.route_known(question) is None  # a decision is its router's own


def test_a_router_that_is_there_already_is_not_loaded(tmp_path: Path, small_router: Path) -> None:
    pending = PendingRouter(tmp_path)
    pending.give(router := Router.load(small_router))
    assert pending.result() is router
