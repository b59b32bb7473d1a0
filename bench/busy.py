"""`python -m bench.busy [--minutes 10]`: is a membership lost while both cores are kept busy by others?

Three nodes with the web server, a client outside, and for each core two processes that do nothing but compute (one of
them in the normal scheduling class, one allocating and freeing memory). Every view change after the start is a false loss:
nothing else happens. Prints what was seen and ends with 1 if there was one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time

from bench.measures import THREE, cluster, serving
from laboratory import needs
from laboratory.kernel import boottime_ns
from laboratory.stacks import FLOATING, QuorateStack
from laboratory.stacks.configuration import web

WORDS = ("view-changed", "manager-gone", "fencing-requested", "wire-paused")


def compute() -> None:
    """A core's whole attention."""
    number = 1
    while True:
        number = (number * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF


def allocate() -> None:
    while True:
        bytearray(os.urandom(4096) * 2_000)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.busy", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    chosen = parser.parse_args()
    stack = QuorateStack()
    problem = needs() or stack.missing()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    with cluster(stack, THREE, web(THREE)) as lab:
        lab.client_start(FLOATING)
        serving(stack, lab)
        logs = {node: len(stack.logs(lab, node)) for node in THREE}
        since = boottime_ns()
        hogs = [
            multiprocessing.Process(target=target, daemon=True)
            for _ in range(os.cpu_count() or 1)
            for target in (compute, allocate)
        ]
        for hog in hogs:
            hog.start()
        time.sleep(chosen.minutes * 60)
        for hog in hogs:
            hog.kill()
        lines = [
            f"{node}: {line}"
            for node in THREE
            for line in stack.logs(lab, node)[logs[node] :].splitlines()
            if any(word in line for word in WORDS)
        ]
        asked = [request for request in lab.requests() if request.began >= since]
        failed = sum(request.answer is None for request in asked)
        doubles = lab.double_holders(FLOATING)
    print("\n".join(lines))
    print(
        f"{chosen.minutes:g} minutes, {len(hogs)} busy processes on {os.cpu_count()} cores: {len(lines)} false losses or pauses; "
        f"{len(asked)} requests by the client, {failed} without an answer; two holders of the address: {len(doubles)} times"
    )
    return 1 if lines or doubles else 0


if __name__ == "__main__":
    sys.exit(main())
