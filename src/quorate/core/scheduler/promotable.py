"""Promotable clones: promotion scores, which instances are promoted, and the order of promotions and demotions."""

from __future__ import annotations

import functools

from . import assignment
from .actions import (
    FIRST_IMPLIES_THEN_GRAPHED,
    OPTIONAL,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    THEN_IMPLIES_FIRST_GRAPHED,
    UNRUNNABLE_FIRST_BLOCKS,
    pseudo_action,
)
from .clone import compare_instances, keep_matching
from .colocation import (
    SELECT_ACTIVE,
    SELECT_NONNEGATIVE,
    Colocation,
    add_colocated_scores,
    attribute_of,
    has_influence,
    node_available,
    this_with,
    with_this,
)
from .failcounts import strip_instance
from .history import set_next_role
from .ordering_constraints import order_tasks
from .reasons import Cause, Reason
from .scores import INFINITY, add_scores, parse_score, score_text
from .working_set import Kind, Node, Resource, Role, WorkingSet

PROMOTING, DEMOTING = 1, 2


# ---- promotion scores -------------------------------------------------------------------------------------------


def add_promotion_scores(ws: WorkingSet, clone: Resource) -> None:
    """Promotion scores count for where instances go, and lift their priority among instances."""
    assert clone.clone is not None
    if clone.clone.added_promotion_scores:
        return
    clone.clone.added_promotion_scores = True
    for instance in clone.children:
        for index, score in instance.allowed.items():
            node = ws.nodes[index]
            if not node_available(node):
                continue
            extra = promotion_score(ws, instance, node) or 0
            if extra > 0:
                instance.allowed[index] = add_scores(score, extra)
            if extra > instance.priority:
                instance.priority = extra


def _members(rsc: Resource) -> list[Resource]:
    if not rsc.children:
        return [rsc]
    found: list[Resource] = []
    for child in rsc.children:
        found += _members(child)
    return found


def promotion_score(ws: WorkingSet, rsc: Resource, node: Node) -> int | None:
    """The instance's promotion score on `node`; None when none is set."""
    if rsc.children:
        parts = [part for child in rsc.children if (part := promotion_score(ws, child, node)) is not None]
        return sum(parts) if parts else None
    if not _score_counts(ws, rsc, node):
        return None
    found = attribute_of(node, f"master-{rsc.history_id}", rsc)
    if found is None and not rsc.unique:
        plain = strip_instance(rsc.id)
        if plain != rsc.id:
            found = attribute_of(node, f"master-{plain}", rsc)
    return None if found is None else parse_score(found, 0)


def _score_counts(ws: WorkingSet, rsc: Resource, node: Node) -> bool:
    """A score is believed where the state is known; when it is known nowhere, everywhere."""
    if rsc.allowed.get(node.index, -1) < 0:
        return False
    if not rsc.unique:
        active, known = _anonymous_table(ws, rsc)
        here = active.get(node.index)
        if here is rsc or here is None and node.index in known:
            return True
    if not rsc.running_on and not rsc.known_on:
        return True
    return node.index in rsc.known_on or node in rsc.running_on


def _anonymous_table(ws: WorkingSet, rsc: Resource) -> tuple[dict[int, Resource], set[int]]:
    """Where instances of the same anonymous resource are active, and where its state is known."""
    tables = ws.extra.setdefault("anonymous", {})
    clone = rsc.top
    key = (clone.index, strip_instance(rsc.id))
    found = tables.get(key)
    if found is None:
        active: dict[int, Resource] = {}
        known: set[int] = set()
        for instance in clone.children:
            for member in _members(instance):
                if strip_instance(member.id) == key[1]:
                    for node in member.running_on:
                        active.setdefault(node.index, member)
                    known.update(member.known_on)
        found = tables[key] = (active, known)
    result: tuple[dict[int, Resource], set[int]] = found
    return result


# ---- who is promoted --------------------------------------------------------------------------------------------


def set_instance_roles(ws: WorkingSet, clone: Resource) -> None:
    """Give every instance its chance, sort by it, and promote the first so many that may be."""
    info = clone.clone
    assert info is not None
    for index in clone.allowed:
        clone.counts[index] = 0
    for instance in clone.children:
        _set_priority(ws, clone, instance)
    _sort_promotable(ws, clone)
    promoted = 0
    for instance in clone.children:
        _show(ws, instance)
        chosen: Node | None = None
        if instance.sort_index >= 0 and (promoted < info.promoted_max or not clone.managed):
            chosen = _node_to_promote(ws, clone, instance)
        if chosen is None:
            _set_unpromoted(instance)
            continue
        if instance.role < Role.PROMOTED and not ws.has_quorum and ws.quorum_policy.value == "freeze":
            _set_unpromoted(instance)
            continue
        clone.counts[chosen.index] = clone.counts.get(chosen.index, 0) + 1
        _set_promoted(instance)
        promoted += 1
        instance.reasons.append(Reason(Cause.PROMOTION, None, chosen.index, instance.sort_index))
    info.promoted_now = promoted


def _show(ws: WorkingSet, instance: Resource) -> None:
    if ws.score_lines is None:
        return
    node = _node_of(instance, False)
    where = f"on {node.name}" if node is not None else "(inactive)"
    ws.score_lines.append(f"{instance.id} promotion score {where}: {score_text(instance.sort_index)}")


def _role(rsc: Resource, current: bool) -> Role:
    if rsc.kind is Kind.PRIMITIVE:
        return rsc.role if current else rsc.next_role
    best = Role.UNKNOWN
    for child in rsc.children:
        best = max(best, _role(child, current))
    return best


def _node_of(rsc: Resource, current: bool) -> Node | None:
    for member in _members(rsc):
        if current:
            if member.running_on:
                return member.running_on[0]
        elif member.assigned is not None:
            return member.assigned
    return None


def _set_unpromoted(rsc: Resource) -> None:
    if _node_of(rsc, False) is None:
        set_next_role(rsc, Role.STOPPED, "stopped instance")
    else:
        set_next_role(rsc, Role.UNPROMOTED, "unpromoted instance")
    for child in rsc.children:
        _set_unpromoted(child)


def _set_promoted(rsc: Resource) -> None:
    if rsc.next_role is Role.UNKNOWN:
        set_next_role(rsc, Role.PROMOTED, "promoted instance")
    for child in rsc.children:
        _set_promoted(child)


def _current_unpromoted(rsc: Resource) -> None:
    if rsc.role is Role.STARTED:
        rsc.role = Role.UNPROMOTED
    for child in rsc.children:
        _current_unpromoted(child)


def _set_priority(ws: WorkingSet, clone: Resource, instance: Resource) -> None:
    """An instance's chance: promotion score, locations of the promoted role, colocations by role."""
    if _role(instance, True) is Role.STARTED:
        _current_unpromoted(instance)
    node = _node_of(instance, False)
    if node is None:
        instance.sort_index = -INFINITY
        return
    following = _role(instance, False)
    if following in (Role.STARTED, Role.UNKNOWN):
        score = promotion_score(ws, instance, node)
        instance.priority = -1 if score is None else score
    elif following in (Role.UNPROMOTED, Role.STOPPED):
        instance.priority = -INFINITY
    for holder in (instance, clone):
        for location in holder.locations:
            if location.role is Role.PROMOTED and node.index in location.scores:
                instance.priority = add_scores(instance.priority, location.scores[node.index])
    for constraint in this_with(instance):
        assignment.apply_colocation(ws, instance, constraint.primary, constraint, True)
    instance.sort_index = INFINITY if following is Role.PROMOTED else instance.priority


def _sort_promotable(ws: WorkingSet, clone: Resource) -> None:
    """Node scores of the clone take in the chances and the wishes of what is colocated by role; they decide."""
    info = clone.clone
    assert info is not None
    if info.added_promoted_constraints:
        return
    info.added_promoted_constraints = True
    clone.merging = True
    for instance in clone.children:
        node = _node_of(instance, False)
        if instance.sort_index >= 0 and node is not None:
            clone.allowed[node.index] = add_scores(instance.sort_index, clone.allowed.get(node.index, 0))
    for constraint in this_with(clone):
        if constraint.dependent_role is Role.PROMOTED:
            flags = SELECT_ACTIVE if constraint.score < INFINITY else 0
            merged = add_colocated_scores(ws, constraint.primary, clone, clone.allowed, constraint,
                                          constraint.score / INFINITY, flags)
            clone.allowed = merged if merged is not None else clone.allowed
    for constraint in with_this(clone):
        if constraint.primary_role is Role.PROMOTED and has_influence(constraint):
            merged = add_colocated_scores(ws, constraint.dependent, clone, clone.allowed, constraint,
                                          constraint.score / INFINITY, SELECT_ACTIVE | SELECT_NONNEGATIVE)
            clone.allowed = merged if merged is not None else clone.allowed
    _require_tickets(ws, clone)
    for instance in clone.children:
        node = _node_of(instance, False)
        if not instance.managed and instance.next_role is Role.PROMOTED:
            instance.sort_index = INFINITY
        elif node is not None and instance.sort_index >= 0:
            instance.sort_index = clone.allowed.get(node.index, 0)

    def compare(a: Resource, b: Resource) -> int:
        if a.sort_index != b.sort_index:
            return -1 if a.sort_index > b.sort_index else 1
        one, two = _role(a, True), _role(b, True)
        if one is not two:
            return -1 if one > two else 1
        return compare_instances(ws, a, b)

    clone.children = sorted(clone.children, key=functools.cmp_to_key(compare))
    clone.merging = False


def _require_tickets(ws: WorkingSet, clone: Resource) -> None:
    """Nothing is promoted without the ticket it needs."""
    for constraint in clone.tickets:
        if constraint.role is Role.PROMOTED and (not constraint.ticket.granted or constraint.ticket.standby):
            for index in clone.allowed:
                clone.allowed[index] = -INFINITY
            return


def _node_to_promote(ws: WorkingSet, clone: Resource, instance: Resource) -> Node | None:
    assert clone.clone is not None
    for child in instance.children:
        if _node_to_promote(ws, clone, child) is None:
            return None
    node = _node_of(instance, False)
    if node is None:
        return None
    if not instance.managed:
        if _role(instance, True) is not Role.PROMOTED:
            return None
    elif instance.priority < 0:
        return None
    elif not guest_available(node):
        return None
    if node.index not in clone.allowed:
        return None
    if clone.counts.get(node.index, 0) >= clone.clone.promoted_node_max and instance.managed:
        return None
    return node


def guest_available(node: Node) -> bool:
    """Available, a guest only while its container is not on its way down."""
    if not node_available(node):
        return False
    if node.is_guest and node.remote_resource is not None and node.remote_resource.container is not None:
        container = node.remote_resource.container
        if not container.provisional and container.assigned is None:
            return False
    return True


# ---- actions and orders -----------------------------------------------------------------------------------------


def _state(rsc: Resource) -> int:
    state = 0
    for child in rsc.children:
        state |= _state(child)
    for action in rsc.actions:
        if action.flags & OPTIONAL:
            continue
        if action.task == "promote" and action.flags & RUNNABLE:
            state |= PROMOTING
        elif action.task == "demote" and action.flags & (RUNNABLE | PSEUDO):
            state |= DEMOTING
    return state


def create_promotable_actions(ws: WorkingSet, clone: Resource) -> None:
    from .notifications import create_promotion_operations
    from .variants import create_actions as of_instance

    state = 0
    for instance in clone.children:
        of_instance(ws, instance)
        state |= _state(instance)
    promote = pseudo_action(ws, clone, "promote", not state & PROMOTING, True)
    promoted = pseudo_action(ws, clone, "promoted", not state & PROMOTING, bool(state & PROMOTING))
    if not state & PROMOTING:
        promoted.flags &= ~RUNNABLE
    promoted.synapse_priority = INFINITY
    demote = pseudo_action(ws, clone, "demote", not state & DEMOTING, True)
    demoted = pseudo_action(ws, clone, "demoted", not state & DEMOTING, True)
    demoted.synapse_priority = INFINITY
    create_promotion_operations(ws, clone, promote, promoted, demote, demoted)
    for instance in clone.children:
        instance.priority = clone.priority


def order_promotable_instances(ws: WorkingSet, clone: Resource) -> None:
    assert clone.clone is not None
    for first, then in (
        ("stopped", "start"), ("stopped", "promote"), ("demoted", "stop"), ("demoted", "start"), ("demoted", "promote"),
        ("running", "promote"), ("promote", "promoted"), ("demote", "demoted"),
    ):
        order_tasks(ws, clone, first, clone, then, UNRUNNABLE_FIRST_BLOCKS if then.endswith("moted") else ORDERED)
    previous: Resource | None = None
    for instance in clone.children:
        order_tasks(ws, instance, "demote", instance, "promote", ORDERED)
        order_tasks(ws, clone, "promote", instance, "promote", THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(ws, instance, "promote", clone, "promoted", FIRST_IMPLIES_THEN_GRAPHED)
        order_tasks(ws, clone, "demote", instance, "demote", THEN_IMPLIES_FIRST_GRAPHED)
        order_tasks(ws, instance, "demote", clone, "demoted", FIRST_IMPLIES_THEN_GRAPHED)
        if clone.clone.ordered and previous is not None:
            order_tasks(ws, previous, "promote", instance, "promote", ORDERED)
            order_tasks(ws, instance, "demote", previous, "demote", ORDERED)
        previous = instance


def update_dependent_with_promotable(
    ws: WorkingSet, primary: Resource, dependent: Resource, constraint: Colocation,
) -> None:
    """With the promoted (or an unpromoted) instance: its nodes attract, or are the only ones left."""
    name = constraint.node_attribute
    values: dict[str | None, int] = {}
    for instance in primary.children:
        node = _node_of(instance, False)
        if node is None or _role(instance, False) is not constraint.primary_role:
            continue
        value = attribute_of(node, name, primary)
        values.setdefault(value, _assigned_score(instance))
        if constraint.score < INFINITY:
            for index, score in dependent.allowed.items():
                if attribute_of(ws.nodes[index], name, dependent) == value:
                    dependent.allowed[index] = add_scores(score, constraint.score)
    if constraint.score >= INFINITY and (
        constraint.dependent_role is not Role.PROMOTED or constraint.primary_role is not Role.PROMOTED or False
    ):
        keep_matching(ws, dependent, constraint, values)


def _assigned_score(instance: Resource) -> int:
    for member in _members(instance):
        if member.assigned is not None:
            return member.assigned_score
    return 0


def update_promotable_dependent_priority(
    ws: WorkingSet, primary: Resource, dependent: Resource, constraint: Colocation,
) -> None:
    """The chance of an instance grows where the primary has the wanted role, and ends where it must and has not."""
    from .clone import find_compatible_instance

    found = find_compatible_instance(ws, dependent, primary, constraint.primary_role, False)
    if found is not None:
        dependent.priority = add_scores(dependent.priority, constraint.score)
    elif constraint.score >= INFINITY:
        dependent.priority = -INFINITY
