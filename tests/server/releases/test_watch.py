import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from crma_adapters.io.durable import write_durably
from crma_server.releases import plan
from crma_server.releases.plan import changes


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "POLL_S", 0.2)


def heard(root: Path, act: Callable[[], None], *, poll: bool, within_s: float) -> bool:
    """Whether `act` is told of within that time, and nothing before it."""

    async def play() -> bool:
        told: AsyncIterator[None] = changes(root, poll=poll)
        waiting = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        act()
        try:
            async with asyncio.timeout(within_s):
                await waiting
        except TimeoutError:
            return False
        finally:
            await told.aclose()  # type: ignore[attr-defined]
        return True

    return asyncio.run(play())


@pytest.mark.parametrize("poll", [True, False])
def test_a_new_pointer_is_heard_of(tmp_path: Path, poll: bool) -> None:
    write_durably(tmp_path, tmp_path / "release.json", b"1")
    assert heard(
        tmp_path, lambda: write_durably(tmp_path, tmp_path / "release.json", b"2"), poll=poll, within_s=5
    )


@pytest.mark.parametrize("poll", [True, False])
def test_the_first_pointer_too(tmp_path: Path, poll: bool) -> None:
    assert heard(
        tmp_path, lambda: write_durably(tmp_path, tmp_path / "release.json", b"1"), poll=poll, within_s=5
    )


def test_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "release.json").write_bytes(b"1")
    assert not heard(tmp_path, lambda: (tmp_path / "other.json").touch(), poll=False, within_s=0.8)


def test_a_system_that_tells_nothing_is_not_relied_upon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> AsyncIterator[object]:
        raise OSError("no watches left")

    monkeypatch.setattr(plan, "awatch", broken)
    (tmp_path / "release.json").write_bytes(b"1")
    assert heard(tmp_path, lambda: (tmp_path / "release.json").unlink(), poll=False, within_s=5)
    assert "no watches left" in capsys.readouterr().err
