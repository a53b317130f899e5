"""`crma-route` on a published store, with the real embedder."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from crma_adapters.card import AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.release import AdapterEntry
from crma_adapters.store import Store
from crma_router.cli import main
from crma_router.embedder import SentenceTransformerEmbedder
from crma_router.router import RouterData, fit_router

FINGERPRINT = "ab" * 32
WORDS = {
    "medical": "fever cough asthma diabetes migraine measles pneumonia anaemia arthritis epilepsy eczema",
    "legal": "tort statute verdict plaintiff felony appeal contract subpoena perjury injunction bail custody",
}
CHAT = "hello|thanks|good morning|tell me a joke|how are you|nice weather|bye|your name?|sing a song|ok|hi"
MODULE = "base_model.model.model.layers.0.self_attn.q_proj"


def adapter_folder(parent: Path, name: str) -> Path:
    """The least that the store takes as an adapter of that name."""
    folder = parent / name
    folder.mkdir()
    shapes = {"lora_A": (2, 8), "lora_B": (8, 2)}
    tensors = {f"{MODULE}.{part}.weight": np.ones(shape, np.float32) for part, shape in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    data = CardData(rows_train=1, rows_holdout=1, sources=("here",), licences=("MIT",))
    training = CardTraining(steps=1, epochs=1.0, seed=0, learning_rate=1e-3, tokens=1)
    loss = CardLoss(base=3.0, before=3.0, after=2.0)
    card = AdapterCard(name, "tiny", FINGERPRINT, None, 2, 2.0, ("q_proj",), data, training, loss)
    (folder / "adapter.json").write_bytes(card.to_json())
    return folder


def publish(root: Path, scratch: Path, *, with_router: bool) -> Store:
    store = Store(root)
    parts = {name: store.add_adapter(name, adapter_folder(scratch, name)) for name in WORDS}
    router = None
    if with_router:
        examples = {name: [f"What is {word}?" for word in words.split()] for name, words in WORDS.items()}
        fit_router(RouterData(examples, CHAT.split("|")), SentenceTransformerEmbedder()).save(
            scratch / "router"
        )
        router = store.add_router(scratch / "router")
    adapters = {name: AdapterEntry(part, None, None) for name, part in parts.items()}
    store.publish(
        base_model="tiny", base_fingerprint=FINGERPRINT, backbone=None, adapters=adapters, router=router
    )
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return publish(tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("scratch"), with_router=True)


def test_it_says_where_a_text_goes_and_why(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--adapters", str(store.root), "What is whooping cough?"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert "Loading weights" not in printed.err
    assert lines[0] == "adapter     medical (routed)"
    assert [line.split()[0] for line in lines] == [
        "adapter", "confidence", "because", "scores", "distance", "router",
    ]  # fmt: skip
    assert "legal 0." in lines[3]
    release = store.live()
    assert release.router is not None
    assert f"{release.router.version} of release 1, embedder all-MiniLM-L6-v2" in lines[5]


def test_json_holds_the_whole_decision(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--adapters", str(store.root), "--json", "hello, how are you?"]) == 0
    decision = json.loads(capsys.readouterr().out)
    assert (decision["domain"], decision["path"], decision["release"]) == (None, "fallback", 1)
    assert decision["ood_distance"] > decision["ood_threshold"]
    assert set(decision["scores"]) == set(WORDS)
    assert decision["reason"]


def test_a_text_of_no_words_has_a_reason(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--adapters", str(store.root), ""]) == 0
    out = capsys.readouterr().out
    assert "adapter     none: the backbone alone answers (fallback)" in out
    assert "because     there are no words to route by" in out


def test_a_release_without_a_router_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    publish(tmp_path / "store", scratch, with_router=False)
    assert main(["--adapters", str(tmp_path / "store"), "fever"]) == 2
    assert "has no router" in capsys.readouterr().err


def test_no_store_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--adapters", str(tmp_path / "nowhere"), "fever"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
