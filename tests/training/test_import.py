"""A LoRA trained elsewhere as a routed domain; a domain's LoRA merged into its base model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from crma_adapters.cli.main import main as adapters_main
from crma_adapters.errors import ConfigError, DataError, IncompatibleError
from crma_adapters.lora.merge import merge
from crma_adapters.store.card import read_card
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release
from crma_router.router import Router
from crma_training.import_command import import_adapter

Train = Callable[..., Release]
WriteRows = Callable[..., Path]


@pytest.fixture
def foreign(base_model: Path, tmp_path: Path) -> Path:
    """A LoRA as somebody else's PEFT saved it."""
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base_model), settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    model.save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


@pytest.fixture
def examples(write_rows: WriteRows) -> Path:
    rows = [
        {"question": f"How do I {verb} {what}?", "answer": f"You {verb} {what} slowly."}
        for verb in ("plant", "water", "prune", "harvest")
        for what in ("tomatoes", "roses", "beans", "an apple tree", "lettuce", "garlic")
    ]
    return write_rows("../garden.jsonl", rows)


def test_an_imported_lora_is_a_routed_domain_that_can_be_taken_back(
    train: Train, tmp_path: Path, foreign: Path, examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = train(domains=("code", "legal"), router=True, adapter="mixer", backbone="none")
    store = Store(tmp_path / "store")
    (foreign / "training_args.bin").write_bytes(b"\x80\x04")
    said: list[str] = []
    release = import_adapter(store, str(foreign), "garden", examples, say=said.append)
    assert sorted(release.adapters) == ["code", "garden", "legal"]
    assert {name: release.adapters[name] for name in ("code", "legal")} == before.adapters
    verify_release(store, release)
    entry = release.adapters["garden"]
    card = read_card(store.adapter_dir("garden", entry.part.version))
    assert (card.rank, card.kind, card.backbone, card.data.rows_holdout) == (4, "lora", None, 24)
    assert card.holdout_loss.after != card.holdout_loss.base
    assert said[0] == (
        f"garden: loss on 24 examples: base {card.holdout_loss.base:.3f}, "
        f"with the LoRA {card.holdout_loss.after:.3f}"
    )
    assert release.router is not None
    router = Router.load(store.router_dir(release.router.version))
    assert set(router.model.classifier.domains) == {"code", "garden", "legal"}
    assert adapters_main(["--adapters", str(store.root), "list"]) == 0
    assert "garden" in capsys.readouterr().out
    back = store.rollback(before.number)
    assert (back.adapters, back.router) == (before.adapters, before.router)
    verify_release(store, back)


@pytest.mark.parametrize("case", ["other model", "no answers", "plain folder", "no release"])
def test_an_import_that_cannot_be_leaves_the_store_as_it_was(
    train: Train, tmp_path: Path, foreign: Path, examples: Path, write_rows: WriteRows, case: str
) -> None:
    if case == "no release":
        with pytest.raises(ConfigError, match="has no release yet, so no base model is known: give --model"):
            import_adapter(Store(tmp_path / "empty"), str(foreign), "garden", examples)
        return
    release = train(domains=("code",), adapter="mixer", backbone="none")
    store = Store(tmp_path / "store")
    expected: type[Exception] = ConfigError
    message = "is a plain adapter, and garden is a domain to train"
    if case == "other model":
        expected, message = IncompatibleError, "which .* has not"
        config = foreign / "adapter_model.safetensors"
        from safetensors.torch import load_file, save_file

        renamed = {k.replace("layers.1.", "layers.9."): v for k, v in load_file(config).items()}
        save_file(renamed, config, metadata={"format": "pt"})
    elif case == "no answers":
        expected, message = DataError, "answer"
        examples = write_rows("../garden.jsonl", [{"question": "How do I plant beans?"}])
    else:
        (store.root / "garden").mkdir()
        (store.root / "garden" / "adapter_config.json").write_text("{}")
    with pytest.raises(expected, match=message):
        import_adapter(store, str(foreign), "garden", examples, say=lambda _line: None)
    assert store.live() == release


def test_a_lora_is_merged_into_its_base_model(train: Train, tmp_path: Path, base_model: Path) -> None:
    settings = {"adapter": "lora", "backbone": "none", "learning_rate": 1e-2}
    release = train(domains=("code",), target_modules=("all-linear",), **settings)
    store = Store(tmp_path / "store")
    assert (
        adapters_main(["--adapters", str(store.root), "merge", "code", "--out", str(tmp_path / "merged")])
        == 0
    )
    folder = store.adapter_dir("code", release.adapters["code"].part.version)
    adapted: Any = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_model), str(folder))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.arange(24)[None]
    with torch.no_grad():
        found, expected = merged(input_ids=ids).logits, adapted.eval()(input_ids=ids).logits
        bare = AutoModelForCausalLM.from_pretrained(base_model)(input_ids=ids).logits
    assert float((found - expected).abs().max()) < 1e-5
    assert float((bare - expected).abs().max()) > 1e-4
    assert (tmp_path / "merged" / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("settings", "what"),
    [({"adapter": "mixer", "backbone": "none"}, "a mixer"), ({"backbone": "shared"}, "a CRMA backbone")],
)
def test_what_no_weight_can_hold_is_not_merged(
    train: Train, tmp_path: Path, settings: dict[str, Any], what: str
) -> None:
    train(domains=("code",), **settings)
    with pytest.raises(ConfigError, match=f"code: {what} adds U M V h .* cannot be merged"):
        merge(Store(tmp_path / "store"), "code", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
