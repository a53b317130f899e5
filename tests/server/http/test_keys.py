"""Keys given outright and in files, and files that change."""

import hashlib
import hmac
import os
from pathlib import Path

import pytest

from crma_adapters.errors import ConfigError
from crma_server.http.keys import ApiKeyStore, KeySource


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_several_keys_from_several_places(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", "# of the app\nthree\n\n  four  \r\nfünf\n")
    ring = ApiKeyStore(KeySource(("one", "two"), file))
    for key in ("one", "two", "three", "four", "fünf"):
        assert ring.find(key.encode()) == hashlib.sha256(key.encode()).hexdigest()[:8]
    for key in ("", "on", "one ", "ONE", "# of the app", "six"):
        assert ring.find(key.encode()) is None


def test_whether_keys_are_required() -> None:
    assert not ApiKeyStore(KeySource()).required
    assert ApiKeyStore(KeySource(("one",))).required


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", "old\n")
    ring = ApiKeyStore(KeySource(file=file))
    assert ring.find(b"old")
    write(file, "old\nnew\n")
    assert ring.find(b"old")
    assert ring.find(b"new")
    write(tmp_path / "next", "new\nlast\n").replace(file)
    assert not ring.find(b"old")
    assert ring.find(b"last")


def test_a_file_of_the_same_size_and_age_in_the_old_ones_place_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", "aaa\n")
    ring = ApiKeyStore(KeySource(file=file))
    other = write(tmp_path / "other", "bbb\n")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert ring.find(b"bbb")
    assert not ring.find(b"aaa")


def test_a_file_that_is_gone_leaves_its_keys_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "keys", "old\n")
    ring = ApiKeyStore(KeySource(file=file))
    file.unlink()
    assert ring.find(b"old")
    assert ring.find(b"old")
    said = capsys.readouterr().err
    assert said.count("keys unchanged") == 1
    assert "old\n" not in said.replace("keys unchanged", "")
    write(file, "new\n")
    assert ring.find(b"new")
    assert not ring.find(b"old")


def test_an_emptied_file_opens_nothing_and_a_key_is_still_required(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", "old\n")
    ring = ApiKeyStore(KeySource(file=file))
    write(file, "\n")
    assert ring.find(b"old") is None
    assert ring.find(b"") is None
    assert ring.required


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "holds no key"), (b"# none\n", "holds no key"), (b"\xff\xfe", "UTF-8"), (b"k" * 2**21, "over")],
)
def test_a_file_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        ApiKeyStore(KeySource(file=tmp_path / "keys"))


def test_a_missing_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        ApiKeyStore(KeySource(file=tmp_path / "nowhere"))


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    ring = ApiKeyStore(KeySource(("one", "two", "three")))
    counts = []
    for key in (b"one", b"three", b"none"):
        compared.clear()
        ring.find(key)
        counts.append(len(compared))
    assert counts == [3, 3, 3]
    assert {len(each) for each in compared} == {32}  # digests: the length of a key does not show


def test_keys_do_not_show() -> None:
    assert "secret" not in repr(KeySource(("secret",)))
