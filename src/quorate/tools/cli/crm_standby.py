"""crm_standby: whether a node may run resources. crm_attribute on the attribute `standby`."""

from __future__ import annotations

import io

from ..backends import open_backend
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, Table, begin, opt
from . import crm_attribute

TABLE = Table(
    "crm_standby",
    "Query, enable, or disable standby mode for a node. Nodes in standby mode may not host cluster resources.",
    (
        opt("G query get-value", "Query the current value of standby mode (on/off)", group="Commands"),
        opt("v update attr-value", "Update the value of standby mode (on/off)", "VALUE", group="Commands"),
        opt("D delete delete-attr", "Let standby mode use default value", group="Commands"),
        opt("N node uname", "Operate on the named node instead of the current one", "NODE"),
        opt("U", "Old name of -N", "NODE", hidden=True),
        opt("l lifetime", "Until when should the setting take effect (valid values: reboot, forever)", "VALUE"),
        opt("i id attr-id", "(Advanced) XML ID used to identify standby attribute", "VALUE"),
        opt("q quiet", "Print only the standby status (if querying)"),
        opt("Q", "Old name of -q", hidden=True),
        *APPLICATION_OPTIONS,
    ),
    usage="<command> [options]",
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    if parsed.words:
        raise CommandFailed(Exit.USAGE, f"unexpected '{parsed.words[0]}'")
    node = parsed.get("node") or parsed.get("U") or _this_node(call)
    options = ["-N", node, "-n", "standby"]
    if "quiet" in parsed or "Q" in parsed:
        options.append("--quiet")
    if (id := parsed.get("id")) is not None:
        options += ["--id", id]
    command = parsed.last_of("query", "update", "delete") or ("query", "")
    arguments = {"query": ["--query"], "update": ["--update", command[1]], "delete": ["--delete"]}[command[0]]
    lifetime = parsed.get("lifetime")
    if lifetime is not None:
        return _attribute(call, [*options, *arguments, "-l", lifetime])
    if command[0] == "update":
        return _attribute(call, [*options, *arguments, "-l", "forever"])
    if command[0] == "delete":
        _attribute(call, [*options, *arguments, "-l", "forever"])
        _attribute(call, [*options, *arguments, "-l", "reboot"])
        return 0
    return _query(call, options)


def _query(call: Invocation, options: list[str]) -> int:
    """The permanent entry if there is one, else the one until reboot, else off."""
    trial = call.derived("crm_attribute", [*options, "--query", "-l", "forever"], out=io.StringIO(), err=io.StringIO())
    try:
        found = crm_attribute.main(trial) == 0
    except CommandFailed as failure:
        if failure.code != Exit.NOSUCH or failure.message.startswith("Could not map"):
            raise
        found = False
    lifetime = ["-l", "forever"] if found else ["-l", "reboot", "-d", "off"]
    return _attribute(call, [*options, "--query", *lifetime])


def _attribute(call: Invocation, args: list[str]) -> int:
    return crm_attribute.main(call.derived("crm_attribute", args))


def _this_node(call: Invocation) -> str:
    backend = open_backend(call)
    try:
        return backend.local_node()
    finally:
        backend.close()
