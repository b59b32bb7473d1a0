"""Tickets: the state of each, granting and revoking, attributes. The state stands in the status section."""

from __future__ import annotations

from lxml import etree

from quorate.model.cib import parse_fragment

from ..backends import Backend
from ..failure import CommandFailed, Exit


def states(backend: Backend) -> list[etree._Element]:
    """The ticket_state elements."""
    data = backend.query(xpath="/cib/status/tickets", pretty=False)
    return list(parse_fragment(data).iterchildren("ticket_state")) if data is not None else []


def state(backend: Backend, ticket: str) -> etree._Element | None:
    return next((e for e in states(backend) if e.get("id") == ticket), None)


def names(backend: Backend) -> list[str]:
    """Tickets that have a state, then those that only constraints name."""
    found = [str(e.get("id")) for e in states(backend)]
    found += [str(e.get("ticket")) for e in constraints(backend, None)]
    return list(dict.fromkeys(found))


def constraints(backend: Backend, ticket: str | None) -> list[etree._Element]:
    data = backend.query(section="constraints", pretty=False)
    root = parse_fragment(data or b"<constraints/>")
    return [e for e in root.iterchildren("rsc_ticket") if ticket is None or e.get("ticket") == ticket]


def set_attributes(backend: Backend, ticket: str, values: dict[str, str], now: float) -> None:
    """Also notes when it was granted last."""
    status = etree.Element("status")
    element = etree.SubElement(etree.SubElement(status, "tickets"), "ticket_state", id=ticket)
    before = state(backend, ticket)
    for name, value in values.items():
        element.set(name, value)
        was = before.get("granted") if before is not None else None
        if name == "granted" and value.lower() in ("true", "1", "yes", "on") and was not in ("true", "1"):
            element.set("last-granted", str(int(now)))
    backend.change("modify", section="status", xml=etree.tostring(status), allow_create=True)


def delete_attribute(backend: Backend, ticket: str, name: str) -> None:
    element = state(backend, ticket)
    if element is None or name not in element.attrib:
        return
    kept = etree.Element("ticket_state")
    for key, value in element.attrib.items():
        if key != name:
            kept.set(key, value)
    backend.change(
        "replace", xpath=f"/cib/status/tickets/ticket_state[@id={_quoted(ticket)}]", xml=etree.tostring(kept)
    )


def forget(backend: Backend, ticket: str) -> None:
    if state(backend, ticket) is None:
        raise CommandFailed(Exit.NOSUCH, f"Ticket '{ticket}' has no state")
    backend.change("delete", xpath=f"/cib/status/tickets/ticket_state[@id={_quoted(ticket)}]")


def _quoted(text: str) -> str:
    if "'" in text:
        raise CommandFailed(Exit.USAGE, f"{text!r} cannot be the name of a ticket")
    return f"'{text}'"
