"""crmadmin: the DC, the state of a controller, the nodes."""

from __future__ import annotations

from lxml import etree

from ..backends import Backend, open_backend
from ..commands import nodes
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..monitor.words import iso
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output

_COMMAND, _MORE = "Command Options", "Additional Options"
TABLE = Table(
    "crmadmin",
    "query and manage the Pacemaker controller",
    (
        *OUTPUT_OPTIONS,
        opt(
            "S status",
            "Display the status of the specified node. Result is state of node's internal finite state machine, "
            "which can be useful for debugging",
            "NODE",
            group=_COMMAND,
        ),
        opt("P pacemakerd", "Display the status of local pacemakerd", group=_COMMAND),
        opt("D dc_lookup dc-lookup", "Display the uname of the node co-ordinating the cluster", group=_COMMAND),
        opt(
            "N nodes",
            "Display the uname of all member nodes [optionally filtered by type (comma-separated)]: all (default), "
            "cluster, guest, remote",
            "TYPE",
            optional=True,
            group=_COMMAND,
        ),
        opt("K kill", "(Advanced) Stop the cluster on the named node: empty it and leave", "NODE", group=_COMMAND),
        opt("t timeout", "Time to wait before declaring the operation failed", "TIMESPEC", group=_MORE),
        opt(
            "B bash-export",
            "Display nodes as shell commands of the form 'export uname=uuid' (valid with -N/--nodes)",
            group=_MORE,
        ),
        opt("i ipc-name", "Accepted for compatibility", "NAME", group=_MORE, hidden=True),
        opt("H health", "Old name of -P", group=_MORE, hidden=True),
        opt("q quiet", "Display only the essential query information", group="Application Options"),
        *APPLICATION_OPTIONS,
    ),
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    command = parsed.last_of("status", "pacemakerd", "dc_lookup", "nodes", "kill", "health")
    if command is None:
        raise CommandFailed(Exit.USAGE, "No command given: see --help")
    kind, value = command
    backend = open_backend(call)
    try:
        if kind == "nodes":
            return _nodes(parsed, output, backend, value)
        if not backend.live:
            raise CommandFailed(Exit.DISCONNECT, "This needs a running cluster; CIB_file or CIB_shadow is set")
        if kind == "dc_lookup":
            return _dc(parsed, output, backend)
        if kind == "status":
            return _state(parsed, output, backend, value)
        if kind == "kill":
            backend.request("shutdown", node=value)
            return 0
        return _daemon(call, output, backend)
    finally:
        backend.close()


def _dc(parsed: Parsed, output: Output, backend: Backend) -> int:
    dc = backend.status(cib=False).dc
    if output.xml:
        element = output.element("dc")
        if dc:
            element.set("node_name", dc)
    elif dc and ("quiet" in parsed):
        output.line(dc)
    elif dc:
        output.line(f"Designated Controller is: {dc}")
    else:
        output.line("Designated Controller is: not yet elected")
    return 0


def _state(parsed: Parsed, output: Output, backend: Backend, node: str) -> int:
    status = backend.status(cib=False)
    known = next((n for n in status.nodes if n.name == node), None)
    if known is None:
        raise CommandFailed(Exit.NOSUCH, f"Node '{node}' is not known to the cluster")
    if not known.in_view or not known.manager:
        raise CommandFailed(Exit.DISCONNECT, f"Controller on {node} does not answer: the node is not a member")
    own = node == status.node
    state = status.controller_state if own else ("S_IDLE" if node == status.dc else "S_NOT_DC")
    if output.xml:
        output.element("crmd", node_name=node, state=state, result="ok")
    elif "quiet" in parsed:
        output.line(state)
    else:
        output.line(f"Controller on {node} in state {state}: ok")
    return 0


def _daemon(call: Invocation, output: Output, backend: Backend) -> int:
    backend.status(cib=False)
    when = iso(call.wall())
    if output.xml:
        output.element("pacemakerd", sys_from="pacemakerd", state="running", last_updated=when)
    else:
        output.line(f"Status of pacemakerd: 'Pacemaker is running' (last updated {when})")
    return 0


def _nodes(parsed: Parsed, output: Output, backend: Backend, kinds: str) -> int:
    wanted = set(kinds.split(",")) if kinds and kinds != "all" else {"cluster", "guest", "remote"}
    unknown = wanted - {"cluster", "guest", "remote", "all"}
    if unknown:
        raise CommandFailed(Exit.USAGE, f"'{sorted(unknown)[0]}' is not a type of node: all, cluster, guest, remote")
    found = [n for n in nodes.entries(backend) if n.kind in wanted]
    holder = output.element("nodes") if output.xml else None
    for entry in found:
        if holder is not None:
            etree.SubElement(holder, "node", type=entry.kind, name=entry.name, id=entry.id)
        elif "bash-export" in parsed:
            output.line(f"export {entry.name}={entry.id}")
        else:
            output.line(f"{entry.kind} node: {entry.name} ({entry.id})")
    return 0
