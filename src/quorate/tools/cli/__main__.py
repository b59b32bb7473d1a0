"""`python -m quorate.tools.cli NAME ARGS...`: the whole program in this process (no tool server, or an offline CIB)."""

from __future__ import annotations

import os
import signal
import sys

from ..invocation import from_process
from . import execute


def main() -> int:
    if len(sys.argv) < 2:
        print("usage: python -m quorate.tools.cli COMMAND [ARGUMENT...]", file=sys.stderr)
        return 64
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        code = execute(from_process(sys.argv[1], sys.argv[2:]))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
