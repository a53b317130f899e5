"""`crma-adapters push`, `pull`, `mirror` and every other command on a URL."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crma_adapters.cli.main import main
from crma_adapters.store.publication import Publication, publish_parts
from crma_adapters.store.store import Store
from crma_adapters.store.verify import verify_release

if TYPE_CHECKING:
    from tests.adapters.conftest import Workshop
    from tests.adapters.sources.conftest import Bucket


def publish(store: Store, workshop: "Workshop", seed: int) -> None:
    backbone = store.live().backbone
    assert backbone is not None
    folder = workshop.adapter("medical", seed=seed, backbone=backbone.version)
    publish_parts(store, Publication(adapters={"medical": folder}))


def test_push_and_pull_carry_the_whole_history(bucket: "Bucket", workshop: "Workshop") -> None:
    store, url = workshop.store(), str(bucket.url)
    publish(store, workshop, 1)
    assert main(["--adapters", str(store.root), "push", url]) == 0
    publish(store, workshop, 2)
    assert main(["--adapters", str(store.root), "push", url]) == 0
    assert main(["--adapters", str(store.root), "push", url]) == 0, "nothing new is nothing to do"
    copy = Store(workshop.root / "copy")
    assert main(["--adapters", str(copy.root), "pull", url]) == 0
    assert copy.releases() == store.releases()
    for release in copy.releases():
        verify_release(copy, release)


def test_histories_that_have_parted_are_refused(
    bucket: "Bucket", workshop: "Workshop", capsys: pytest.CaptureFixture[str]
) -> None:
    one, url = workshop.store(), str(bucket.url)
    main(["--adapters", str(one.root), "push", url])
    two = Store(workshop.root / "two")
    main(["--adapters", str(two.root), "pull", url])
    publish(one, workshop, 1)
    publish(two, workshop, 2)
    assert main(["--adapters", str(one.root), "push", url]) == 0
    assert main(["--adapters", str(two.root), "push", url]) == 2
    assert main(["--adapters", str(two.root), "pull", url]) == 2
    assert capsys.readouterr().err.count("expected one history") == 2
    assert two.live().number == 2


def test_the_other_commands_work_on_a_url(
    bucket: "Bucket", workshop: "Workshop", capsys: pytest.CaptureFixture[str]
) -> None:
    store, url = workshop.store(), str(bucket.url)
    main(["--adapters", str(store.root), "push", url])
    backbone = store.live().backbone
    assert backbone is not None
    new = workshop.adapter("medical", seed=5, backbone=backbone.version)
    here = ["--adapters", url, "--store-cache", str(workshop.root / "cache")]
    assert main([*here, "publish", "--adapter", f"medical={new}"]) == 0
    assert main([*here, "list"]) == 0
    assert main([*here, "verify"]) == 0
    assert main([*here, "diff", "1"]) == 0
    assert main([*here, "rollback"]) == 0
    assert main([*here, "gc"]) == 2
    said = capsys.readouterr()
    assert "release 3" in said.out
    assert "provider's own rules" in said.err
    reader = bucket.store()
    reader.mirror.sync()
    assert reader.live().same_content(store.live())


def test_a_url_with_a_password_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--adapters", "s3://me:hunter2@bucket/x", "list"])
    assert caught.value.code == 2
    assert "hunter2" not in capsys.readouterr().err


def test_mirror_follows_until_it_is_interrupted(bucket: "Bucket", workshop: "Workshop") -> None:
    store, url = workshop.store(), str(bucket.url)
    main(["--adapters", str(store.root), "push", url])
    copy = Store(workshop.root / "copy")
    code = (
        "import signal, sys; from crma_adapters.cli.main import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main(sys.argv[1:]))"
    )
    command = ["--adapters", str(copy.root), "mirror", url, "--interval", "0.2"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *command], stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        _until(lambda: copy.root.is_dir() and (copy.root / "release.json").exists())
        publish(store, workshop, 1)
        main(["--adapters", str(store.root), "push", url])
        _until(lambda: copy.live().number == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    verify_release(copy, copy.live())


def _until(done: "object", timeout_s: float = 120.0) -> None:
    assert callable(done)
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_pulled_folder_is_a_folder_like_any(bucket: "Bucket", workshop: "Workshop", tmp_path: Path) -> None:
    store, url = workshop.store(), str(bucket.url)
    main(["--adapters", str(store.root), "push", url])
    copy = Store(tmp_path / "mine")
    main(["--adapters", str(copy.root), "pull", url])
    publish(copy, workshop, 3)
    assert main(["--adapters", str(copy.root), "push", url]) == 0
    reader = bucket.store()
    reader.mirror.sync()
    assert reader.live() == copy.live()
