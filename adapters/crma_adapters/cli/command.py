"""How every command-line tool of the project ends.

Owns: turning a `CrmaError` into one line on stderr and status 2, Ctrl-C into 130, a closed pipe into silence.
Knows nothing of what the commands do. Any other exception is a bug and keeps its traceback.
"""

import os
import sys
from collections.abc import Callable

from crma_adapters.errors import CrmaError


def run_command(body: Callable[[], int]) -> int:
    """Run `body`; its exit status, 2 after a `CrmaError`, 130 after Ctrl-C, 141 after a closed pipe."""
    try:
        status = body()
        sys.stdout.flush()
    except CrmaError as error:
        print(f"error: {error}".replace("\n", " "), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit, which would raise again outside our reach.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status
