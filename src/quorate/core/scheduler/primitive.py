"""Primitives: from the present role and node to the wanted ones, step by step."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import (
    ALWAYS_IN_GRAPH,
    FIRST_IMPLIES_THEN,
    IF_ON_SAME_NODE,
    INTERMEDIATE_STOP,
    OPTIONAL,
    ORDERED,
    PROMOTED_THEN_IMPLIES_FIRST,
    PSEUDO,
    RUNNABLE,
    THEN_CANCELS_FIRST,
    THEN_IMPLIES_FIRST,
    UNRUNNABLE_FIRST_BLOCKS,
    demote_action,
    find_actions,
    op_key,
    order,
    promote_action,
    start_action,
    stop_action,
)
from .assignment import active_node
from .colocation import add_colocation
from .history import set_next_role
from .scores import INFINITY
from .working_set import MultipleActive, Node, Requires, Resource, Role, WorkingSet

U, S, A, N, P = Role.UNKNOWN, Role.STOPPED, Role.STARTED, Role.UNPROMOTED, Role.PROMOTED
# the next role on the way: NEXT[current][target]
NEXT = (
    (U, S, S, S, S),
    (S, S, A, N, N),
    (S, S, A, N, P),
    (S, S, S, N, P),
    (S, N, N, N, P),
)


def _step(ws: WorkingSet, rsc: Resource, role: Role, following: Role, node: Node | None, optional: bool) -> None:
    """Schedule what leads from one role to the neighbouring one."""
    if role is following:
        return
    if following is Role.STOPPED:
        if role is not Role.PROMOTED:
            _stop(ws, rsc, node, optional)
    elif role is Role.STOPPED:
        _start(ws, rsc, node, optional)
    elif following is Role.PROMOTED:
        _promote(ws, rsc, node, optional)
    elif role is Role.PROMOTED:
        _demote(ws, rsc, node, optional)
    elif role is Role.UNPROMOTED and following is Role.STARTED:
        _stop(ws, rsc, node, optional)


def create_actions(ws: WorkingSet, rsc: Resource) -> None:
    from . import migration, recurring

    if rsc.next_role is Role.UNKNOWN:
        set_next_role(rsc, Role.STOPPED if rsc.assigned is None else Role.STARTED, "default")
    current, active, clean = active_node(rsc)
    for node in rsc.dangling:
        migration.abort_dangling(ws, rsc, node)
    moving = migrates = need_stop = need_promote = False
    if current is not None and rsc.assigned is not None and current is not rsc.assigned and (
        rsc.next_role >= Role.STARTED
    ):
        moving = True
        migrates = migration.can_migrate(ws, rsc, current)
        need_stop = True
    multiply = False
    if (
        rsc.partial_source is not None and rsc.partial_target is not None and active == 2
        and current is rsc.partial_source and rsc.assigned is rsc.partial_target
    ):
        pass
    elif rsc.partial_source is not None or rsc.partial_target is not None:
        rsc.partial_source = rsc.partial_target = None
        need_stop = True
        migrates = False
    elif rsc.requires >= Requires.FENCING:
        multiply = active > 1
    else:
        multiply = clean > 1
    if multiply:
        need_stop = True
        if rsc.multiple_active is MultipleActive.STOP_UNEXPECTED:
            rsc.stop_unexpected = True
    else:
        rsc.stop_unexpected = False
    if rsc.start_pending:
        start_action(ws, rsc, current, True).flags |= ALWAYS_IN_GRAPH
    if moving:
        pass
    elif rsc.failed:
        if rsc.stop_on_failure:
            need_stop = True
        elif rsc.next_role is Role.PROMOTED:
            need_promote = True
    elif rsc.blocked:
        need_stop = True
    elif rsc.role > Role.STARTED and current is not None and rsc.assigned is not None:
        if not start_action(ws, rsc, rsc.assigned, True).optional:
            need_stop = True
    _restart(ws, rsc, current, need_stop, need_promote)
    role = rsc.role
    while role is not rsc.next_role:
        following = NEXT[role][rsc.next_role]
        _step(ws, rsc, role, following, rsc.assigned, False)
        role = following
    recurring.create_recurring(ws, rsc)
    if migrates:
        assert current is not None
        migration.create_migration(ws, rsc, current)


def _restart(ws: WorkingSet, rsc: Resource, current: Node | None, need_stop: bool, need_promote: bool) -> None:
    """Down to a stop and back to the present role: optional unless needed."""
    role = rsc.role
    rsc.restarting = True
    while role is not Role.STOPPED:
        following = NEXT[role][Role.STOPPED]
        _step(ws, rsc, role, following, current, not need_stop)
        role = following
    while rsc.role <= rsc.next_role and role is not rsc.role and not rsc.blocked:
        following = NEXT[role][rsc.role]
        required = need_stop or following is Role.PROMOTED and need_promote
        _step(ws, rsc, role, following, rsc.assigned, not required)
        role = following
    rsc.restarting = False


def _expected_here(rsc: Resource, node: Node | None) -> bool:
    """multiple-active=stop_unexpected leaves the instance on the right node alone."""
    return rsc.stop_unexpected and rsc.next_role > Role.STOPPED and rsc.assigned is not None and rsc.assigned is node and (
        rsc.restarting
    )


def _stop(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool) -> None:
    for current in list(rsc.running_on):
        if _expected_here(rsc, current):
            continue
        if rsc.partial_target is not None:
            if current is rsc.partial_target and current is rsc.assigned:
                continue
            optional = False
        stop = stop_action(ws, rsc, current, optional)
        if rsc.assigned is None:
            stop.reason = "node availability"
        elif rsc.restarting and rsc.stop_unexpected:
            stop.reason = "being multiply active"
        if not rsc.managed:
            stop.flags &= ~RUNNABLE
        if ws.remove_after_stop:
            from .cleanup import schedule_cleanup

            schedule_cleanup(ws, rsc, current, optional)
        if rsc.requires is Requires.UNFENCING:
            from .fencing import fence_action

            unfence = fence_action(ws, current, "on", True, None)
            order(stop, unfence, THEN_IMPLIES_FIRST)


def _start(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool) -> None:
    from .fencing import order_vs_unfence

    start = start_action(ws, rsc, node, True)
    if node is not None:
        order_vs_unfence(ws, rsc, node, start, FIRST_IMPLIES_THEN)
    if start.runnable and not optional:
        start.flags &= ~OPTIONAL
    if _expected_here(rsc, node):
        start.flags |= PSEUDO


def _promote(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool) -> None:
    runnable = all(start.runnable for start in find_actions(rsc, op_key(rsc.id, "start"), node)) if node else all(
        start.runnable for start in find_actions(rsc, op_key(rsc.id, "start")))
    if runnable:
        promote = promote_action(ws, rsc, node, optional)
        if _expected_here(rsc, node):
            promote.flags |= PSEUDO
        return
    for promote in find_actions(rsc, op_key(rsc.id, "promote"), node):
        promote.flags &= ~RUNNABLE


def _demote(ws: WorkingSet, rsc: Resource, node: Node | None, optional: bool) -> None:
    for current in list(rsc.running_on):
        if not _expected_here(rsc, current):
            demote_action(ws, rsc, current, optional)


def internal_constraints(ws: WorkingSet, rsc: Resource) -> None:
    if not rsc.managed:
        return
    oc.order_tasks(ws, rsc, "stop", rsc, "start", ORDERED | FIRST_IMPLIES_THEN | INTERMEDIATE_STOP)
    if rsc.top.promotable or rsc.role > Role.UNPROMOTED:
        oc.order_tasks(ws, rsc, "demote", rsc, "stop", PROMOTED_THEN_IMPLIES_FIRST)
        oc.order_tasks(ws, rsc, "start", rsc, "promote", UNRUNNABLE_FIRST_BLOCKS)
    oc.order_tasks(ws, rsc, "delete", rsc, "monitor", IF_ON_SAME_NODE | THEN_CANCELS_FIRST)
    needs_unfencing = not rsc.is_fencing_device and ws.enable_unfencing and rsc.requires is Requires.UNFENCING
    if needs_unfencing:
        from .fencing import order_restart_vs_unfence

        for index in sorted(rsc.allowed):
            order_restart_vs_unfence(ws, rsc, ws.nodes[index])
    if rsc.utilization and ws.placement_strategy != "default":
        from .load import create_utilization_constraints

        create_utilization_constraints(ws, rsc)
    if rsc.container is not None:
        _container_constraints(ws, rsc, rsc.container)
    if rsc.is_remote_connection or rsc.is_fencing_device:
        avoid_remote_nodes(ws, rsc)


def remote_nesting_allowed(container: Resource) -> bool:
    """A bundle's container may run on a remote node, a guest may not."""
    return container.use_container_ip or container.is_bundled


def avoid_remote_nodes(ws: WorkingSet, rsc: Resource) -> None:
    for index in rsc.allowed:
        if ws.nodes[index].remote_resource is not None:
            rsc.allowed[index] = -INFINITY


def guest_connection_in(ws: WorkingSet, rsc: Resource) -> Resource | None:
    """The connection to a guest node that the resource hosts."""
    for filler in rsc.fillers:
        if filler.is_remote_connection:
            return filler
    return None


def _container_constraints(ws: WorkingSet, rsc: Resource, container: Resource) -> None:
    remote: Resource | None = None
    if rsc.is_remote_connection:
        if not remote_nesting_allowed(container):
            avoid_remote_nodes(ws, container)
        oc.order_tasks(ws, container, "monitor", rsc, "stop", ORDERED)
    elif container.is_remote_connection:
        remote = container
    else:
        remote = guest_connection_in(ws, container)
    if remote is not None:
        for index in rsc.allowed:
            if ws.nodes[index].remote_resource is not remote:
                rsc.allowed[index] = -INFINITY
        return
    oc.order_tasks(ws, container, "start", rsc, "start", FIRST_IMPLIES_THEN | UNRUNNABLE_FIRST_BLOCKS)
    oc.order_tasks(ws, rsc, "stop", container, "stop", THEN_IMPLIES_FIRST)
    score = 10_000 if remote_nesting_allowed(container) else INFINITY
    add_colocation(ws, "#resource-with-container", rsc, container, score, influence=True)
