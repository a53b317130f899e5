import argparse
import dataclasses
import pickle
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_server.http.keys import ApiKeyStore, KeySource
from crma_server.settings import (
    Settings,
    add_flags,
    check_exposure,
    is_loopback,
    read_settings,
    with_admin_key,
)


def read(
    *argv: str, api_keys: list[str] | None = None, environment: dict[str, str] | None = None
) -> Settings:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return read_settings(parser.parse_args(argv), api_keys, {} if environment is None else environment)


def test_without_flags_the_defaults_of_the_dataclass_hold() -> None:
    assert read() == Settings()


def test_every_setting_has_a_flag(tmp_path: Path) -> None:
    numbers = (
        "max-in-flight",
        "key-concurrency",
        "key-rate",
        "max-body-bytes",
        "deadline-s",
        "keep-releases",
        "store-poll-s",
    )
    argv = [word for name in numbers for word in (f"--{name}", "7")]
    argv += ["--allow-no-key", "--poll", "--log-prompts", "--request-log", "stderr", "--compile"]
    argv += ["--store-cache", str(tmp_path)]
    settings = read(*argv, "--api-key-file", str(tmp_path / "a"), "--admin-key-file", str(tmp_path / "b"))
    plain = Settings()
    for each in dataclasses.fields(Settings):
        assert getattr(settings, each.name) != getattr(plain, each.name), each.name
    assert (settings.inference_keys.file, settings.admin_keys.file) == (tmp_path / "a", tmp_path / "b")


def test_keys_come_from_flags_and_the_environment_and_leave_it() -> None:
    environment = {"CRMA_API_KEYS": "two, three", "CRMA_ADMIN_KEYS": "boss", "PATH": "/bin"}
    settings = read(api_keys=["one"], environment=environment)
    assert settings.inference_keys.given == ("one", "two", "three")
    assert settings.admin_keys.given == ("boss",)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(("api_keys", "expected"), [(None, ("v",)), (["k"], ("k",))])
def test_vllms_variable_counts_unless_its_flag_is_given(
    api_keys: list[str] | None, expected: tuple[str, ...]
) -> None:
    environment = {"VLLM_API_KEY": "v"}
    assert read(api_keys=api_keys, environment=environment).inference_keys.given == expected
    assert environment == {}


@pytest.mark.parametrize(
    "argv",
    [
        ("--max-in-flight", "0"),
        ("--key-concurrency", "-1"),
        ("--key-rate", "-1"),
        ("--max-body-bytes", "0"),
        ("--deadline-s", "-0.1"),
        ("--deadline-s", "nan"),
        ("--keep-releases", "0"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(argv: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match=argv[0]):
        read(*argv)


def test_settings_reach_other_processes_and_show_no_key() -> None:
    settings = read(api_keys=["secret-key"], environment={"CRMA_ADMIN_KEYS": "secret-admin"})
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301
    assert "secret" not in repr(settings)


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
    assert ApiKeyStore(settings.admin_keys).find(b"known") is None


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
