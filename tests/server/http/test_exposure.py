"""Whom a server is open to."""

from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_server.http.exposure import check_exposure, is_loopback, with_admin_key
from crma_server.http.key_ring import KeyRing, KeySource
from crma_server.settings import Settings

KEYED = Settings(inference_keys=KeySource(("k",)))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "localhost", "::1"])
def test_this_machine_alone_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_exposure(Settings(), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org", "", None, "localhost.evil.org"])
def test_other_machines_need_one(host: str | None) -> None:
    with pytest.raises(ConfigError, match="--allow-no-key"):
        check_exposure(Settings(), host)
    check_exposure(KEYED, host)
    check_exposure(Settings(allow_no_key=True), host)


def test_an_admin_key_is_made_once_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path / "cache"))
    path = with_admin_key(Settings()).admin_keys.file
    assert path == tmp_path / "cache" / "admin-key"
    assert path.stat().st_mode & 0o777 == 0o600
    key = path.read_text().strip()
    assert len(key) >= 40
    said = capsys.readouterr().err
    assert str(path) in said
    assert key not in said
    with_admin_key(Settings())
    assert path.read_text().strip() == key


def test_a_key_that_others_could_read_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path))
    path = tmp_path / "admin-key"
    path.write_text("known\n")
    path.chmod(0o644)
    settings = with_admin_key(Settings())
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyRing(settings.admin_keys).find(b"known") is None


def test_a_symlink_in_its_place_is_replaced_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path))
    (tmp_path / "elsewhere").write_text("known\n")
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / "admin-key").symlink_to(tmp_path / "elsewhere")
    with_admin_key(Settings())
    assert (tmp_path / "elsewhere").read_text() == "known\n"
    assert not (tmp_path / "admin-key").is_symlink()


def test_given_admin_keys_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path))
    settings = Settings(admin_keys=KeySource(("boss",)))
    assert with_admin_key(settings) == settings
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CRMA_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="--admin-key-file"):
        with_admin_key(Settings())


def test_a_key_file_that_cannot_be_used_fails_the_start(tmp_path: Path) -> None:
    settings = Settings(KeySource(file=tmp_path / "nowhere"), KeySource(("boss",)))
    with pytest.raises(ConfigError, match="nowhere"):
        with_admin_key(settings)
