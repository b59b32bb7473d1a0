"""Assignment of a primitive to a node: gathering scores, choosing the best node, recording the choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .actions import OPTIONAL, RUNNABLE
from .colocation import (
    Effect,
    add_dependent_scores,
    any_available,
    apply_to_priority,
    apply_to_scores,
    effect_of,
    node_available,
    this_with,
    with_this,
)
from .history import set_next_role
from .reasons import Cause, Reason
from .scores import INFINITY, score_text
from .working_set import Kind, Node, QuorumPolicy, Resource, Role, WorkingSet

if TYPE_CHECKING:
    from .colocation import Colocation


def show_scores(ws: WorkingSet, rsc: Resource, label: str) -> None:
    """Lines for crm_simulate --show-scores, when they are asked for."""
    if ws.score_lines is None or rsc.removed:
        return
    for index in sorted(rsc.allowed, key=lambda i: ws.nodes[i].name):
        ws.score_lines.append(
            f"{label}: {rsc.id} allocation score on {ws.nodes[index].name}: {score_text(rsc.allowed[index])}")
    for child in rsc.children:
        show_scores(ws, child, label)


def assign(ws: WorkingSet, rsc: Resource, prefer: Node | None = None, stop_if_fail: bool = True) -> Node | None:
    """Choose a node for a resource of any variant. A collective's answer is its first member's node."""
    if rsc.kind is Kind.PRIMITIVE:
        return assign_primitive(ws, rsc, prefer, stop_if_fail)
    if rsc.kind is Kind.GROUP:
        from .group import assign_group

        return assign_group(ws, rsc, prefer, stop_if_fail)
    if rsc.kind is Kind.CLONE:
        from .clone import assign_clone

        assign_clone(ws, rsc, prefer, stop_if_fail)
        return None
    from .bundle import assign_bundle

    assign_bundle(ws, rsc, prefer, stop_if_fail)
    return None


def assign_primitive(ws: WorkingSet, rsc: Resource, prefer: Node | None, stop_if_fail: bool) -> Node | None:
    if rsc.parent is not None and not rsc.parent.assigning and rsc.provisional and rsc.parent.provisional:
        assign(ws, rsc.parent, prefer, stop_if_fail)
    if not rsc.provisional:
        return rsc.assigned
    if rsc.assigning:
        return None
    rsc.assigning = True
    _gather(ws, rsc)
    if rsc.next_role is Role.STOPPED:
        for index in rsc.allowed:
            rsc.allowed[index] = -INFINITY
        rsc.reasons.append(Reason(Cause.TARGET_ROLE, rsc.next_role_reason, -1, -INFINITY))
    elif (
        rsc.next_role > rsc.role and not ws.has_quorum and ws.quorum_policy is QuorumPolicy.FREEZE
    ):
        set_next_role(rsc, rsc.role, "no-quorum-policy=freeze")
    show_scores(ws, rsc, "pcmk__primitive_assign")
    if ws.fencing_enabled and not ws.have_fencing_device:
        rsc.managed = False
    if not rsc.managed:
        set_next_role(rsc, rsc.role, "unmanaged")
        rsc.reasons.append(Reason(Cause.UNMANAGED))
        place(ws, rsc, current_node(rsc), True, stop_if_fail)
    elif ws.stop_all:
        rsc.reasons.append(Reason(Cause.OPTION, "stop-all-resources"))
        place(ws, rsc, None, True, stop_if_fail)
    else:
        _choose(ws, rsc, prefer, stop_if_fail)
    rsc.assigning = False
    if rsc.is_remote_connection:
        _connection_assigned(ws, rsc)
    return rsc.assigned


def _gather(ws: WorkingSet, rsc: Resource) -> None:
    """Colocations count here: mandatory ones first, so that as many as possible are met."""
    depends, depended = this_with(rsc), with_this(rsc)
    if depends:
        for constraint in depends:
            if constraint.mandatory:
                _apply_this_with(ws, constraint, rsc)
    for constraint in depended:
        if constraint.mandatory:
            add_dependent_scores(ws, constraint, rsc)
    for constraint in depends:
        if not constraint.mandatory:
            _apply_this_with(ws, constraint, rsc)
    for constraint in depended:
        if not constraint.mandatory:
            add_dependent_scores(ws, constraint, rsc)


def _apply_this_with(ws: WorkingSet, constraint: Colocation, rsc: Resource) -> None:
    archive: dict[int, int] | None = None
    if constraint.dependent_role >= Role.PROMOTED or -INFINITY < constraint.score < 0:
        archive = dict(rsc.allowed)
    primary = constraint.primary
    if primary.provisional:
        assign(ws, primary)
    apply_colocation(ws, rsc, primary, constraint, True)
    if archive is not None and not any_available(ws, rsc.allowed):
        rsc.allowed = archive


def apply_colocation(
    ws: WorkingSet, dependent: Resource, primary: Resource, constraint: Colocation, for_dependent: bool,
) -> None:
    """Apply a colocation to the dependent's scores, as both variants want it."""
    if for_dependent:
        if dependent.kind is Kind.PRIMITIVE:
            _apply_for_primary(ws, dependent, primary, constraint)
        elif dependent.kind is Kind.GROUP:
            from .group import apply_group_colocation_dependent

            apply_group_colocation_dependent(ws, dependent, primary, constraint)
        return
    _apply_for_primary(ws, dependent, primary, constraint)


def _apply_for_primary(ws: WorkingSet, dependent: Resource, primary: Resource, constraint: Colocation) -> None:
    if primary.kind is Kind.PRIMITIVE:
        effect = effect_of(dependent, primary, constraint)
        if effect == Effect.LOCATION:
            apply_to_scores(ws, dependent, primary, constraint)
        elif effect == Effect.ROLE:
            apply_to_priority(dependent, primary, constraint)
    elif primary.kind is Kind.GROUP:
        from .group import apply_group_colocation_primary

        apply_group_colocation_primary(ws, dependent, primary, constraint)
    elif primary.kind is Kind.CLONE:
        from .clone import apply_clone_colocation

        apply_clone_colocation(ws, dependent, primary, constraint)
    else:
        from .bundle import apply_bundle_colocation

        apply_bundle_colocation(ws, dependent, primary, constraint)


def current_node(rsc: Resource) -> Node | None:
    """The node that counts as the current one."""
    return active_node(rsc)[0]


def active_node(rsc: Resource) -> tuple[Node | None, int, int]:
    """(current node, number of nodes where active, number of those that are clean)"""
    from .working_set import Requires

    found: Node | None = None
    clean = 0
    running = rsc.running_on
    if rsc.kind is not Kind.PRIMITIVE:
        running = []
        for child in rsc.children:
            for node in child.running_on:
                if node not in running:
                    running.append(node)
    for node in running:
        happy = node.online and not node.unclean
        if happy:
            clean += 1
        if rsc.partial_source is not None:
            if node is rsc.partial_source:
                found = node
        elif rsc.requires < Requires.FENCING:
            if happy and (found is None or not (found.online and not found.unclean)):
                found = node
            elif found is None:
                found = node
        elif found is None:
            found = node
    if found is None and running:
        found = running[0]
    return found, len(running), clean


def sort_nodes(ws: WorkingSet, indexes: list[int], scores: dict[int, int] | None, active: Node | None) -> list[int]:
    """Best first: score, then load, then where it is active, then by name."""
    nodes = ws.nodes
    strategy = ws.placement_strategy

    def basic(index: int) -> tuple[int, int, int, str]:
        node = nodes[index]
        score = scores[index] if scores is not None else node.base_score
        if not node_available(node):
            score = -INFINITY
        load = 0 if strategy == "minimal" else node.num_resources
        return (-score, load, 0 if node is active and strategy != "minimal" else 1, node.name)

    if strategy != "balanced":
        return sorted(indexes, key=basic)
    import functools

    from .utilization import compare_capacity

    def compare(a: int, b: int) -> int:
        one, two = basic(a), basic(b)
        if one[0] != two[0]:
            return -1 if one[0] < two[0] else 1
        order = compare_capacity(nodes[a], nodes[b])
        if order:
            return order
        return (one > two) - (one < two)

    return sorted(indexes, key=functools.cmp_to_key(compare))


def _choose(ws: WorkingSet, rsc: Resource, prefer: Node | None, stop_if_fail: bool) -> None:
    from .utilization import ban_insufficient_capacity

    limited = ban_insufficient_capacity(ws, rsc)
    if prefer is None and limited is not None:
        prefer = limited
    allowed = rsc.allowed
    nodes = ws.nodes
    ordered = sort_nodes(ws, list(allowed), allowed, current_node(rsc)) if allowed else []
    chosen: Node | None = None
    score = 0
    if prefer is not None:
        wanted = allowed.get(prefer.index)
        if wanted is not None and ordered and wanted >= 0:
            best = allowed[ordered[0]]
            if wanted >= best and node_available(prefer):
                chosen, score = prefer, wanted
    if chosen is None and ordered:
        index = ordered[0]
        chosen, score = nodes[index], allowed[index]
        clone = rsc.parent
        unique_instance = clone is not None and clone.kind is Kind.CLONE and clone.unique
        if not unique_instance and score > 0 and node_available(chosen):
            running = current_node(rsc)
            if running is not None and not node_available(running):
                running = None
            if running is not None:
                for other in ordered[1:]:
                    if allowed[other] != score:
                        break
                    if nodes[other] is running:
                        chosen = running
    place(ws, rsc, chosen, False, stop_if_fail, score)
    rsc.reasons.append(Reason(Cause.BEST if rsc.assigned is not None else Cause.NO_NODE, None,
                              rsc.assigned.index if rsc.assigned is not None else -1, score))


def unassign(ws: WorkingSet, rsc: Resource) -> None:
    if rsc.children:
        for child in rsc.children:
            unassign(ws, child)
    old = rsc.assigned
    rsc.provisional = True
    rsc.assigned = None
    if old is None:
        return
    if rsc in old.assigned:
        old.assigned.remove(rsc)
    old.num_resources -= 1
    from .utilization import release_capacity

    release_capacity(ws, old, rsc)


def place(
    ws: WorkingSet, rsc: Resource, node: Node | None, force: bool, stop_if_fail: bool, score: int = 0,
) -> None:
    """Record the choice for a primitive; `force` takes it even when the node could not take it."""
    if not force and node is not None and (score < 0 or not node_available(node)) and not (
        node.is_guest and score >= 0 and node_may_come_up(node)
    ):
        node = None
        if stop_if_fail:
            set_next_role(rsc, Role.STOPPED, "node availability")
    unassign(ws, rsc)
    rsc.provisional = False
    if node is None:
        if stop_if_fail:
            set_next_role(rsc, Role.STOPPED, "unable to assign")
        for action in rsc.actions:
            if action.task == "stop":
                action.flags &= ~OPTIONAL
            elif action.task == "start":
                action.flags &= ~RUNNABLE
            elif action.meta.get("interval", "0") != "0" and action.meta.get("op_target_rc") != "7":
                action.flags &= ~RUNNABLE
        return
    rsc.assigned = node
    rsc.assigned_score = score
    node.assigned.append(rsc)
    node.num_resources += 1
    from .utilization import consume_capacity

    consume_capacity(ws, node, rsc)


def node_may_come_up(node: Node) -> bool:
    """A guest that is not up yet comes with its container."""
    return not node.standby and not node.maintenance


def _connection_assigned(ws: WorkingSet, rsc: Resource) -> None:
    remote = ws.node_by_name.get(rsc.id)
    if remote is None:
        return
    if rsc.assigned is not None and rsc.next_role is not Role.STOPPED:
        remote.online = True
        if remote.unseen:
            remote.unclean = False
    else:
        remote.shutdown = True


