"""crm_failcount: how often a resource failed on a node; forgetting it."""

from __future__ import annotations

from quorate.model.time import parse_interval_ms

from ..backends import Backend, open_backend
from ..commands import attributes
from ..commands.attributes import Selection
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, Parsed, Table, begin, opt
from . import crm_resource

INFINITY = 1_000_000
TABLE = Table(
    "crm_failcount",
    "Query or delete resource fail counts",
    (
        opt("G query get-value", "Query the current value of the resource's fail count", group="Commands"),
        opt("D delete delete-attr", "Delete resource's recorded failures", group="Commands"),
        opt("r resource resource-id", "Name of the resource to use (required)", "ID"),
        opt("n operation", "Name of operation to use (instead of all operations)", "NAME"),
        opt("I interval", "If operation is specified, its interval", "TIME"),
        opt("N node uname", "Use failcount on named node (instead of local node)", "NODE"),
        opt("U", "Old name of -N", "NODE", hidden=True),
        opt("v attr-value", "Only 0 has a meaning: delete", "VALUE", hidden=True),
        opt("i attr-id", "Ignored", "ID", hidden=True),
        opt("l lifetime", "Ignored", "VALUE", hidden=True),
        opt("q quiet", "Print only the value (if querying)"),
        opt("Q", "Old name of -q", hidden=True),
        *APPLICATION_OPTIONS,
    ),
    usage="<command> [<options>]",
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    command = parsed.last_of("query", "delete", "attr-value")
    if command is None or (command[0] == "attr-value" and command[1] != "0"):
        raise CommandFailed(Exit.USAGE, "must specify a command: --query or --delete")
    resource = parsed.get("resource")
    if not resource:
        raise CommandFailed(Exit.USAGE, "resource name required")
    interval = parse_interval_ms(parsed.text("interval", "0"))
    if interval is None:
        raise CommandFailed(Exit.USAGE, f"--interval {parsed.text('interval')!r} is not a time")
    backend = open_backend(call)
    try:
        node = parsed.get("node") or parsed.get("U") or backend.local_node()
        if command[0] == "query":
            return _query(call, parsed, backend, node, resource, interval)
    finally:
        backend.close()
    args = ["--cleanup", "-N", node, "-r", resource]
    if (operation := parsed.get("operation")) is not None:
        args += ["-n", operation, "-I", f"{interval}ms"]
    return crm_resource.main(call.derived("crm_resource", args))


def _query(call: Invocation, parsed: Parsed, backend: Backend, node: str, resource: str, interval: int) -> int:
    base = f"fail-count-{resource}"
    operation = parsed.get("operation")
    shown = f"{base}#{operation}_{interval}" if operation is not None else base
    total = 0
    for found in attributes.find(backend, Selection(section="status", node=node)):
        wanted = (
            found.name == shown if operation is not None else found.name.startswith(f"{base}#") or found.name == base
        )
        if wanted:
            total += INFINITY if found.value in ("INFINITY", "+INFINITY") else _number(found.value)
    text = "INFINITY" if total >= INFINITY else str(total)
    call.print(text if "quiet" in parsed or "Q" in parsed else f"scope=status  name={shown} value={text}")
    return 0


def _number(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else 0
