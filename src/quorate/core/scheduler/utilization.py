"""Utilization: what resources need and what nodes have left."""

from __future__ import annotations

from .scores import INFINITY, parse_score
from .working_set import Node, Resource, WorkingSet


def in_use(ws: WorkingSet) -> bool:
    return ws.placement_strategy != "default"


def prepare(ws: WorkingSet) -> None:
    for node in ws.nodes:
        node.capacity = {name: parse_score(text, 0) or 0 for name, text in node.utilization.items()}


def compare_capacity(a: Node, b: Node) -> int:
    """Fewer than zero when `a` has more to spare."""
    result = 0
    for name, value in a.capacity.items():
        other = b.capacity.get(name, 0)
        if value > other:
            result -= 1
        elif value < other:
            result += 1
    for name, value in b.capacity.items():
        if name not in a.capacity:
            if value > 0:
                result += 1
            elif value < 0:
                result -= 1
    return result


def consume_capacity(ws: WorkingSet, node: Node, rsc: Resource) -> None:
    if ws.placement_strategy == "default":
        return
    for name, amount in rsc.utilization.items():
        if name in node.capacity:
            node.capacity[name] -= amount


def release_capacity(ws: WorkingSet, node: Node, rsc: Resource) -> None:
    if ws.placement_strategy == "default":
        return
    for name, amount in rsc.utilization.items():
        if name in node.capacity:
            node.capacity[name] += amount


def _fits(node: Node, needs: dict[str, int]) -> bool:
    return all(amount <= node.capacity.get(name, 0) for name, amount in needs.items())


def colocated_resources(rsc: Resource, origin: Resource, found: list[Resource]) -> list[Resource]:
    """Everything that mandatory colocations tie to `rsc` (groups as their members do)."""
    from .colocation import this_with, with_this

    if rsc in found:
        return found
    found.append(rsc)
    for constraint in this_with(rsc):
        primary = constraint.primary
        if primary is origin or constraint.score < INFINITY:
            continue
        if primary in found:
            continue
        colocated_resources(primary, origin, found)
    for constraint in with_this(rsc):
        dependent = constraint.dependent
        if dependent is origin or constraint.score < INFINITY:
            continue
        if dependent.kind.value != 0 and rsc.kind.value == 0 and dependent.kind.value > 1:
            continue
        if dependent in found:
            continue
        colocated_resources(dependent, origin, found)
    return found


def ban_insufficient_capacity(ws: WorkingSet, rsc: Resource) -> Node | None:
    """Forbid nodes without room. Returns the best node that has room for all that is colocated, when one has."""
    if ws.placement_strategy == "default":
        return None
    from .assignment import sort_nodes
    from .colocation import any_available, node_available

    colocated = colocated_resources(rsc, rsc, [])
    group = [other for other in colocated if other is not rsc and other.kind.value == 0]
    together: dict[str, int] = dict(rsc.utilization)
    for other in group:
        if other.provisional:
            for name, amount in other.utilization.items():
                together[name] = together.get(name, 0) + amount
    best: Node | None = None
    if group:
        fitting = [index for index in rsc.allowed
                   if rsc.allowed[index] >= 0 and node_available(ws.nodes[index]) and _fits(ws.nodes[index], together)]
        if fitting:
            ordered = sort_nodes(ws, fitting, rsc.allowed, None)
            best = ws.nodes[ordered[0]]
            changed = dict(rsc.allowed)
            for index in changed:
                if not _fits(ws.nodes[index], together) and node_available(ws.nodes[index]):
                    changed[index] = -INFINITY
            if any_available(ws, changed):
                rsc.allowed = changed
                return best
    for index in rsc.allowed:
        node = ws.nodes[index]
        if rsc.allowed[index] >= 0 and node_available(node) and not _fits(node, rsc.utilization):
            rsc.allowed[index] = -INFINITY
    return None
