"""A card is the same after a round trip, byte for byte, and refuses what no training can say."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.store.card import AdapterCard, CardStart, CardValidation, read_card

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop


def test_round_trip(workshop: "Workshop", tmp_path: Path) -> None:
    card = workshop.card()
    assert AdapterCard.from_json(card.to_json()) == card
    assert AdapterCard.from_json(card.to_json()).to_json() == card.to_json()
    (tmp_path / "adapter.json").write_bytes(card.to_json())
    assert read_card(tmp_path) == card


def test_the_document_is_the_contract(workshop: "Workshop") -> None:
    assert json.loads(workshop.card().to_json()) == {
        "format": 1,
        "name": "medical",
        "base_model": "tiny-model",
        "base_fingerprint": "ab" * 32,
        "backbone": None,
        "rank": 4,
        "alpha": 8.0,
        "target_modules": ["q_proj"],
        "data": {"rows_train": 90, "rows_holdout": 10, "sources": ["wiki-é"], "licences": ["MIT"]},
        "training": {"steps": 12, "epochs": 1.5, "seed": 7, "learning_rate": 1e-3, "tokens": 345},
        "holdout_loss": {"base": 3.25, "before": 3.0, "after": 2.125},
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "auto"}, "name"),
        ({"backbone": "latest"}, "backbone"),
        ({"rank": 0}, "rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"data": {"rows_train": -1, "rows_holdout": 0, "sources": [], "licences": []}}, "data.rows_train"),
        ({"holdout_loss": {"base": 1.0, "before": 1.0}}, "holdout_loss.after"),
        ({"made_at": "today"}, "made_at"),
    ],
)
def test_what_no_card_says(workshop: "Workshop", changes: dict[str, Any], told: str) -> None:
    document = json.loads(workshop.card().to_json()) | changes
    with pytest.raises(IntegrityError, match=f"adapter.json: {told}: "):
        AdapterCard.from_json(json.dumps(document).encode())


LATER: dict[str, Any] = {
    "kind": "both",
    "mixing_rank": 16,
    "validation_loss": {"mean": 2.25, "standard_error": 0.05, "rows": 60},
    "start": {"method": "nearest", "adapters": ["legal@0123456789ab"]},
    "parameters": 553_000,
}


def test_what_came_later_makes_it_format_2(workshop: "Workshop") -> None:
    old = json.loads(workshop.card().to_json())
    for keys in ([], ["kind", "mixing_rank"], ["validation_loss"], ["start"], ["parameters"], list(LATER)):
        document = old | {"format": 2 if keys else 1} | {key: LATER[key] for key in keys}
        if keys:
            document.setdefault("kind", "lora")
        card = AdapterCard.from_json(json.dumps(document).encode())
        assert json.loads(card.to_json()) == document
    assert card.start == CardStart("nearest", ("legal@0123456789ab",))
    assert card.validation_loss == CardValidation(2.25, 0.05, 60)


def test_the_demo_cards_say_what_they_said() -> None:
    paths = sorted((Path(__file__).parents[2] / "adapters").glob("*/*/adapter.json"))
    assert paths
    for path in paths:
        card = AdapterCard.from_json(path.read_bytes())
        assert json.loads(card.to_json()) == json.loads(path.read_bytes())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "prompt"}, "kind: "),
        ({"mixing_rank": 0}, "mixing_rank: "),
        ({"kind": "lora"}, "mixing_rank: 16 for kind 'lora'"),
        ({"mixing_rank": None}, "mixing_rank: None for kind 'both'"),
        ({"validation_loss": 2.25}, "validation_loss: "),
        ({"validation_loss": {"mean": 2.0, "standard_error": -1.0, "rows": 2}}, "validation_loss.standard"),
        ({"start": {"method": "best", "adapters": []}}, "start.method: "),
        ({"parameters": -1}, "parameters: "),
        ({"format": 1}, "has keys that came with format 2, in format 1"),
    ],
)
def test_what_no_later_card_says(workshop: "Workshop", changes: dict[str, Any], told: str) -> None:
    document = json.loads(workshop.card().to_json()) | {"format": 2} | LATER | changes
    with pytest.raises(IntegrityError, match=f"adapter.json: {told}"):
        AdapterCard.from_json(json.dumps(document).encode())


def test_a_missing_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"adapter\.json: is missing"):
        read_card(tmp_path)
