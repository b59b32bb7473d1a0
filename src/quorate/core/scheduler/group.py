"""Groups: members on one node, started in order and stopped in the reverse."""

from __future__ import annotations

from . import assignment
from .actions import (
    FIRST_IMPLIES_THEN,
    FIRST_IMPLIES_THEN_GRAPHED,
    INTERMEDIATE_STOP,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    THEN_IMPLIES_FIRST,
    THEN_IMPLIES_FIRST_GRAPHED,
    UNRUNNABLE_FIRST_BLOCKS,
    new_action,
    op_key,
)
from .colocation import Colocation, add_colocation
from .history import set_next_role
from .options import parse_boolean
from .ordering_constraints import order_starts, order_stops, order_tasks
from .scores import INFINITY
from .working_set import Node, Resource, Role, WorkingSet


def is_ordered(group: Resource) -> bool:
    return parse_boolean(group.meta.get("ordered"), True) if "ordered" in own_meta(group) else True


def is_colocated(group: Resource) -> bool:
    return parse_boolean(group.meta.get("collocated"), True) if "collocated" in own_meta(group) else True


def own_meta(group: Resource) -> set[str]:
    """Names set on the group itself (a clone's `ordered` is not the group's)."""
    return {pair.get("name", "") for block in group.xml if block.tag == "meta_attributes" for pair in block.iter("nvpair")}


def assign_group(ws: WorkingSet, group: Resource, prefer: Node | None, stop_if_fail: bool) -> Node | None:
    if not group.provisional:
        return group.assigned
    if group.assigning:
        return None
    if not group.children:
        group.provisional = False
        return None
    group.assigning = True
    group.role = group.children[0].role
    assignment.show_scores(ws, group, "pcmk__group_assign")
    first: Node | None = None
    for member in group.children:
        node = assignment.assign(ws, member, prefer, stop_if_fail)
        if first is None:
            first = node
    set_next_role(group, group.children[0].next_role, "first group member")
    group.assigning = False
    group.provisional = False
    group.assigned = None
    return first if is_colocated(group) else None


def internal_constraints(ws: WorkingSet, group: Resource) -> None:
    from .variants import internal_constraints as of_member

    order_tasks(ws, group, "stopped", group, "start", ORDERED)
    order_tasks(ws, group, "start", group, "running", UNRUNNABLE_FIRST_BLOCKS)
    order_tasks(ws, group, "stop", group, "stopped", UNRUNNABLE_FIRST_BLOCKS)
    ordered, colocated = is_ordered(group), is_colocated(group)
    promotable = group.top.promotable
    previous: Resource | None = None
    last_active: Resource | None = None
    for member in group.children:
        of_member(ws, member)
        down = THEN_IMPLIES_FIRST_GRAPHED
        post_down = FIRST_IMPLIES_THEN_GRAPHED
        if previous is None:
            if ordered:
                down |= ORDERED
                post_down |= FIRST_IMPLIES_THEN
        elif colocated:
            add_colocation(ws, "#group-members", member, previous, INFINITY, influence=member.critical)
        up = UNRUNNABLE_FIRST_BLOCKS | FIRST_IMPLIES_THEN | FIRST_IMPLIES_THEN_GRAPHED
        if promotable:
            order_tasks(ws, group, "demote", member, "demote", down)
            order_tasks(ws, member, "demote", group, "demoted", post_down)
            order_tasks(ws, member, "promote", group, "promoted", up)
            order_tasks(ws, group, "promote", member, "promote", THEN_IMPLIES_FIRST_GRAPHED)
        order_stops(ws, group, member, down)
        order_tasks(ws, member, "stop", group, "stopped", post_down)
        order_starts(ws, group, member, THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(ws, member, "start", group, "running", up)
        if not ordered:
            all_up = FIRST_IMPLIES_THEN | UNRUNNABLE_FIRST_BLOCKS | THEN_IMPLIES_FIRST_GRAPHED
            order_starts(ws, group, member, all_up)
            if promotable:
                order_tasks(ws, group, "promote", member, "promote", all_up)
        elif previous is None:
            order_starts(ws, group, member, ORDERED)
            if promotable:
                order_tasks(ws, group, "promote", member, "promote", ORDERED)
        else:
            order_starts(ws, previous, member, FIRST_IMPLIES_THEN | UNRUNNABLE_FIRST_BLOCKS)
            order_stops(ws, member, previous, ORDERED | INTERMEDIATE_STOP)
            if member.running_on and not previous.running_on:
                order_tasks(ws, member, "stop", previous, "start", THEN_IMPLIES_FIRST | UNRUNNABLE_FIRST_BLOCKS)
            if promotable:
                order_tasks(ws, previous, "promote", member, "promote", FIRST_IMPLIES_THEN | UNRUNNABLE_FIRST_BLOCKS)
                order_tasks(ws, member, "demote", previous, "demote", ORDERED)
        if member.running_on:
            if ordered and previous is not None and not previous.running_on and last_active is not None and (
                last_active.running_on
            ):
                order_stops(ws, member, last_active, ORDERED)
            last_active = member
        previous = member


def create_actions(ws: WorkingSet, group: Resource) -> None:
    from .variants import create_actions as of_member

    for member in group.children:
        of_member(ws, member)
    tasks = ["start", "running", "stop", "stopped"]
    if group.parent is not None and group.top.promotable:
        tasks += ["demote", "demoted", "promote", "promoted"]
    for task in tasks:
        action = new_action(ws, group, op_key(group.id, task), task, None, True)
        action.flags |= PSEUDO | RUNNABLE


def apply_group_colocation_dependent(
    ws: WorkingSet, dependent: Resource, primary: Resource, constraint: Colocation,
) -> None:
    if not dependent.children:
        return
    if is_colocated(dependent):
        assignment.apply_colocation(ws, dependent.children[0], primary, constraint, False)
        return
    if constraint.score >= INFINITY:
        return
    for member in dependent.children:
        assignment.apply_colocation(ws, member, primary, constraint, False)


def apply_group_colocation_primary(
    ws: WorkingSet, dependent: Resource, primary: Resource, constraint: Colocation,
) -> None:
    """With a group means with its last member, or for an optional one, with any."""
    if primary.provisional or not primary.children:
        return
    if is_colocated(primary):
        if constraint.score >= INFINITY:
            assignment.apply_colocation(ws, dependent, primary.children[-1], constraint, False)
        else:
            assignment.apply_colocation(ws, dependent, primary.children[0], constraint, False)
        return
    if constraint.score >= INFINITY:
        return
    for member in primary.children:
        assignment.apply_colocation(ws, dependent, member, constraint, False)


def group_role(group: Resource, current: bool) -> Role:
    """The highest role among the members."""
    best = Role.UNKNOWN
    for member in group.children:
        role = member.role if current else member.next_role
        best = max(best, role)
    return best
