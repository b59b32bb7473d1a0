"""Fencing and shutdown of nodes, and what waits for them."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import (
    GUEST_ALLOWED,
    OPTIONAL,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    find_action,
    find_actions,
    new_action,
    op_key,
    order,
    required_rights,
)
from .failcounts import parse_score_integer
from .history import can_fence
from .working_set import Kind, Node, Requires, Resource, WorkingSet


def fence_action(
    ws: WorkingSet, node: Node, operation: str | None, optional: bool, reason: str | None, priority_delay: bool = False,
) -> Action:
    """The fencing of a node (or its unfencing, "on"); made once."""
    operation = operation or ws.fencing_action
    key = f"stonith-{node.name}-{operation}"
    action = ws.fence_actions.get(key)
    if action is None:
        action = new_action(ws, None, key, "stonith", node, True)
        ws.fence_actions[key] = action
        action.meta["on_node"] = node.name
        action.meta["on_node_uuid"] = node.id
        action.meta["stonith_action"] = operation
        if ws.enable_unfencing and not node.is_remote_or_guest:
            from .digests import add_fencing_digests

            add_fencing_digests(ws, action, node)
    if ws.priority_fencing_delay_ms and (
        priority_delay or node.index in ws.extra.get("priority_delay", ()) and operation != "on"
    ):
        delay = _priority_delay(ws, node)
        if "priority-fencing-delay" not in action.meta:
            action.meta["priority-fencing-delay"] = str(delay)
    if not optional and can_fence(ws, node):
        action.flags &= ~OPTIONAL
        if reason is not None and action.reason is None:
            action.reason = reason
    elif reason is not None and action.reason is None:
        action.reason = reason
    return action


def _priority_delay(ws: WorkingSet, node: Node) -> int:
    """Seconds of head start for the node that runs what matters more."""
    if node.is_remote_or_guest:
        return 0
    members = [other for other in ws.nodes if not other.is_remote_or_guest]
    online = [other for other in members if other.online and not other.unclean]
    if len(online) > len(members) / 2:
        return 0
    top = max(other.priority for other in members)
    low = min(other.priority for other in members)
    if top == low or node.priority < top:
        return 0
    return ws.priority_fencing_delay_ms // 1000


def schedule_fencing_and_shutdowns(ws: WorkingSet) -> None:
    managed = any(_any_managed(rsc) for rsc in ws.resources)
    dc_down: Action | None = None
    fencings: list[Action] = []
    shutdowns: list[Action] = []
    integrity_lost = False
    for node in ws.ordered_nodes:
        if node.is_guest:
            if node.remote_requires_reset and managed and can_fence(ws, node):
                from .remote import fence_guest

                fence_guest(ws, node)
            continue
        fencing: Action | None = None
        if managed and node.unclean and can_fence(ws, node):
            fencing = fence_action(ws, node, None, False, "node is unclean")
            order_vs_fence(ws, fencing)
            if node.is_dc:
                dc_down = fencing
            else:
                if not ws.concurrent_fencing and fencings:
                    order(fencings[-1], fencing, ORDERED)
                fencings.append(fencing)
        elif node.shutdown and not node.is_remote_or_guest and node.online:
            down = shutdown_action(ws, node)
            if node.is_dc:
                dc_down = down
            else:
                shutdowns.append(down)
        if fencing is None and node.unclean:
            integrity_lost = True
            ws.warn("cannot-fence", f"Node {node.name} is unclean but cannot be fenced", node.name)
    if integrity_lost:
        if not ws.fencing_enabled:
            ws.warn("no-integrity", "Resource functionality and data integrity cannot be guaranteed (configure, enable, "
                    "and test fencing to correct this)")
        elif not ws.has_quorum:
            ws.warn("no-quorum-fencing", "Cannot fence unclean nodes until quorum is attained (or no-quorum-policy is "
                    "set to ignore)")
    if dc_down is None:
        return
    if dc_down.task == "do_shutdown":
        for action in shutdowns:
            order(action, dc_down, ORDERED)
    if ws.concurrent_fencing:
        for action in fencings:
            order(action, dc_down, ORDERED)
    elif fencings:
        order(fencings[-1], dc_down, ORDERED)


def _any_managed(rsc: Resource) -> bool:
    return rsc.managed or any(_any_managed(child) for child in rsc.children)


def shutdown_action(ws: WorkingSet, node: Node) -> Action:
    key = f"do_shutdown-{node.name}"
    action = new_action(ws, None, key, "do_shutdown", node, False)
    action.meta["op_no_wait"] = "true"
    order_stops_before_shutdown(ws, node, action)
    return action


def order_stops_before_shutdown(ws: WorkingSet, node: Node, shutdown: Action) -> None:
    for action in ws.actions:
        rsc = action.rsc
        if rsc is None or action.node is not node or action.task != "stop":
            continue
        if rsc.maintenance or node.maintenance or rsc.blocked or not rsc.managed:
            continue
        oc.add_ordering(ws, rsc, None, action, None, None, shutdown, ORDERED | UNRUNNABLE_FIRST_BLOCKS)


# ---- resources and fencing --------------------------------------------------------------------------------------


def order_vs_fence(ws: WorkingSet, fencing: Action) -> None:
    for rsc in ws.resources:
        _order_resource(ws, rsc, fencing)


def _order_resource(ws: WorkingSet, rsc: Resource, fencing: Action) -> None:
    if rsc.children:
        for child in rsc.children:
            _order_resource(ws, child, fencing)
        return
    if rsc.kind is not Kind.PRIMITIVE or not rsc.managed:
        return
    target = fencing.node
    assert target is not None
    for action in rsc.actions:
        needs = required_rights(ws, rsc, action.task, action.settings)
        if needs >= Requires.FENCING:
            order(fencing, action, ORDERED)
        elif needs is Requires.QUORUM and action.task == "start":
            if target.index in rsc.allowed and target.index not in rsc.known_on:
                order(fencing, action, ORDERED)
    _stops(ws, rsc, fencing, target)


def _stops(ws: WorkingSet, rsc: Resource, fencing: Action, target: Node) -> None:
    top = rsc.top
    implicit = rsc.requires >= Requires.FENCING or target.is_guest
    stops = [action for action in find_actions(rsc, op_key(rsc.id, "stop"), target)]
    parent_stop = find_action(top, None, "stop", None) if stops and implicit and top is not rsc else None
    for action in stops:
        action.flags |= PSEUDO | RUNNABLE
        if implicit:
            order(fencing, action, GUEST_ALLOWED | ORDERED)
            if parent_stop is not None:
                order(fencing, parent_stop, GUEST_ALLOWED | ORDERED)
        if rsc.notify:
            from .notifications import order_after_fencing

            order_after_fencing(ws, action, rsc, fencing)
    for action in find_actions(rsc, op_key(rsc.id, "demote"), target):
        node = action.node
        assert node is not None
        if not node.online or node.unclean or rsc.failed:
            action.flags |= PSEUDO | RUNNABLE
            if rsc.is_bundled:
                continue
            if implicit:
                order(fencing, action, GUEST_ALLOWED | ORDERED)


# ---- unfencing --------------------------------------------------------------------------------------------------


def is_unfenced(node: Node) -> bool:
    text = node.attributes.get("#node-unfenced")
    return text is not None and parse_score_integer(text) != 0


def trigger_unfencing(ws: WorkingSet, rsc: Resource | None, node: Node | None, reason: str, dependency: Action | None) -> None:
    if not ws.enable_unfencing:
        return
    if rsc is not None and not rsc.is_unfencing_device and not rsc.is_fencing_device:
        return
    if node is not None:
        if node.online and not node.unclean and not node.shutdown:
            unfence = fence_action(ws, node, "on", False, reason)
            if dependency is not None:
                order(unfence, dependency, ORDERED)
        return
    if rsc is not None:
        for index in sorted(rsc.allowed):
            candidate = ws.nodes[index]
            if candidate.online and not candidate.unclean and not candidate.shutdown:
                trigger_unfencing(ws, rsc, candidate, reason, dependency)


def order_vs_unfence(ws: WorkingSet, rsc: Resource, node: Node, action: Action, flags: int) -> None:
    """A node must have its access back before anything that needs it is probed or started there."""
    if not ws.enable_unfencing:
        return
    if not (rsc.is_fencing_device or rsc.requires is Requires.UNFENCING):
        return
    unfence = fence_action(ws, node, "on", True, None)
    order(unfence, action, flags)
    if not is_unfenced(node):
        trigger_unfencing(ws, None, node, f"required by {rsc.id} {action.task}", None)


def order_restart_vs_unfence(ws: WorkingSet, rsc: Resource, node: Node) -> None:
    """Stop before unfencing, start after it."""
    from .actions import FIRST_IMPLIES_SAME_NODE_THEN

    unfence = fence_action(ws, node, "on", True, None)
    oc.add_ordering(ws, rsc, op_key(rsc.id, "stop"), None, None, None, unfence, ORDERED | 0x400)
    oc.add_ordering(ws, None, None, unfence, rsc, op_key(rsc.id, "start"), None,
                    FIRST_IMPLIES_SAME_NODE_THEN | 0x400)


