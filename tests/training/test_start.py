"""Building on a live release: what is carried over, what starts afresh, what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from crma_adapters.errors import ConfigError, IncompatibleError
from crma_adapters.store.release import Release
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

Train = Callable[..., Release]
WriteRows = Callable[..., Path]


def test_a_domain_added_later_carries_the_others_with_their_drift(train: Train, tmp_path: Path) -> None:
    first = train(domains=("code", "legal"))
    second = train(domains=("medical",), run=tmp_path / "run2", steps=8)
    assert second.number == 2
    assert second.adapters.keys() == {"code", "legal", "medical"}
    assert second.backbone != first.backbone
    for name in ("code", "legal"):
        assert second.adapters[name].part == first.adapters[name].part
        assert isinstance(second.adapters[name].drift, float)
    assert train(domains=("medical",), run=tmp_path / "run2", steps=8) == second
    verify_release(Store(tmp_path / "store"), second)


def test_training_all_domains_again_starts_afresh(train: Train, tmp_path: Path) -> None:
    first = train(domains=("code",))
    again = train(domains=("code",), run=tmp_path / "run2")
    assert again == first  # from a new backbone, so the same bytes: nothing new to publish
    wider = train(domains=("code", "legal"), run=tmp_path / "run3")
    assert wider.adapters["code"].part == first.adapters["code"].part


def test_a_carried_domain_without_data_needs_a_frozen_backbone_and_the_old_router(
    train: Train, tmp_path: Path, write_rows: WriteRows
) -> None:
    first = train(domains=("code",))
    other = write_rows(
        "../other/zoology.jsonl", [{"question": f"q {n}", "answer": "a"} for n in range(12)]
    ).parent
    with pytest.raises(ConfigError, match=r"also serves code, .* or give --freeze-backbone"):
        train(data=other, run=tmp_path / "run2")
    with pytest.raises(ConfigError, match=r"also serves code, .* or give --no-router"):
        train(data=other, run=tmp_path / "run3", freeze_backbone=True, router=True)
    second = train(data=other, run=tmp_path / "run4", freeze_backbone=True)
    assert second.backbone == first.backbone
    assert second.adapters["code"] == first.adapters["code"]
    assert second.adapters.keys() == {"code", "zoology"}


def test_a_backbone_of_another_form_is_refused(train: Train, tmp_path: Path) -> None:
    train(domains=("code",))
    with pytest.raises(ConfigError, match="this backbone is of form 2, mode residual and rank 16"):
        train(domains=("legal",), run=tmp_path / "run2", mixing_rank=2)


def test_a_store_of_another_base_model_is_refused(train: Train, base_model: Path, tmp_path: Path) -> None:
    train(domains=("code",))
    model = AutoModelForCausalLM.from_pretrained(base_model)
    model.model.norm.weight.data += 1
    model.save_pretrained(tmp_path / "tuned")
    AutoTokenizer.from_pretrained(base_model).save_pretrained(tmp_path / "tuned")
    with pytest.raises(IncompatibleError, match=r"its live release 1 is for .*--adapters another"):
        train(domains=("legal",), run=tmp_path / "run2", model=str(tmp_path / "tuned"))
