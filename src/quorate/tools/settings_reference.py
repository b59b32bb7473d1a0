"""The reference page of quorate.toml: its tables come from the declared options, its text stands here.

`python -m quorate.tools.settings_reference docs/configuration.md` writes the page; a test keeps it current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from quorate.model.settings import OPTIONS, Option

_TITLES = {
    "": "Top of the file",
    "quorum": "`[quorum]`",
    "nodes": "`[[nodes]]`, one for each node",
    "links": "`[[links]]`, one for each heartbeat path",
}

_HEAD = """# The configuration file quorate.toml

One file tells a node which cluster it belongs to, which nodes there are and by which paths they hear each other.
Resources and constraints are not in it: they are in the cluster information base (CIB), which the nodes keep equal by
themselves.

The file is TOML. It is `/etc/quorate/quorate.toml`, or what the environment variable `QUORATE_CONFIG` names; so several
nodes fit on one machine. `QUORATE_RUN` overrides the run directory. The same file serves on all nodes but for the line
`node = ...`.

    quorate init --cluster demo --node n1=10.0.0.1,10.1.0.1 --node n2=10.0.0.2,10.1.0.2
    quorate keygen          # on one node; copy the key file to the others
    quorate check           # on each node
    quorate run

`quorate check` names everything that is wrong with the file and with what it asks of this machine: unknown keys,
values out of range, two nodes with the same id, name or address, a key that others may read, an address that is not
local, a port in use, a missing device. Each message says where and what to do. It ends with 0, or with 78 when the
node could not run. Warnings (one heartbeat path only, two nodes without `two_node`, ...) do not change that.

```toml
cluster = "demo"
node = "n1"

[quorum]
two_node = true

[[nodes]]
name = "n1"
id = 1

[[nodes]]
name = "n2"
id = 2

[[links]]
name = "net0"
kind = "udp"
port = 5405
addresses = { n1 = "10.0.0.1", n2 = "10.0.0.2" }

[[links]]
name = "ser0"
kind = "serial"
baud = 115200
devices = { n1 = "/dev/ttyS0", n2 = "/dev/ttyS0" }
```

## Keys
"""

_TAIL = r"""
## What must be equal on all nodes

Cluster name, engine, `token_ms`, quorum, nodes (names, ids, votes) and links (names, ports, addresses, speed).
`quorate check` prints a digest over these; nodes whose digests differ say so when they meet. Directories, devices and
`manager_*` may differ.

## The key file

`quorate keygen [PATH]` writes 32 random bytes, as text, with a number (the key's epoch) and a check. It must belong
to root with mode 0600 and be the same on all nodes; a file that others may read is refused. It replaces an existing
key only with `--force`, and the new key then has the next epoch. A file may hold two keys, the second while a key is
being changed: the higher epoch is used for sending, both are accepted.

## Time

| | |
|---|---|
| `token_ms` | silence on all links after which a peer is lost; the greatest part of an outage |
| `manager_stall_ms` | the manager process shows no sign of life: it counts as absent and is started anew |
| `manager_grace_ms` | nothing moves while an absent manager may still come back; then its node is fenced |

A hardware watchdog, where there is one, must allow more than `manager_grace_ms`.

## Where nodes without a common network are

A serial line joins exactly two nodes. Every pair of nodes needs a path, so three nodes without a network need three
cables.
"""


def page() -> str:
    parts = [_HEAD]
    for table, title in _TITLES.items():
        parts.append(f"\n### {title}\n\n| Key | Value | Default | |\n|---|---|---|---|\n")
        parts.extend(_row(option) for option in OPTIONS if option.table == table)
    return "".join([*parts, _TAIL])


def _row(option: Option) -> str:
    value = option.kind.value
    if option.values:
        value = ", ".join(f"`{each}`" for each in option.values)
    elif option.minimum is not None:
        value += f", {option.minimum} to {option.maximum}"
    return f"| `{option.name}` | {value} | {_default(option)} | {option.text} |\n"


def _default(option: Option) -> str:
    if option.default_text:
        return option.default_text
    if option.required:
        return "must be written"
    if option.default is None:
        return ""
    if isinstance(option.default, bool):
        return f"`{str(option.default).lower()}`"
    if option.default == () or option.default == "":
        return "empty"
    return f"`{option.default}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
