"""What the server says while it starts: one line a step on stderr, with the seconds since the start."""

import sys
import time

_start_s = time.monotonic()


def report(step: str) -> None:
    """One line about the step that begins now."""
    print(f"[{time.monotonic() - _start_s:5.1f} s] {step}", file=sys.stderr, flush=True)
