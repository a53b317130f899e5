"""`crma-route` on a published store, with the real embedder."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from crma_adapters.errors import RouterError
from crma_adapters.store.card import AdapterCard, CardData, CardLoss, CardTraining
from crma_adapters.store.release import AdapterEntry
from crma_adapters.store.store import Store
from crma_router.classifier.artifact import DOCUMENT_NAME
from crma_router.classifier.kept_examples import save_examples
from crma_router.cli.change import calibrate, load_live, publish_change
from crma_router.cli.main import main
from crma_router.encoders.sentence_transformers import SentenceTransformerEmbedder
from crma_router.policy import Policy
from crma_router.roles.role_classifier import everything_asked
from crma_router.router import Router, RouterData, fit_router

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


def publish(
    root: Path, scratch: Path, *, with_router: bool, keep: bool = True, earlier: bool = False
) -> Store:
    store = Store(root)
    parts = {name: store.add_adapter(name, adapter_folder(scratch, name)) for name in WORDS}
    router = None
    if with_router:
        examples = {name: [f"What is {word}?" for word in words.split()] for name, words in WORDS.items()}
        data = RouterData(examples, CHAT.split("|"))
        router_of = fit_router(data, SentenceTransformerEmbedder(), roles=everything_asked(384))
        router_of.save(scratch / "router")
        if earlier:
            path = scratch / "router" / DOCUMENT_NAME
            path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
        if keep:
            save_examples(data, scratch / "router")
        router = store.add_router(scratch / "router")
    adapters = {name: AdapterEntry(part, None, None) for name, part in parts.items()}
    store.publish(
        base_model="tiny", base_fingerprint=FINGERPRINT, backbone=None, adapters=adapters, router=router
    )
    return store


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path_factory.getbasetemp() / "route-cache"))


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
        "adapter", "confidence", "because", "scores", "distance", "router", "like", "like", "like",
    ]  # fmt: skip
    assert "legal 0." in lines[3]
    release = store.live()
    assert release.router is not None
    assert f"{release.router.version} of release 1, embedder all-MiniLM-L6-v2" in lines[5]


def test_an_explanation_shows_the_nearest_examples(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # embedded, then from the cache
        assert main(["explain", "--adapters", str(store.root), "--nearest", "1", "What is asthma?"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "like        1.00 medical: What is asthma?"
    assert main(["--adapters", str(store.root), "--nearest", "0", "What is asthma?"]) == 0
    assert "\nlike " not in capsys.readouterr().out


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


COOKING = (
    "boil fry bake roast simmer knead whisk grill poach marinate chop dice blend saute steam glaze braise"
)


def questions_file(folder: Path, texts: list[str], domain: str | None = None) -> Path:
    path = folder / "questions.jsonl"
    rows = [{"question": text} | ({"domain": domain} if domain else {}) for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_domains_come_and_go_without_the_language_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = publish(tmp_path / "store", scratch, with_router=True)
    before = store.live()
    here = ["--adapters", str(store.root)]
    texts = [
        form.format(w) for w in COOKING.split() for form in ("How do I {} fish?", "How long to {} beef?")
    ]
    path = questions_file(tmp_path, texts)

    assert main(["add", *here, "cooking", str(path)]) == 2
    assert "no adapter 'cooking'" in capsys.readouterr().err
    plain = adapter_folder(scratch, "cooking")
    (plain / "adapter.json").unlink()
    plain.rename(store.root / "cooking")

    few = questions_file(scratch, texts[:4])
    assert main(["add", *here, "cooking", str(few)]) == 2
    assert "4 distinct new examples" in capsys.readouterr().err
    assert store.live() == before

    assert main([*here, "add", "cooking", str(path)]) == 0
    assert "release 2 is live" in capsys.readouterr().out
    added = store.live()
    assert (added.adapters, added.backbone) == (before.adapters, before.backbone)
    assert main([*here, "--json", "How do I fry a potato?"]) == 0
    assert json.loads(capsys.readouterr().out)["domain"] == "cooking"

    labelled = questions_file(tmp_path, texts[:5], "cooking")
    assert main(["eval", *here, "--json", str(labelled)]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert (scored["questions"], scored["domains"]["cooking"]["questions"]) == (5, 5)
    assert scored["right"] >= 4

    assert main(["calibrate", *here, "--min-confidence", "0.7", "--margin", "0.3"]) == 0
    capsys.readouterr()
    assert main([*here, "remove", "cooking"]) == 0
    assert main(["remove", *here, "cooking"]) == 2
    assert "expected one of them" in capsys.readouterr().err
    assert store.live().number == 4
    part = store.live().router
    assert part is not None
    router = Router.load(store.router_dir(part.version))
    assert router.domains == ("legal", "medical")
    assert (router.policy.min_confidence, router.policy.margin) == (0.7, 0.3)


def test_what_overlaps_is_reported_and_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = publish(tmp_path / "store", scratch, with_router=True)
    plain = adapter_folder(scratch, "nursing")
    (plain / "adapter.json").unlink()
    plain.rename(store.root / "nursing")
    texts = [
        f"How is {word} treated{end}" for word in WORDS["medical"].split() for end in ("?", " by nurses?")
    ]
    path = questions_file(tmp_path, texts)
    command = ["add", "--adapters", str(store.root), "nursing", str(path)]
    assert main(command) == 1
    said = capsys.readouterr().out
    assert "examples of nursing are routed to medical now" in said
    assert "nothing published" in said
    assert store.live().number == 1
    assert main([*command, "--yes"]) == 0
    assert store.live().number == 2


def test_a_router_whose_examples_were_not_kept_changes_by_their_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = publish(tmp_path / "store", scratch, with_router=True, keep=False)
    here = ["--adapters", str(store.root)]
    assert main(["remove", *here, "legal"]) == 0
    capsys.readouterr()
    assert main([*here, "fever"]) == 0
    assert "\nlike " not in capsys.readouterr().out
    assert main(["calibrate", *here, "--min-confidence", "0.9"]) == 0
    assert store.live().number == 3


def test_a_router_of_an_earlier_release_is_fitted_again_on_its_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crma_router.router.fit_roles", lambda *_: everything_asked(384))  # takes a minute
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = publish(tmp_path / "store", scratch, with_router=True, earlier=True)
    here = ["--adapters", str(store.root)]
    assert main([*here, "fever"]) == 2
    assert "crma-route --adapters DIR upgrade" in capsys.readouterr().err
    assert main(["upgrade", *here, "--embedder", "all-MiniLM-L6-v2"]) == 0
    assert "release 2 is live" in capsys.readouterr().out
    assert main([*here, "--json", "What is a fever?"]) == 0
    assert json.loads(capsys.readouterr().out)["domain"] == "medical"


def test_a_change_is_refused_if_another_release_went_live(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = publish(tmp_path / "store", scratch, with_router=True)
    live = load_live(store)
    other = calibrate(live, Policy(min_confidence=0.8), None)
    publish_change(live, other)
    with pytest.raises(RouterError, match="another release went live meanwhile"):
        publish_change(live, other)
