"""Programs that run inside a node while something is measured. Standard library only; results as JSON on standard
output.

`inside.py writes COUNT`            whole `cibadmin --modify` processes one after the other: their durations
`inside.py update NAME VALUE`       `attrd_updater -U`: when it began
`inside.py await NAME NODE VALUE`   `attrd_updater -Q` again and again until the value is read: when the answer was
there
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def call(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def writes(count: int) -> list[int]:
    found = []
    for number in range(count):
        xml = (
            '<crm_config><cluster_property_set id="cib-bootstrap-options">'
            f'<nvpair id="bench-{os.getpid()}" name="bench-{os.getpid()}" value="{number}"/>'
            "</cluster_property_set></crm_config>"
        )
        began = now()
        done = call("cibadmin", "--modify", "--allow-create", "--scope", "crm_config", "--xml-text", xml)
        if done.returncode:
            sys.exit(f"cibadmin: exit {done.returncode}: {done.stderr.strip()}")
        found.append(now() - began)
    return found


def update(name: str, value: str) -> int:
    began = now()
    done = call("attrd_updater", "--name", name, "--update", value)
    if done.returncode:
        sys.exit(f"attrd_updater: exit {done.returncode}: {done.stderr.strip()}")
    return began


def await_value(name: str, node: str, value: str) -> int:
    wanted = f'value="{value}"'
    print("waiting", flush=True)
    deadline = now() + 20 * 10**9
    while now() < deadline:
        if wanted in call("attrd_updater", "--name", name, "--query", "--node", node).stdout:
            return now()
    sys.exit(f"{name}={value} of {node} was not readable within 20 s")


def main() -> None:
    match sys.argv[1:]:
        case ["writes", count]:
            print(json.dumps(writes(int(count))))
        case ["update", name, value]:
            print(json.dumps(update(name, value)))
        case ["await", name, node, value]:
            print(json.dumps(await_value(name, node, value)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
