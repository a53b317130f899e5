"""Every tool ends the same way: one line and status 2 for what a user can mend, a traceback for a bug."""

import subprocess
import sys

import pytest

from crma_adapters.cli.command import run_command
from crma_adapters.errors import IntegrityError


def test_the_body_decides_the_status() -> None:
    assert run_command(lambda: 3) == 3


def test_an_error_of_ours_is_one_line_and_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise IntegrityError("adapter.json: digest differs\npublish it again")

    assert run_command(body) == 2
    assert capsys.readouterr().err == "error: adapter.json: digest differs publish it again\n"


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


def test_ctrl_c_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> int:
        raise KeyboardInterrupt

    assert run_command(body) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_closed_pipe_is_silent() -> None:
    script = (
        "import sys; from crma_adapters.cli.command import run_command; "
        "sys.exit(run_command(lambda: print('x\\n' * 1_000_000) or 0))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 141
