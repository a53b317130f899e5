from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crma_adapters.models.cache import CACHE_VARIABLE
from crma_adapters.store.release import Part
from crma_server.releases import bundles
from crma_server.releases.bundles import Source, bundle_digest, lora_id, make_bundle

A, B = "a" * 64, "b" * 64


def test_the_digest_follows_from_content_alone() -> None:
    one = bundle_digest({"x": A, "y": B}, None)
    assert one == bundle_digest({"y": B, "x": A}, None)
    others = [bundle_digest({"x": B, "y": A}, None), bundle_digest(None, {"x": A, "y": B})]
    others += [bundle_digest({"x": A, "y": B}, {"z": A})]
    assert len({one, *others}) == 4


@given(st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
def test_ids_fit_the_engine_and_never_collide(digest: str) -> None:
    first = lora_id(digest, ())
    assert 0 < first < 2**31
    assert first == lora_id(digest, ())
    second = lora_id(digest, {first})
    assert second not in (0, first)


def test_a_bundle_is_composed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    composed: list[Path] = []
    parts: list[tuple[Path | None, ...]] = []

    def compose(*, lora: Path | None, mixer: Path | None, backbone: Path | None, out: Path) -> None:
        out.mkdir(parents=True)
        composed.append(out)
        parts.append((lora, mixer, backbone))

    monkeypatch.setattr(bundles, "compose_bundle", compose)
    lora = Source(tmp_path / "lora", Part("0" * 12, {"adapter_config.json": A}))
    first = make_bundle("medical@1", lora, None, ())
    again = make_bundle("medical@1", lora, None, ())
    assert first == again
    assert composed == [tmp_path / "bundles" / bundle_digest({"adapter_config.json": A}, None)]
    mixer = Source(tmp_path / "m", Part("0" * 12, {"mixer.json": B}))
    both = Source(tmp_path / "b", Part("0" * 12, {"adapter_config.json": A, "mixer.json": B}))
    make_bundle("legal@1", mixer, lora, ())
    make_bundle("code@1", both, None, ())
    assert parts == [
        (lora.path, None, None),
        (None, mixer.path, lora.path),
        (both.path, both.path, None),
    ]
