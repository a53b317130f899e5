"""Building on a live release: what is carried over, what starts afresh, what is refused."""

import shutil
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


def test_a_domain_added_later_leaves_the_others_where_they_are(train: Train, tmp_path: Path) -> None:
    first = train(domains=("code", "legal"))
    second = train(domains=("medical",), run=tmp_path / "run2", steps=8)
    assert second.number == 2
    assert second.adapters.keys() == {"code", "legal", "medical"}
    assert second.backbone != first.backbone
    for name in ("code", "legal"):
        assert second.adapters[name].part == first.adapters[name].part
        assert second.adapters[name] == first.adapters[name]
        assert second.backbone_of(second.adapters[name]) == first.adapters[name].trained_on_backbone
    assert train(domains=("medical",), run=tmp_path / "run2", steps=8) == second
    verify_release(Store(tmp_path / "store"), second)


def test_training_all_domains_again_starts_afresh(train: Train, tmp_path: Path) -> None:
    first = train(domains=("code",))
    again = train(domains=("code",), run=tmp_path / "run2")
    assert again == first  # from a new backbone, so the same bytes: nothing new to publish
    wider = train(domains=("code", "legal"), run=tmp_path / "run3")
    assert wider.adapters["code"].part == first.adapters["code"].part


def test_a_carried_domain_without_data_needs_its_questions_only_for_a_router_or_a_consolidation(
    train: Train, tmp_path: Path, write_rows: WriteRows
) -> None:
    first = train(domains=("code",))
    other = write_rows(
        "../other/zoology.jsonl", [{"question": f"q {n}", "answer": "a"} for n in range(12)]
    ).parent
    for option in ({"router": True}, {"backbone": "consolidated"}):
        with pytest.raises(ConfigError, match=r"also serves code, .* or give --no-router"):
            train(data=other, run=tmp_path / "run2", **option)
        shutil.rmtree(tmp_path / "run2")
    second = train(data=other, run=tmp_path / "run4")
    assert second.adapters["code"] == first.adapters["code"]
    assert second.adapters.keys() == {"code", "zoology"}


def test_beside_a_backbone_of_another_form_a_new_one_begins(train: Train, tmp_path: Path) -> None:
    first = train(domains=("code",))
    second = train(domains=("legal",), run=tmp_path / "run2", mixing_rank=2)
    assert second.adapters["code"] == first.adapters["code"]
    assert len(second.backbones()) == 2
    verify_release(Store(tmp_path / "store"), second)


def test_a_name_that_a_plain_adapter_has_is_refused_before_training(train: Train, tmp_path: Path) -> None:
    (tmp_path / "store" / "code").mkdir(parents=True)
    (tmp_path / "store" / "code" / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="code is a plain adapter, and code is a domain to train"):
        train(domains=("code",))


def test_a_store_of_another_base_model_is_refused(train: Train, base_model: Path, tmp_path: Path) -> None:
    train(domains=("code",))
    model = AutoModelForCausalLM.from_pretrained(base_model)
    model.model.norm.weight.data += 1
    model.save_pretrained(tmp_path / "tuned")
    AutoTokenizer.from_pretrained(base_model).save_pretrained(tmp_path / "tuned")
    with pytest.raises(IncompatibleError, match=r"its live release 1 is for .*--adapters another"):
        train(domains=("legal",), run=tmp_path / "run2", model=str(tmp_path / "tuned"))
