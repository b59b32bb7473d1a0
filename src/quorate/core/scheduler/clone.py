"""Clones: how many instances go where, which instance keeps its node, and the actions that stand for all."""

from __future__ import annotations

import functools

from . import assignment
from .actions import (
    FIRST_IMPLIES_THEN_GRAPHED,
    MIGRATABLE,
    OPTIONAL,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    THEN_IMPLIES_FIRST_GRAPHED,
    UNRUNNABLE_FIRST_BLOCKS,
    pseudo_action,
)
from .assignment import active_node, current_node
from .colocation import (
    SELECT_NONNEGATIVE,
    Colocation,
    add_colocated_scores,
    add_dependent_scores,
    attribute_of,
    has_influence,
    node_available,
    this_with,
    with_this,
)
from .options import parse_boolean
from .ordering_constraints import order_starts, order_stops, order_tasks
from .scores import INFINITY, add_scores
from .working_set import Kind, Node, Resource, Role, WorkingSet

STARTING, STOPPING, ACTIVE = 1, 2, 4


def assign_clone(ws: WorkingSet, clone: Resource, prefer: Node | None, stop_if_fail: bool) -> None:
    if not clone.provisional or clone.assigning:
        return
    clone.assigning = True
    if clone.promotable:
        from .promotable import add_promotion_scores

        add_promotion_scores(ws, clone)
    for constraint in this_with(clone):
        assignment.assign(ws, constraint.primary, prefer, stop_if_fail)
    for constraint in with_this(clone):
        add_dependent_scores(ws, constraint, clone)
    assignment.show_scores(ws, clone, "pcmk__clone_assign")
    info = clone.clone
    assert info is not None
    ordered = sorted(clone.children, key=functools.cmp_to_key(functools.partial(compare_instances, ws)))
    clone.children = ordered
    assign_instances(ws, clone, ordered, info.clone_max, info.clone_node_max)
    if clone.promotable:
        from .promotable import set_instance_roles

        set_instance_roles(ws, clone)
    clone.provisional = False
    clone.assigning = False


# ---- which instance first ---------------------------------------------------------------------------------------


def _cmp(a: int | bool, b: int | bool) -> int:
    return (a > b) - (a < b)


def _top_allowed(instance: Resource, node: Node) -> int | None:
    holder = instance if instance.parent is None else instance.parent
    return holder.allowed.get(node.index)


def _did_fail(instance: Resource) -> bool:
    return instance.failed or any(_did_fail(child) for child in instance.children)


def compare_instances(ws: WorkingSet, a: Resource, b: Resource) -> int:
    one, count_one, _ = active_node(a)
    two, count_two, _ = active_node(b)
    if count_one > 0 and count_two > 0 and count_one != count_two:
        return _cmp(count_one, count_two)
    allowed_one = one is None or a.allowed.get(one.index, -1) >= 0
    allowed_two = two is None or b.allowed.get(two.index, -1) >= 0
    if not allowed_one:
        one = None
    if not allowed_two:
        two = None
    if allowed_one != allowed_two:
        return -1 if allowed_one else 1
    if a.priority != b.priority:
        return _cmp(b.priority, a.priority)
    if one is None and two is None:
        return compare_numbers(a, b)
    if one is None:
        return 1
    if two is None:
        return -1
    can_one, can_two = node_available(one), node_available(two)
    if can_one != can_two:
        return -1 if can_one else 1
    parent_one, parent_two = _top_allowed(a, one), _top_allowed(b, two)
    if parent_one is None and parent_two is None:
        return compare_numbers(a, b)
    if parent_one is None:
        return 1
    if parent_two is None:
        return -1
    if parent_one != parent_two:
        return _cmp(parent_two, parent_one)
    failed_one, failed_two = _did_fail(a), _did_fail(b)
    if failed_one != failed_two:
        return 1 if failed_one else -1
    result = _compare_by_colocation(ws, a, b, one, two)
    if result:
        return result
    return compare_numbers(a, b)


def compare_numbers(a: Resource, b: Resource) -> int:
    return _cmp(a.number, b.number)


def _compare_by_colocation(ws: WorkingSet, a: Resource, b: Resource, one: Node, two: Node) -> int:
    if not this_with(a) and not with_this(a) and not this_with(b) and not with_this(b):
        return _cmp(b.allowed.get(two.index, 0), a.allowed.get(one.index, 0))
    first, second = _colocated_scores(ws, a), _colocated_scores(ws, b)
    return _cmp(second.get(two.index, 0), first.get(one.index, 0))


def _colocated_scores(ws: WorkingSet, rsc: Resource) -> dict[int, int]:
    work = dict(rsc.allowed)
    for constraint in this_with(rsc):
        merged = add_colocated_scores(ws, constraint.primary, rsc, work, constraint, constraint.score / INFINITY, 0)
        work = merged if merged is not None else work
    for constraint in with_this(rsc):
        if not has_influence(constraint, rsc):
            continue
        merged = add_colocated_scores(ws, constraint.dependent, rsc, work, constraint, constraint.score / INFINITY,
                                      SELECT_NONNEGATIVE)
        work = merged if merged is not None else work
    return work


# ---- assigning --------------------------------------------------------------------------------------------------


def assign_instances(
    ws: WorkingSet, collective: Resource, instances: list[Resource], max_total: int, max_per_node: int,
) -> None:
    counts = collective.counts
    counts.clear()
    available = 0
    for index, score in collective.allowed.items():
        counts[index] = 0
        if node_available(ws.nodes[index], score):
            available += 1
    optimal = max_total // available if available else 0
    optimal = min(max(optimal, 1), max_per_node)
    assigned = 0
    for instance in instances:
        if assigned >= max_total:
            break
        if not instance.provisional:
            continue
        node = _preferred_node(collective, instance, optimal)
        if node is not None and _assign_early(ws, collective, instance, node, max_per_node, available):
            assigned += 1
    for instance in instances:
        if not instance.provisional:
            continue
        if assigned >= max_total:
            forbid_everywhere(instance)
        if _assign_instance(ws, collective, instance, None, max_per_node) is not None:
            assigned += 1


def forbid_everywhere(rsc: Resource) -> None:
    for index in rsc.allowed:
        rsc.allowed[index] = -INFINITY
    for child in rsc.children:
        forbid_everywhere(child)


def _preferred_node(collective: Resource, instance: Resource, optimal: int) -> Node | None:
    if not instance.running_on and not any(child.running_on for child in instance.children):
        return None
    if not instance.provisional or instance.failed:
        return None
    node = current_node(instance)
    if node is None or not node_available(node):
        return None
    if collective.counts.get(node.index, 0) >= optimal:
        return None
    return node


def _save_tables(rsc: Resource) -> list[tuple[Resource, dict[int, int]]]:
    saved = [(rsc, dict(rsc.allowed))]
    for child in rsc.children:
        saved += _save_tables(child)
    return saved


def _restore_tables(saved: list[tuple[Resource, dict[int, int]]]) -> None:
    for rsc, table in saved:
        rsc.allowed = dict(table)


def _assign_early(
    ws: WorkingSet, collective: Resource, instance: Resource, current: Node, max_per_node: int, available: int,
) -> bool:
    """Keep an instance where it is when its node would get an instance at all."""
    score = instance.allowed.get(current.index)
    if score is None or score < 0 or not node_available(current):
        return False
    saved = _save_tables(instance)
    counts = dict(collective.counts)
    chosen: Node | None = None
    reserved = 0
    while reserved < available:
        chosen = _assign_instance(ws, collective, instance, current, max_per_node)
        if chosen is current:
            break
        _restore_tables(saved)
        if chosen is None:
            assignment.unassign(ws, instance)
            break
        assignment.unassign(ws, instance)
        reserved += 1
    collective.counts = counts
    if chosen is not current:
        return False
    counts[current.index] = counts.get(current.index, 0) + 1
    return True


def _assign_instance(
    ws: WorkingSet, collective: Resource, instance: Resource, prefer: Node | None, max_per_node: int,
) -> Node | None:
    _ban_unavailable(ws, collective, instance, max_per_node)
    chosen = assignment.assign(ws, instance, prefer, prefer is None)
    if chosen is not None:
        collective.counts[chosen.index] = collective.counts.get(chosen.index, 0) + 1
    return chosen


def _ban_unavailable(ws: WorkingSet, collective: Resource, instance: Resource, max_per_node: int) -> None:
    for index, score in instance.allowed.items():
        if score == -INFINITY and not instance.children:
            continue
        node = ws.nodes[index]
        top = collective.allowed.get(index)
        if (
            instance.removed or not node_available(node) or top is None or top < 0
            or collective.counts.get(index, 0) >= max_per_node
        ):
            instance.allowed[index] = -INFINITY
            for child in instance.children:
                if index in child.allowed:
                    child.allowed[index] = -INFINITY


# ---- constraints and actions ------------------------------------------------------------------------------------


def internal_constraints(ws: WorkingSet, clone: Resource) -> None:
    from .variants import internal_constraints as of_instance

    order_tasks(ws, clone, "stopped", clone, "start", ORDERED)
    order_tasks(ws, clone, "start", clone, "running", UNRUNNABLE_FIRST_BLOCKS)
    order_tasks(ws, clone, "stop", clone, "stopped", UNRUNNABLE_FIRST_BLOCKS)
    if clone.promotable:
        order_tasks(ws, clone, "demoted", clone, "stop", ORDERED)
        order_tasks(ws, clone, "running", clone, "promote", UNRUNNABLE_FIRST_BLOCKS)
    assert clone.clone is not None
    instances = clone.children
    if clone.clone.ordered:
        instances = sorted(instances, key=lambda child: child.number)
        clone.children = instances
    previous: Resource | None = None
    for instance in instances:
        of_instance(ws, instance)
        order_starts(ws, clone, instance, UNRUNNABLE_FIRST_BLOCKS | THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(ws, instance, "start", clone, "running", FIRST_IMPLIES_THEN_GRAPHED)
        order_stops(ws, clone, instance, THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(ws, instance, "stop", clone, "stopped", FIRST_IMPLIES_THEN_GRAPHED)
        if clone.clone.ordered and previous is not None:
            order_starts(ws, previous, instance, ORDERED)
            order_stops(ws, instance, previous, ORDERED)
        previous = instance
    if clone.promotable:
        from .promotable import order_promotable_instances

        order_promotable_instances(ws, clone)


def create_actions(ws: WorkingSet, clone: Resource) -> None:
    create_instance_actions(ws, clone, clone.children)
    if clone.promotable:
        from .promotable import create_promotable_actions

        create_promotable_actions(ws, clone)


def create_instance_actions(
    ws: WorkingSet, collective: Resource, instances: list[Resource], created: bool = False,
) -> None:
    from .variants import create_actions as of_instance

    state = 0
    for instance in instances:
        if not created:
            of_instance(ws, instance)
        state |= _state(instance)
    start = pseudo_action(ws, collective, "start", not state & STARTING, True)
    started = pseudo_action(ws, collective, "running", not state & STARTING, False)
    if state & (ACTIVE | STARTING):
        started.flags |= RUNNABLE
    else:
        started.flags &= ~RUNNABLE
    stop = pseudo_action(ws, collective, "stop", not state & STOPPING, True)
    stopped = pseudo_action(ws, collective, "stopped", not state & STOPPING, True)
    if state & STOPPING:
        stop.flags |= MIGRATABLE
    if collective.kind is Kind.CLONE:
        from .notifications import create_pseudo_operations

        create_pseudo_operations(ws, collective, start, started, stop, stopped)


def _state(rsc: Resource) -> int:
    if rsc.children:
        state = 0
        for child in rsc.children:
            state |= _state(child)
        return state
    state = ACTIVE if rsc.running_on else 0
    for action in rsc.actions:
        if action.flags & OPTIONAL:
            continue
        if action.task == "start" and action.flags & RUNNABLE:
            state |= STARTING
        elif action.task == "stop" and action.flags & (PSEUDO | RUNNABLE):
            state |= STOPPING
    return state


# ---- colocation with a clone ------------------------------------------------------------------------------------


def is_interleaved(rsc: Resource) -> bool:
    return parse_boolean(rsc.meta.get("interleave"))


def find_compatible_instance(
    ws: WorkingSet, match: Resource, collective: Resource, role: Role, current: bool,
) -> Resource | None:
    """The instance of `collective` that shares a node with `match`."""
    from .variants import assigned_nodes

    instances = collective.children if collective.kind is Kind.CLONE else (
        [replica.container for replica in collective.bundle.replicas] if collective.bundle is not None else [])
    nodes = _nodes_of(match, current)
    if nodes:
        return _instance_on(instances, nodes[0], role, current)
    candidates = sort_by_score(ws, match)
    for index in candidates:
        found = _instance_on(instances, ws.nodes[index], role, current)
        if found is not None:
            return found
    del assigned_nodes
    return None


def sort_by_score(ws: WorkingSet, rsc: Resource) -> list[int]:
    return assignment.sort_nodes(ws, list(rsc.allowed), rsc.allowed, None)


def _nodes_of(rsc: Resource, current: bool) -> list[Node]:
    from .variants import assigned_nodes

    if not current:
        return assigned_nodes(rsc)
    if rsc.kind is Kind.PRIMITIVE:
        return rsc.running_on
    found: list[Node] = []
    for child in rsc.children:
        for node in _nodes_of(child, True):
            if node not in found:
                found.append(node)
    return found


def instance_role(rsc: Resource, current: bool) -> Role:
    if rsc.kind is Kind.PRIMITIVE:
        from .colocation import role_resource

        subject = role_resource(rsc)
        return subject.role if current else subject.next_role
    best = Role.UNKNOWN
    for child in rsc.children:
        best = max(best, instance_role(child, current))
    return best


def _instance_on(instances: list[Resource], node: Node, role: Role, current: bool) -> Resource | None:
    for instance in instances:
        if matches(instance, node, role, current):
            return instance
    return None


def matches(instance: Resource, node: Node | None, role: Role, current: bool) -> bool:
    if role is not Role.UNKNOWN and role is not instance_role(instance, current):
        return False
    nodes = _nodes_of(instance, current)
    if not nodes:
        return False
    return node is None or nodes[0] is node


def apply_clone_colocation(ws: WorkingSet, dependent: Resource, primary: Resource, constraint: Colocation) -> None:
    if primary.provisional:
        return
    if primary.promotable and constraint.primary_role is not Role.UNKNOWN:
        from .promotable import update_dependent_with_promotable, update_promotable_dependent_priority

        update_dependent_with_promotable(ws, primary, dependent, constraint)
        if constraint.dependent_role is Role.PROMOTED:
            update_promotable_dependent_priority(ws, primary, dependent, constraint)
        return
    interleaved = False
    if _can_interleave(dependent, constraint):
        interleaved = True
    if interleaved:
        instance = find_compatible_instance(ws, dependent, primary, Role.UNKNOWN, False)
        if instance is not None:
            assignment.apply_colocation(ws, dependent, instance, constraint, False)
        elif constraint.score >= INFINITY:
            assignment.place(ws, dependent, None, True, True) if dependent.kind is Kind.PRIMITIVE else (
                place_all(ws, dependent))
        return
    if constraint.score >= INFINITY:
        values: dict[str | None, int] = {}
        for instance in primary.children:
            places = _nodes_of(instance, False)
            if places:
                values.setdefault(attribute_of(places[0], constraint.node_attribute, primary), 0)
        keep_matching(ws, dependent, constraint, values)
        return
    for instance in primary.children:
        assignment.apply_colocation(ws, dependent, instance, constraint, False)


def place_all(ws: WorkingSet, rsc: Resource) -> None:
    for child in rsc.children:
        if child.children:
            place_all(ws, child)
        else:
            assignment.place(ws, child, None, True, True)


def keep_matching(
    ws: WorkingSet, dependent: Resource, constraint: Colocation, values: dict[str | None, int],
) -> None:
    """Only nodes whose attribute matches one of `values` stay; their scores grow by what the primary had there."""
    allowed = dependent.allowed
    for index in allowed:
        value = attribute_of(ws.nodes[index], constraint.node_attribute, dependent)
        if value not in values:
            allowed[index] = -INFINITY
        else:
            allowed[index] = add_scores(allowed[index], values[value])


def _can_interleave(dependent: Resource, constraint: Colocation) -> bool:
    """Interleaved: an instance goes with the other clone's instance on its own node."""
    holder = constraint.dependent
    clone = holder.enclosing_clone if holder.kind is not Kind.CLONE else holder
    if clone is None and holder.kind is not Kind.BUNDLE:
        return False
    if constraint.primary.kind not in (Kind.CLONE, Kind.BUNDLE):
        return False
    top = dependent.top
    if top.kind is not Kind.CLONE or not is_interleaved(constraint.dependent):
        return False
    mine = _instances_per_node(constraint.dependent)
    theirs = _instances_per_node(constraint.primary)
    return mine == theirs


def _instances_per_node(rsc: Resource) -> int:
    if rsc.clone is not None:
        return rsc.clone.clone_node_max
    if rsc.bundle is not None:
        return rsc.bundle.replicas_per_host
    return 1


