"""crm_node: names, ids and membership as the cluster knows them."""

from __future__ import annotations

from ..backends import Backend, open_backend
from ..commands import nodes
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, Parsed, Table, begin, opt

_COMMAND, _MORE = "Commands", "Additional Options"
TABLE = Table(
    "crm_node",
    "crm_node - Tool for displaying low-level node information",
    (
        opt("i cluster-id", "Display this node's cluster id", group=_COMMAND),
        opt("l list", "Display all known members (past and present) of this cluster", group=_COMMAND),
        opt("n name", "Display the name used by the cluster for this node", group=_COMMAND),
        opt("p partition", "Display the members of this partition", group=_COMMAND),
        opt("q quorum", "Display a 1 if our partition has quorum, 0 if not", group=_COMMAND),
        opt(
            "N name-for-id",
            "Display the name used by the cluster for the node with the specified ID",
            "ID",
            group=_COMMAND,
        ),
        opt(
            "R remove",
            "(Advanced) Remove the (stopped) node with the specified name from the configuration and status",
            "NAME",
            group=_COMMAND,
        ),
        opt("f force", "Remove the node even if it cannot be known that it is stopped", group=_MORE),
        opt("Q quiet", "Be less descriptive in output.", group="Application Options"),
        *APPLICATION_OPTIONS,
    ),
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    command = parsed.last_of("cluster-id", "list", "name", "partition", "quorum", "name-for-id", "remove")
    if command is None:
        call.err.write(TABLE.help())
        return Exit.USAGE
    kind, value = command
    if kind == "name" and (name := _name_for_agents(call)):
        call.print(name)
        return 0
    if kind == "name-for-id" and (not value.isdigit() or int(value) == 0):
        raise CommandFailed(Exit.USAGE, f"Invalid node ID '{value}'")
    backend = open_backend(call)
    try:
        if not backend.live and kind != "name":
            call.error("error: Could not connect to controller: Connection refused")
            return Exit.DISCONNECT
        return _run(call, parsed, backend, kind, value)
    finally:
        backend.close()


def _name_for_agents(call: Invocation) -> str | None:
    """An agent is told where it runs; no question to the cluster is needed."""
    return call.environ.get("OCF_RESKEY_CRM_meta_on_node") or call.environ.get("OCF_RESKEY_CRM_meta_physical_host")


def _run(call: Invocation, parsed: Parsed, backend: Backend, kind: str, value: str) -> int:
    if kind == "name":
        call.print(backend.local_node())
    elif kind == "list":
        for member in nodes.members(backend):
            call.print(f"{member.id} {member.name} {member.state}")
    elif kind == "partition":
        names = [m.name for m in nodes.members(backend) if m.state == "member"]
        call.out.write("".join(f"{name} " for name in names) + "\n")
    elif kind == "quorum":
        call.print("1" if backend.status(cib=False).quorate else "0")
    elif kind == "cluster-id":
        call.print(str(backend.status(cib=False).node_id))
    elif kind == "name-for-id":
        try:
            call.print(nodes.name_for_id(backend, value))
        except CommandFailed as failure:
            call.error(failure.message)
            return failure.code
    else:
        nodes.remove(backend, value, forced="force" in parsed)
    return 0
