"""Ticket constraints: what a resource loses with its ticket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .attributes import resolve
from .configuration import parse_role
from .history import adjust
from .locations import expand_reference, find_resource
from .ordering_constraints import set_resources
from .scores import INFINITY
from .status import fence_node, find_ticket
from .working_set import Resource, Role, Ticket, WorkingSet

if TYPE_CHECKING:
    from lxml import etree


@dataclass(slots=True, eq=False)
class TicketConstraint:
    id: str
    ticket: Ticket
    rsc: Resource
    role: Role
    loss_policy: str


def unpack_ticket(ws: WorkingSet, element: etree._Element) -> None:
    name = element.get("ticket")
    place = element.get("id") or ""
    if name is None:
        ws.warn("ticket", f"ticket constraint '{place}' names no ticket", place, "error")
        return
    ticket = find_ticket(ws, name)
    policy = element.get("loss-policy")
    sets = [resolve(ws, child) for child in element if child.tag == "resource_set"]
    members = [found for found in sets if found is not None]
    if members:
        for member in members:
            for rsc in set_resources(ws, member, element) or []:
                _add(ws, place, ticket, rsc, parse_role(member.get("role")), policy)
        return
    reference = element.get("rsc") or ""
    for one in expand_reference(ws, reference) or [reference]:
        found_rsc = find_resource(ws, one)
        if found_rsc is None:
            ws.warn("constraint-resource", f"ticket constraint '{place}' names resource '{one}', which does not exist",
                    place)
            continue
        _add(ws, place, ticket, found_rsc, parse_role(element.get("rsc-role")), policy)


def _add(ws: WorkingSet, place: str, ticket: Ticket, rsc: Resource, role: Role, policy: str | None) -> None:
    if role is Role.STARTED:
        role = Role.UNKNOWN
    if policy is None:
        policy = "demote" if role is Role.PROMOTED else "stop"
    if policy == "fence" and not ws.fencing_enabled:
        ws.warn("loss-policy", f"ticket constraint '{place}': loss-policy=fence needs fencing; using stop", place)
        policy = "stop"
    constraint = TicketConstraint(place, ticket, rsc, role, policy)
    ws.ticket_constraints.append(constraint)
    rsc.tickets.append(constraint)
    apply_ticket(ws, rsc, constraint)


def apply_ticket(ws: WorkingSet, rsc: Resource, constraint: TicketConstraint) -> None:
    ticket = constraint.ticket
    if ticket.granted and not ticket.standby:
        return
    for child in rsc.children:
        apply_ticket(ws, child, constraint)
    if rsc.children:
        return
    if not ticket.granted:
        policy = constraint.loss_policy
        if policy == "stop":
            _ban_all(ws, rsc, "__loss_of_ticket__")
        elif policy == "demote":
            if constraint.role is not Role.PROMOTED:
                _ban_all(ws, rsc, "__loss_of_ticket__")
        elif policy == "fence":
            if rsc.running_on:
                _ban_all(ws, rsc, "__loss_of_ticket__")
                for node in rsc.running_on:
                    fence_node(ws, node, "deadman ticket was lost")
            else:
                _ban_all(ws, rsc, "__loss_of_ticket__")
        elif policy == "freeze" and rsc.running_on:
            rsc.managed = False
            rsc.blocked = True
        if policy == "freeze" and not rsc.running_on:
            _ban_all(ws, rsc, "__no_ticket__")
    elif ticket.standby:
        if constraint.role is not Role.PROMOTED:
            _ban_all(ws, rsc, "__ticket_standby__")


def _ban_all(ws: WorkingSet, rsc: Resource, why: str) -> None:
    for node in ws.nodes:
        adjust(rsc, node, -INFINITY)


