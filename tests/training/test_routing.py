"""The router of a release."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from crma_adapters.errors import RouterError
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_router.classifier.kept_examples import load_examples
from crma_router.router import Router
from crma_training.cli import main

Train = Callable[..., Release]
WriteRows = Callable[..., Path]


@pytest.fixture(autouse=True)
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads turns is fitted on few, which takes a second instead of most of a minute."""
    monkeypatch.setattr("crma_router.roles.role_classifier.TURNS", 200)


def test_the_router_knows_every_domain_of_the_release_and_small_talk(train: Train, tmp_path: Path) -> None:
    release = train(domains=("code", "medical", "legal"), router=True, steps=1)
    assert release.router is not None
    router = Router.load(tmp_path / "store" / "router" / release.router.version)
    assert router.domains == ("code", "legal", "medical")
    assert router.route("Tell me about a fever").domain == "medical"
    assert router.route("hello").domain is None
    kept = load_examples(tmp_path / "store" / "router" / release.router.version)
    assert set(kept.examples) == {"code", "legal", "medical"}
    assert "hello" in kept.out_of_domain
    wider = train(domains=("financial",), router=True, steps=1, run=tmp_path / "run2")
    assert wider.router is not None
    wider_router = Router.load(tmp_path / "store" / "router" / wider.router.version)
    assert wider_router.domains == ("code", "financial", "legal", "medical")


def test_what_the_router_refuses_is_known_before_training(
    train: Train, tmp_path: Path, write_rows: WriteRows
) -> None:
    write_rows("cooking.jsonl", [{"question": f"{word}?", "answer": "a"} for word in ("boil", "fry", "bake")])
    with pytest.raises(RouterError, match="domain 'cooking' has 2 distinct questions"):
        train(domains=("code", "cooking"), router=True)
    assert not (tmp_path / "run" / "code").exists()


def test_a_release_may_leave_the_routers_questions_out(train: Train, tmp_path: Path) -> None:
    release = train(domains=("code", "legal"), router=True, steps=1, keep_examples=False)
    assert release.router is not None
    folder = tmp_path / "store" / "router" / release.router.version
    assert sorted(path.name for path in folder.iterdir()) == ["router.json", "router.safetensors"]


def test_the_router_alone_can_be_fitted_again(train: Train, tmp_path: Path, data_folder: Path) -> None:
    before = train(domains=("code", "legal"), router=True, steps=1, keep_examples=False)
    flags = ["--data", str(data_folder), "--adapters", str(tmp_path / "store")]
    assert main(["router", *flags, "--seed", "1"]) == 0
    after = Store(tmp_path / "store").live()
    assert (after.number, after.adapters, after.backbone) == (2, before.adapters, before.backbone)
    assert after.router is not None and after.router != before.router
    folder = tmp_path / "store" / "router" / after.router.version
    assert Router.load(folder).domains == ("code", "legal")
    assert set(load_examples(folder).examples) == {"code", "legal"}


def test_a_router_knows_every_adapter_or_is_not_published(
    train: Train, tmp_path: Path, data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(domains=("code", "legal"), steps=1)
    shutil.rmtree(data_folder / "legal")
    assert main(["router", "--data", str(data_folder), "--adapters", str(tmp_path / "store")]) == 2
    assert "has no questions of legal" in capsys.readouterr().err
    assert Store(tmp_path / "store").live().number == 1
