"""`python -m bench quorate|peer [--repeat N] [--only NAME,...]`: prints each figure with its method."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback

from bench.measures import MEASURES
from laboratory import LaboratoryError, needs
from laboratory.stacks import PeerStack, QuorateStack, Stack, StackError


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("stack", choices=("quorate", "peer"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default=",".join(MEASURES), help=f"some of {', '.join(MEASURES)}")
    chosen = parser.parse_args()
    stack: Stack = QuorateStack() if chosen.stack == "quorate" else PeerStack()
    problem = needs() or stack.missing()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    unknown = [name for name in chosen.only.split(",") if name not in MEASURES]
    if unknown:
        print(f"there is no measurement {', '.join(unknown)}; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 64
    print(
        f"{stack.name} on {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}",
        flush=True,
    )
    failed = False
    for name in chosen.only.split(","):
        try:
            figures = MEASURES[name](stack, chosen.repeat)
        except (LaboratoryError, StackError) as error:
            print(f"{name}: NOT MEASURED: {error}", flush=True)
            failed = True
            continue
        except Exception:
            print(f"{name}: NOT MEASURED", flush=True)
            traceback.print_exc()
            failed = True
            continue
        for figure in figures:
            print(figure.text(against_bar=chosen.stack == "quorate"), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
