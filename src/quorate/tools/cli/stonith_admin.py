"""stonith_admin: fence nodes by hand, see devices and the history of fencing."""

from __future__ import annotations

from lxml import etree

from quorate.model import protocol
from quorate.model.time import parse_interval_ms

from ..backends import Backend, open_backend
from ..commands import agents, fencing
from ..failure import CommandFailed, Exit, errno_text
from ..invocation import Invocation
from ..monitor.words import iso, plural
from ..monitor.xml import fence_element
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output

_DEVICE, _QUERY, _FENCE, _MORE = "Device Definition Commands", "Queries", "Fencing Commands", "Additional Options"
TABLE = Table(
    "stonith_admin",
    "stonith_admin - Access the Pacemaker fencing API",
    (
        *OUTPUT_OPTIONS,
        opt(
            "R register",
            "Register the named stonith device (here: configure it as a resource instead)",
            "DEVICE",
            group=_DEVICE,
        ),
        opt(
            "D deregister", "De-register the named stonith device (here: remove the resource)", "DEVICE", group=_DEVICE
        ),
        opt("r register-level", "Register a stonith level (here: configure fencing-topology)", "TARGET", group=_DEVICE),
        opt(
            "d deregister-level",
            "Unregister a stonith level (here: configure fencing-topology)",
            "TARGET",
            group=_DEVICE,
        ),
        opt("l list", "List devices that can terminate the specified host.", "HOST", group=_QUERY),
        opt("L list-registered", "List all registered devices.", group=_QUERY),
        opt("I list-installed", "List all installed devices.", group=_QUERY),
        opt("s list-targets", "List the targets that can be fenced by the named device.", "DEVICE", group=_QUERY),
        opt("M metadata", "Show agent metadata. Requires: --agent.", group=_QUERY),
        opt("Q query", "Check the named device's status.", "DEVICE", group=_QUERY),
        opt(
            "H history",
            "Show last successful fencing operation for named node (or '*' for all nodes). Optional: --cleanup, "
            "--quiet, --verbose (show all recorded and pending operations), --broadcast",
            "NODE",
            group=_QUERY,
        ),
        opt("h last", "Indicate when the named node was last fenced.", "NODE", group=_QUERY),
        opt("K validate", "Validate a fence device configuration. Requires: --agent.", group=_QUERY),
        opt("F fence", "Fence named host. Optional: --timeout, --tolerance, --delay.", "HOST", group=_FENCE),
        opt("U unfence", "Unfence named host. Optional: --timeout, --tolerance, --delay.", "HOST", group=_FENCE),
        opt("B reboot", "Reboot named host. Optional: --timeout, --tolerance, --delay.", "HOST", group=_FENCE),
        opt("C confirm", "Tell cluster that named host is now safely down.", "HOST", group=_FENCE),
        opt("c cleanup", "Cleanup wherever appropriate. Requires --history.", group=_MORE),
        opt("b broadcast", "Broadcast wherever appropriate (the history is the same on all nodes).", group=_MORE),
        opt("a agent", "The agent to use (for example, fence_xvm; with --metadata, --validate).", "AGENT", group=_MORE),
        opt("o option", "Specify a device configuration parameter as NAME=VALUE", "PARAM", group=_MORE),
        opt("e env-option", "Specify a device configuration parameter by environment variable", "PARAM", group=_MORE),
        opt("T tag", "Identify fencing operations in logs with the specified tag", "TAG", group=_MORE),
        opt("v device", "Device ID", "DEVICE", group=_MORE),
        opt("i index", "The stonith level (1-9)", "LEVEL", group=_MORE),
        opt("t timeout", "Operation timeout in seconds (default 120)", "SECONDS", group=_MORE),
        opt("y delay", "Apply a fencing delay in seconds.", "SECONDS", group=_MORE),
        opt("n as-node-id", "(Advanced) The supplied node is the corosync node ID (with --last).", group=_MORE),
        opt(
            "tolerance",
            "(Advanced) Do nothing if an equivalent --fence request succeeded less than this many seconds earlier",
            "SECONDS",
            group=_MORE,
        ),
        opt("q quiet", "Be less descriptive in output.", group="Application Options"),
        *APPLICATION_OPTIONS,
    ),
)
_COMMANDS = (
    "register",
    "deregister",
    "register-level",
    "deregister-level",
    "list",
    "list-registered",
    "list-installed",
    "list-targets",
    "metadata",
    "query",
    "history",
    "last",
    "validate",
    "fence",
    "unfence",
    "reboot",
    "confirm",
)
_ACTIONS = {"fence": "off", "unfence": "on", "reboot": "reboot"}
TIMEOUT_MS = 120_000


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    command = parsed.last_of(*_COMMANDS)
    if command is None:
        raise CommandFailed(Exit.USAGE, "No command given: see --help")
    kind, value = command
    if kind == "list-installed":
        return _names(output, agents.agents(call.environ, "stonith"), "installed fence device", count=False)
    if kind in ("metadata", "validate"):
        return _agent(call, parsed, output, kind)
    if kind in ("register", "deregister", "register-level", "deregister-level"):
        raise CommandFailed(
            Exit.UNIMPLEMENT_FEATURE,
            "Devices and levels are part of the configuration: change stonith "
            "resources and fencing-topology with cibadmin",
        )
    backend = open_backend(call)
    try:
        if kind in _ACTIONS:
            return _fence(parsed, backend, kind, value)
        if kind == "confirm":
            fencing.confirm(backend, value)
            return 0
        if kind == "history":
            return _history(parsed, output, backend, value)
        if kind == "last":
            return _last(output, backend, value)
        if kind == "query":
            fencing.require_device(backend, value)
            return 0
        if kind == "list-targets":
            fencing.require_device(backend, value)
            names = [n.name for n in backend.status(cib=False).nodes if value in fencing.devices(backend, n.name)]
            return _names(output, names, "fence target", count=False)
        return _names(output, fencing.devices(backend, value if kind == "list" else None), "fence device", count=True)
    except CommandFailed as failure:
        if kind == "query" and failure.code == Exit.NOSUCH:
            return failure.code
        raise
    finally:
        backend.close()


def _names(output: Output, names: list[str], word: str, *, count: bool) -> int:
    if output.xml:
        holder = output.element("list", name=f"{word}s", count=str(len(names)))
        for name in names:
            etree.SubElement(holder, "item", name=word.rpartition(" ")[2]).text = name
        return 0
    for name in names:
        output.line(name)
    if count:
        output.line(f"{plural(len(names), word)} found")
    return 0


def _agent(call: Invocation, parsed: Parsed, output: Output, kind: str) -> int:
    agent = parsed.get("agent")
    if not agent:
        raise CommandFailed(Exit.USAGE, "Please specify an agent to query using -a,--agent [value]")
    text = agents.metadata(call.environ, f"stonith:{agent}")
    if kind == "validate":
        return 0
    if output.xml:
        output.element("metadata").text = etree.CDATA(text)
    else:
        call.out.write(text if text.endswith("\n") else text + "\n")
    return 0


def _milliseconds(parsed: Parsed, option: str, default: int) -> int:
    text = parsed.get(option)
    value = default if text is None else parse_interval_ms(text)
    if value is None or value < 0:
        raise CommandFailed(Exit.USAGE, f"--{option} {text!r} is not a time")
    return value


def _fence(parsed: Parsed, backend: Backend, kind: str, target: str) -> int:
    try:
        fencing.fence(
            backend,
            target,
            _ACTIONS[kind],
            timeout_ms=_milliseconds(parsed, "timeout", TIMEOUT_MS),
            tolerance_ms=_milliseconds(parsed, "tolerance", 0),
            delay_ms=_milliseconds(parsed, "delay", 0),
        )
    except CommandFailed as failure:
        if failure.code == Exit.DISCONNECT:
            raise
        reason = failure.message or errno_text(failure.code)
        code = failure.code
        if code == Exit.ERROR and not fencing.devices(backend, target):
            code = Exit.NOSUCH
        raise CommandFailed(code, f"Couldn't {kind} {target}: {reason}") from None
    return 0


def _event(record: protocol.FenceRecord, *, full: bool) -> str:
    words = {"success": "successful", "failed": "failed"}
    state = words.get(record.state, "pending")
    parts = [f"delegate={record.executor}"] * bool(record.executor)
    parts += [f"client={record.client}", f"origin={record.origin}"]
    if record.state == "failed" and record.reason:
        parts.append(f"exit-reason='{record.reason}'")
    if record.state != "pending":
        parts.append(f"{'completed' if full else 'last-' + state}='{iso(record.ended_at)}'")
    return f"{record.action} of {record.target} {state}: {', '.join(parts)}"


def _history(parsed: Parsed, output: Output, backend: Backend, value: str) -> int:
    target = None if value in ("*", "") else value
    if "cleanup" in parsed:
        fencing.clear_history(backend, target)
        if not output.xml:
            output.line(f"cleaning up fencing-history for node {value}")
        return 0
    records = fencing.history(backend, target)
    full = "verbose" in parsed or output.xml
    if not full:
        latest: dict[str, protocol.FenceRecord] = {}
        for record in records:
            if record.state == "success":
                latest.setdefault(record.target, record)
        records = list(latest.values())
    if output.xml:
        holder = output.element("list", name="fencing history", count=str(len(records)))
        for record in records:
            fence_element(holder, record)
        return 0
    for record in records:
        output.line(str(record.ended_at) if "quiet" in parsed else _event(record, full=full))
    if "quiet" not in parsed:
        output.line(f"{plural(len(records), 'event')} found")
    return 0


def _last(output: Output, backend: Backend, target: str) -> int:
    done = [r for r in fencing.history(backend, target) if r.state == "success"]
    if output.xml:
        if done:
            output.element("last-fenced", target=target, when=iso(done[0].ended_at))
    elif done:
        output.line(f"Node {target} last fenced at: {iso(done[0].ended_at)}")
    else:
        output.line(f"Node {target} has never been fenced")
    return 0
