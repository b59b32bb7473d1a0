"""crm_ticket: look at tickets, grant and revoke them."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from quorate.core.scheduler import unpack
from quorate.core.scheduler.working_set import Ticket

from ..backends import Backend, open_backend
from ..commands import tickets
from ..failure import CommandFailed, Exit, errno_text
from ..invocation import Invocation
from ..monitor.words import calendar
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output, serialize

_QUERY, _COMMAND, _ADVANCED, _MORE = "Queries", "Commands", "Advanced Options", "Additional Options"
TABLE = Table(
    "crm_ticket",
    "Perform tasks related to cluster tickets\n\nAllows ticket attributes to be queried, modified and deleted.",
    (
        *OUTPUT_OPTIONS,
        opt("l info", "Display the information of ticket(s)", group=_QUERY),
        opt("L details", "Display the details of ticket(s)", group=_QUERY),
        opt("w raw", "Display the IDs of ticket(s)", group=_QUERY),
        opt("q query-xml", "Query the XML of ticket(s)", group=_QUERY),
        opt("c constraints", "Display the rsc_ticket constraints that apply to ticket(s)", group=_QUERY),
        opt("g grant", "Grant a ticket to this cluster site", group=_COMMAND),
        opt("r revoke", "Revoke a ticket from this cluster site", group=_COMMAND),
        opt("s standby", "Tell this cluster site this ticket is standby", group=_COMMAND),
        opt("a activate", "Tell this cluster site this ticket is active", group=_COMMAND),
        opt("G get-attr", "Display the named attribute for a ticket", "ATTRIBUTE", group=_ADVANCED),
        opt("S set-attr", "Set the named attribute for a ticket", "ATTRIBUTE", group=_ADVANCED),
        opt("D delete-attr", "Delete the named attribute for a ticket", "ATTRIBUTE", group=_ADVANCED),
        opt("C cleanup", "Delete all state of a ticket at this cluster site", group=_ADVANCED),
        opt("v attr-value", "Attribute value to use with -S", "VALUE", group=_MORE),
        opt(
            "d default",
            "(Advanced) Default attribute value to display if none is found (for use with -G)",
            "VALUE",
            group=_MORE,
        ),
        opt("f force", "(Advanced) Force the action to be performed", group=_MORE),
        opt("t ticket", "Ticket ID", "ID", group=_MORE),
        opt("Q quiet", "Print only the value on stdout", group=_MORE),
        opt("n set-name", "Ignored", "ID", group=_MORE, hidden=True),
        opt("i nvpair", "Ignored", "ID", group=_MORE, hidden=True),
        *APPLICATION_OPTIONS,
    ),
)
_COMMANDS = (
    "info",
    "details",
    "raw",
    "query-xml",
    "constraints",
    "grant",
    "revoke",
    "standby",
    "activate",
    "get-attr",
    "set-attr",
    "delete-attr",
    "cleanup",
)
_GRANTS = {
    "grant": ("granted", "true"),
    "revoke": ("granted", "false"),
    "standby": ("standby", "true"),
    "activate": ("standby", "false"),
}


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    kind, value = parsed.last_of(*_COMMANDS) or ("info", "")
    ticket = parsed.get("ticket")
    backend = open_backend(call)
    try:
        if kind in ("info", "details", "raw"):
            return _show(call, output, backend, ticket, kind)
        if kind == "query-xml":
            return _xml(call, backend, ticket)
        if kind == "constraints":
            for element in tickets.constraints(backend, ticket):
                call.out.write(serialize(element))
            return 0
        if not ticket:
            raise CommandFailed(Exit.USAGE, "Must supply a ticket ID with -t")
        return _change(call, parsed, backend, ticket, kind, value)
    finally:
        backend.close()


def _show(call: Invocation, output: Output, backend: Backend, ticket: str | None, kind: str) -> int:
    known = unpack(backend.cib().root, int(call.wall())).tickets
    if ticket is not None and ticket not in known:
        raise CommandFailed(Exit.NOSUCH, f"Ticket '{ticket}' not found")
    chosen = [known[ticket]] if ticket is not None else list(known.values())
    line: Callable[[Ticket], str] = {"raw": _raw, "info": _info, "details": _details}[kind]
    holder = output.element("tickets") if output.xml else None
    for entry in chosen:
        if holder is None:
            output.line(line(entry))
            continue
        element = etree.SubElement(holder, "ticket", id=entry.id)
        element.set("status", "granted" if entry.granted else "revoked")
        element.set("standby", "true" if entry.standby else "false")
        if entry.last_granted is not None:
            element.set("last-granted", calendar(entry.last_granted))
    return 0


def _raw(entry: Ticket) -> str:
    return entry.id


def _info(entry: Ticket) -> str:
    text = f"{entry.id}\t{'granted' if entry.granted else 'revoked'}{' [standby]' if entry.standby else ''}"
    return f"{text} last-granted='{calendar(entry.last_granted)}'" if entry.last_granted is not None else text


def _details(entry: Ticket) -> str:
    rest = [f"{k}={v}" for k, v in sorted(entry.state.items()) if k not in ("id", "granted", "last-granted", "standby")]
    return f"{_info(entry)} ({', '.join(rest)})" if rest else _info(entry)


def _xml(call: Invocation, backend: Backend, ticket: str | None) -> int:
    found = [e for e in tickets.states(backend) if ticket is None or e.get("id") == ticket]
    if not found:
        raise CommandFailed(Exit.NOSUCH, f"Could not query ticket XML: {errno_text(Exit.NOSUCH)}")
    call.print("State XML:\n")
    for element in found:
        call.out.write(serialize(element))
    return 0


def _change(call: Invocation, parsed: Parsed, backend: Backend, ticket: str, kind: str, value: str) -> int:
    now = call.wall()
    if kind in ("grant", "revoke") and "force" not in parsed:
        raise CommandFailed(
            Exit.INSUFFICIENT_PRIV,
            f"This command cannot help you verify whether '{ticket}' has been already granted elsewhere.\n"
            "If you really want to do this, know what you are doing, use --force",
        )
    if kind in _GRANTS:
        name, wanted = _GRANTS[kind]
        tickets.set_attributes(backend, ticket, {name: wanted}, now)
    elif kind == "set-attr":
        given = parsed.get("attr-value")
        if not given:
            raise CommandFailed(Exit.USAGE, "Must supply attribute value with -v for set -S")
        tickets.set_attributes(backend, ticket, {value: given}, now)
    elif kind == "get-attr":
        state = tickets.state(backend, ticket)
        found = state.get(value) if state is not None else None
        if found is None:
            found = parsed.get("default")
        if found is None:
            raise CommandFailed(Exit.NOSUCH, f"Ticket '{ticket}' has no attribute '{value}'")
        call.print(found)
    elif kind == "delete-attr":
        tickets.delete_attribute(backend, ticket, value)
    else:
        if "force" not in parsed:
            raise CommandFailed(Exit.UNSAFE, f"Forgetting the state of ticket '{ticket}' needs --force")
        tickets.forget(backend, ticket)
    return 0
