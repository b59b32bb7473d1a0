"""Ordering constraints: unpacking, and the relations that resources bring along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .actions import (
    ASYMMETRIC,
    FIRST_IMPLIES_THEN,
    IF_FIRST_UNMIGRATABLE,
    MIN_RUNNABLE,
    MIN_RUNNABLE_FIRST,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    SERIALIZE,
    THEN_IMPLIES_FIRST,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    new_action,
    op_key,
    split_key,
)
from .attributes import resolve
from .locations import expand_reference, find_resource
from .options import parse_boolean
from .scores import parse_score
from .working_set import Kind, Resource, WorkingSet

if TYPE_CHECKING:
    from lxml import etree

INVERSE = {"start": "stop", "stop": "start", "promote": "demote", "demote": "promote",
           "running": "stopped", "stopped": "running", "promoted": "demoted", "demoted": "promoted"}


@dataclass(slots=True, eq=False)
class Ordering:
    """`first` before `then`: each side is an action, or a resource with an operation key."""

    id: int
    first_rsc: Resource | None
    first_key: str | None
    first: Action | None
    then_rsc: Resource | None
    then_key: str | None
    then: Action | None
    flags: int
    constraint: str | None = None


def add_ordering(
    ws: WorkingSet, first_rsc: Resource | None, first_key: str | None, first: Action | None,
    then_rsc: Resource | None, then_key: str | None, then: Action | None, flags: int, constraint: str | None = None,
) -> None:
    if first is None and first_rsc is None or then is None and then_rsc is None:
        return
    if first_rsc is None and first is not None:
        first_rsc = first.rsc
    if then_rsc is None and then is not None:
        then_rsc = then.rsc
    ws.orderings.append(
        Ordering(ws.next_order_id, first_rsc, first_key or (first.key if first is not None else None), first, then_rsc,
                 then_key or (then.key if then is not None else None), then, flags, constraint))
    ws.next_order_id += 1
    if first_rsc is not None and then_rsc is not None and (first_rsc.migratable or then_rsc.migratable):
        _order_migrations(ws, ws.orderings[-1])


def _is_inside(rsc: Resource, holder: Resource) -> bool:
    parent = rsc.parent
    while parent is not None:
        if parent is holder:
            return True
        parent = parent.parent
    return False


def _order_migrations(ws: WorkingSet, ordering: Ordering) -> None:
    """What holds for start and stop holds for the migration that takes their place."""
    first, then = ordering.first_rsc, ordering.then_rsc
    assert first is not None and then is not None
    if first is then or _is_inside(first, then) or _is_inside(then, first):
        return
    if ordering.first_key is None or ordering.then_key is None:
        return
    one, two = split_key(ordering.first_key)[1], split_key(ordering.then_key)[1]
    flags = ordering.flags
    if (one, two) == ("start", "start"):
        if first.migratable and then.migratable:
            order_tasks(ws, first, "migrate_from", then, "migrate_to", flags)
        if then.migratable:
            if first.migratable:
                flags |= IF_FIRST_UNMIGRATABLE
            order_tasks(ws, first, "start", then, "migrate_to", flags)
    elif (one, two) == ("stop", "stop") and then.migratable:
        if first.migratable:
            flags |= IF_FIRST_UNMIGRATABLE
        order_tasks(ws, first, "stop", then, "migrate_to", flags)
        if then.partial_target is not None:
            order_tasks(ws, first, "stop", then, "migrate_from", flags)
    elif (one, two) in (("promote", "start"), ("demote", "stop")) and then.migratable:
        order_tasks(ws, first, one, then, "migrate_to", flags)
        if one == "demote" and then.partial_target is not None:
            order_tasks(ws, first, "demote", then, "migrate_from", flags)


def order_tasks(
    ws: WorkingSet, first: Resource, first_task: str, then: Resource, then_task: str, flags: int,
    constraint: str | None = None,
) -> None:
    add_ordering(ws, first, op_key(first.id, first_task), None, then, op_key(then.id, then_task), None, flags, constraint)


def order_starts(ws: WorkingSet, first: Resource, then: Resource, flags: int) -> None:
    order_tasks(ws, first, "start", then, "start", flags)


def order_stops(ws: WorkingSet, first: Resource, then: Resource, flags: int) -> None:
    order_tasks(ws, first, "stop", then, "stop", flags)


# ---- unpacking --------------------------------------------------------------------------------------------------

OPTIONAL, MANDATORY, SERIAL = "optional", "mandatory", "serialize"


def _kind(ws: WorkingSet, element: etree._Element) -> str:
    text = element.get("kind")
    if text is None:
        score_text = element.get("score")
        if score_text is None:
            return MANDATORY
        score = parse_score(score_text, 0)
        return MANDATORY if score else OPTIONAL
    folded = text.lower()
    if folded in (OPTIONAL, MANDATORY, SERIAL):
        return folded
    ws.warn("order-kind", f"order constraint '{element.get('id')}': '{text}' is not a kind; using Mandatory",
            element.get("id"), "error")
    return MANDATORY


def _symmetrical(ws: WorkingSet, element: etree._Element, parent_kind: str, set_symmetry: str | None = None) -> bool:
    text = set_symmetry if set_symmetry is not None else element.get("symmetrical")
    if text is not None:
        if parse_boolean(text):
            if parent_kind == SERIAL:
                ws.warn("order-symmetrical", f"order constraint '{element.get('id')}' cannot be symmetrical with kind "
                        "Serialize", element.get("id"))
                return False
            return True
        return False
    return parent_kind != SERIAL


def _flags(kind: str, first_task: str, symmetry: str) -> int:
    """`symmetry`: "asymmetric", "symmetric", "inverse"."""
    if kind == OPTIONAL:
        return ORDERED
    if kind == SERIAL:
        return ORDERED | SERIALIZE
    if symmetry == "asymmetric":
        return ORDERED | ASYMMETRIC
    if symmetry == "inverse":
        return ORDERED | THEN_IMPLIES_FIRST
    flags = ORDERED | FIRST_IMPLIES_THEN
    if first_task in ("start", "promote"):
        flags |= UNRUNNABLE_FIRST_BLOCKS
    return flags


def unpack_order(ws: WorkingSet, element: etree._Element) -> None:
    sets = [resolve(ws, child) for child in element if child.tag == "resource_set"]
    members = [found for found in sets if found is not None]
    if members:
        _unpack_sets(ws, element, members)
        return
    first_names = _expand(ws, element, "first")
    then_names = _expand(ws, element, "then")
    if first_names is None or then_names is None:
        return
    if len(first_names) == 1 and len(then_names) == 1:
        _simple(ws, element, first_names[0], then_names[0])
        return
    for first in first_names:
        for then in then_names:
            _simple(ws, element, first, then)


def _expand(ws: WorkingSet, element: etree._Element, side: str) -> list[str] | None:
    name = element.get(side)
    if name is None:
        ws.warn("order-incomplete", f"order constraint '{element.get('id')}' has no '{side}'", element.get("id"), "error")
        return None
    names = expand_reference(ws, name)
    if names is None:
        if find_resource(ws, name) is None:
            ws.warn("constraint-resource", f"order constraint '{element.get('id')}' names resource '{name}', which does "
                    "not exist", element.get("id"))
            return None
        return [name]
    return names


def _instance_number(ws: WorkingSet, element: etree._Element, side: str, rsc: Resource) -> Resource | None:
    number = element.get(f"{side}-instance")
    if number is None:
        return rsc
    if rsc.kind is not Kind.CLONE:
        ws.warn("order-instance", f"order constraint '{element.get('id')}': {rsc.id} is not a clone", element.get("id"))
        return None
    for child in rsc.children:
        if str(child.number) == number:
            return child
    return None


def _simple(ws: WorkingSet, element: etree._Element, first_name: str, then_name: str) -> None:
    place = element.get("id")
    first, then = find_resource(ws, first_name), find_resource(ws, then_name)
    if first is None or then is None:
        return
    first = _instance_number(ws, element, "first", first)
    then = _instance_number(ws, element, "then", then)
    if first is None or then is None:
        return
    first_task = element.get("first-action", "start")
    then_task = element.get("then-action", first_task)
    kind = _kind(ws, element)
    symmetrical = _symmetrical(ws, element, kind)
    flags = _flags(kind, first_task, "symmetric" if symmetrical else "asymmetric")
    minimum = 0
    if first.kind is Kind.CLONE:
        if element.get("require-all") is not None and not parse_boolean(element.get("require-all")):
            minimum = 1
        elif first.clone is not None and first.clone.clone_min:
            minimum = first.clone.clone_min
    if first.kind is Kind.CLONE and minimum > 0 and first_task in ("start", "promote"):
        _minimum_order(ws, place, first, first_task, then, then_task, kind, minimum)
    else:
        order_tasks(ws, first, first_task, then, then_task, flags, place)
    if not symmetrical:
        return
    inverse_first, inverse_then = INVERSE.get(first_task), INVERSE.get(then_task)
    if inverse_first is None or inverse_then is None:
        ws.warn("order-inverse", f"order constraint '{place}' has no inverse", place)
        return
    back = ORDERED if minimum and first_task in ("start", "promote") else _flags(kind, first_task, "inverse")
    order_tasks(ws, then, inverse_then, first, inverse_first, back, place)


def _minimum_order(
    ws: WorkingSet, place: str | None, first: Resource, first_task: str, then: Resource, then_task: str, kind: str,
    minimum: int,
) -> None:
    """`then` waits until so many instances of the clone are up."""
    task = f"clone-one-or-more:{place}"
    gate = new_action(ws, None, task, task, None, True)
    gate.flags |= PSEUDO | RUNNABLE | MIN_RUNNABLE
    gate.required_runnable_before = minimum
    for child in first.children:
        add_ordering(ws, child, op_key(child.id, first_task), None, None, None, gate,
                     MIN_RUNNABLE_FIRST | FIRST_IMPLIES_THEN_GATE)
    then_flags = FIRST_IMPLIES_THEN | UNRUNNABLE_FIRST_BLOCKS if kind != OPTIONAL else ORDERED
    add_ordering(ws, None, None, gate, then, op_key(then.id, then_task), None, ORDERED | UNRUNNABLE_FIRST_BLOCKS
                 if kind != OPTIONAL else then_flags, place)


FIRST_IMPLIES_THEN_GATE = 0x80  # FIRST_IMPLIES_THEN_GRAPHED: the gate is drawn when an instance is


# ---- sets -------------------------------------------------------------------------------------------------------


def set_resources(ws: WorkingSet, members: etree._Element, element: etree._Element) -> list[Resource] | None:
    found: list[Resource] = []
    for reference in members:
        if reference.tag != "resource_ref":
            continue
        name = reference.get("id") or ""
        for member in expand_reference(ws, name) or [name]:
            rsc = find_resource(ws, member)
            if rsc is None:
                ws.warn("constraint-resource", f"constraint '{element.get('id')}' names resource '{member}', which does "
                        "not exist", element.get("id"))
                return None
            found.append(rsc)
    return found


@dataclass(slots=True)
class _Set:
    """One resource_set with its gates: actions that stand for all (or any) of it."""

    element: etree._Element
    resources: list[Resource]
    action: str
    sequential: bool
    require_all: bool
    symmetrical: bool
    kind: str
    begin: Action | None = None
    end: Action | None = None


def _unpack_sets(ws: WorkingSet, element: etree._Element, members: list[etree._Element]) -> None:
    kind = _kind(ws, element)
    sets: list[_Set] = []
    for member in members:
        expanded = _expand_ordered_set(ws, member, element)
        if expanded is None:
            return
        set_kind = _kind(ws, member) if member.get("kind") is not None else kind
        symmetrical = _symmetrical(ws, element, set_kind, member.get("symmetrical"))
        sets.append(_Set(member, expanded, member.get("action") or "start",
                         parse_boolean(member.get("sequential"), True),
                         parse_boolean(member.get("require-all"), True), symmetrical, set_kind))
    for group in sets:
        _inner(ws, element, group)
    for before, after in zip(sets, sets[1:], strict=False):
        _between(ws, element, before, after, kind, _symmetrical(ws, element, kind))


def _expand_ordered_set(ws: WorkingSet, member: etree._Element, element: etree._Element) -> list[Resource] | None:
    return set_resources(ws, member, element)


def _inner(ws: WorkingSet, element: etree._Element, group: _Set) -> None:
    """Order within a sequential set."""
    flags = _flags(group.kind, group.action, "symmetric" if group.symmetrical else "asymmetric")
    if group.kind == SERIAL and not group.sequential:
        for position, first in enumerate(group.resources):
            for then in group.resources[position + 1:]:
                order_tasks(ws, first, group.action, then, group.action, flags, element.get("id"))
        return
    if group.sequential:
        for first, then in zip(group.resources, group.resources[1:], strict=False):
            order_tasks(ws, first, group.action, then, group.action, flags, element.get("id"))
            if group.kind == SERIAL:
                continue
        if group.kind == SERIAL:
            for position, first in enumerate(group.resources):
                for then in group.resources[position + 2:]:
                    order_tasks(ws, first, group.action, then, group.action, flags, element.get("id"))
        if group.symmetrical:
            inverse = INVERSE.get(group.action)
            if inverse is None:
                return
            back = _flags(group.kind, group.action, "inverse")
            for first, then in zip(group.resources, group.resources[1:], strict=False):
                order_tasks(ws, then, inverse, first, inverse, back, element.get("id"))


def _between(
    ws: WorkingSet, element: etree._Element, before: _Set, after: _Set, kind: str, symmetrical: bool,
) -> None:
    """The second set after the first."""
    _between_one_way(ws, element, before, after, kind, "symmetric" if symmetrical else "asymmetric", before.action,
                     after.action)
    if not symmetrical:
        return
    inverse_before, inverse_after = INVERSE.get(before.action), INVERSE.get(after.action)
    if inverse_before is None or inverse_after is None:
        return
    _between_one_way(ws, element, after, before, kind, "inverse", inverse_after, inverse_before)


def _between_one_way(
    ws: WorkingSet, element: etree._Element, first: _Set, then: _Set, kind: str, symmetry: str, first_task: str,
    then_task: str,
) -> None:
    flags = _flags(kind, first_task, symmetry)
    place = element.get("id")
    if symmetry != "inverse" and not first.require_all:
        gate = new_action(ws, None, f"one-or-more:{first.element.get('id')}", f"one-or-more:{first.element.get('id')}",
                          None, True)
        gate.flags |= PSEUDO | RUNNABLE | MIN_RUNNABLE
        for rsc in first.resources:
            add_ordering(ws, rsc, op_key(rsc.id, first_task), None, None, None, gate,
                         MIN_RUNNABLE_FIRST | FIRST_IMPLIES_THEN_GATE)
        for rsc in then.resources:
            add_ordering(ws, None, None, gate, rsc, op_key(rsc.id, then_task), None,
                         ORDERED | UNRUNNABLE_FIRST_BLOCKS, place)
        return
    # in a sequential set, the last of the first and the first of the second stand for all
    if symmetry == "inverse":
        first_list = [first.resources[0]] if first.sequential and first.resources else first.resources
        then_list = [then.resources[-1]] if then.sequential and then.resources else then.resources
    else:
        first_list = [first.resources[-1]] if first.sequential and first.resources else first.resources
        then_list = [then.resources[0]] if then.sequential and then.resources else then.resources
    for one in first_list:
        for two in then_list:
            order_tasks(ws, one, first_task, two, then_task, flags, place)


