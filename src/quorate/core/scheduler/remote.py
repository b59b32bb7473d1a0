"""Remote and guest nodes: through whom actions go, and what waits for their connections."""

from __future__ import annotations

import enum

from . import ordering_constraints as oc
from .actions import (
    FIRST_IMPLIES_THEN,
    MIGRATABLE,
    OPTIONAL,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    find_action,
    new_action,
    op_key,
    order,
)
from .assignment import current_node
from .status import fence_node
from .working_set import Node, Resource, Role, WorkingSet

_BEFORE_MOVE = ("stop", "demote", "migrate_to", "cancel")


class Connection(enum.Enum):
    ALIVE = 0
    RESTING = 1  # its host is gone or it is moving: wait until it is up again
    UNKNOWN = 2
    FAILED = 3
    STOPPED = 4


def router_node(ws: WorkingSet, action: Action) -> Node | None:
    """The cluster node that carries an action out for a remote or guest node."""
    node = action.node
    if node is None or not node.is_remote_or_guest or node.remote_resource is None:
        return None
    rsc = node.remote_resource
    began = current_node(rsc)
    ended = rsc.assigned
    if began is None:
        return ended
    if ended is None or began is ended:
        return began
    task = action.task
    if task == "notify":
        task = action.meta.get("notify_operation", task)
    if task in _BEFORE_MOVE:
        return began
    return ended


def downed_by(ws: WorkingSet, action: Action) -> tuple[str, ...]:
    """Nodes that are down after a fencing: the target, and the guests on it."""
    node = action.node
    if node is None or action.meta.get("stonith_action") not in ("off", "reboot"):
        return ()
    found = [node.id]
    for other in ws.ordered_nodes:
        if other.is_guest and other.remote_resource is not None and other.remote_resource.container is not None and (
            node in other.remote_resource.container.running_on
        ):
            found.append(other.id)
    return tuple(found)


def maintenance_action(ws: WorkingSet) -> None:
    """Remote nodes that enter or leave maintenance are told: one cluster action for all."""
    changed = [node for node in ws.ordered_nodes
               if node.is_remote_or_guest and not node.is_bundle_node and node.maintenance != node.remote_maintenance]
    if not changed:
        return
    action = new_action(ws, None, "maintenance_nodes", "maintenance_nodes", None, False)
    action.flags |= PSEUDO | RUNNABLE
    ws.extra["maintenance_changes"] = changed


def substitute_address(ws: WorkingSet, rsc: Resource, action: Action, attributes: dict[str, str]) -> None:
    """The connection into a container without an address of its own goes to the container's host."""
    if rsc.is_remote_connection and attributes.get("addr") == "#uname" and rsc.container is not None:
        host = rsc.container.assigned or current_node(rsc.container)
        if action.task == "stop" and rsc.container.running_on:
            host = rsc.container.assigned or current_node(rsc.container)
        if host is not None:
            attributes["addr"] = host.name


def connection_state(node: Node) -> Connection:
    rsc = node.remote_resource
    assert rsc is not None
    host = current_node(rsc)
    if rsc.next_role is Role.STOPPED or rsc.assigned is None:
        if host is not None and host.unclean:
            return Connection.FAILED
        if not rsc.failed:
            return Connection.STOPPED
        if rsc.next_role is Role.STOPPED and rsc.remote_reconnect_ms and node.remote_was_fenced and (
            node.attributes.get("shutdown", "0") in ("", "0")
        ):
            return Connection.UNKNOWN
        return Connection.FAILED
    if host is None:
        return Connection.UNKNOWN
    if host.unclean or not host.online:
        return Connection.RESTING
    if len(rsc.running_on) > 1 and rsc.partial_source is not None and rsc.partial_target is not None:
        return Connection.RESTING
    return Connection.ALIVE


def _start_then(ws: WorkingSet, first: Resource, then: Action, extra: int) -> None:
    oc.add_ordering(ws, first, op_key(first.id, "start"), None, then.rsc, None, then, UNRUNNABLE_FIRST_BLOCKS | extra)


def _then_stop(ws: WorkingSet, first: Action, then: Resource, extra: int) -> None:
    oc.add_ordering(ws, first.rsc, None, first, then, op_key(then.id, "stop"), None, ORDERED | extra)


def order_connection_actions(ws: WorkingSet) -> None:
    """What happens on remote and guest nodes happens while their connection is up."""
    if not ws.have_remote_nodes:
        return
    for action in reversed(list(ws.actions)):
        rsc = action.rsc
        if rsc is None:
            continue
        if rsc.is_remote_connection and action.task == "clear_failcount":
            oc.add_ordering(ws, rsc, None, action, rsc, op_key(rsc.id, "start"), None, ORDERED)
            continue
        node = action.node
        if node is None or not node.is_remote_or_guest or action.flags & PSEUDO or node.remote_resource is None:
            continue
        remote = node.remote_resource
        if action.task == "start":
            for other in rsc.actions:
                if other.node is not node and other.task == "stop":
                    oc.add_ordering(ws, remote, op_key(remote.id, "start"), None, rsc, None, other, ORDERED)
        if remote.container is not None:
            _on_guest(ws, action, node, remote, remote.container)
        else:
            _on_remote(ws, action, node, remote)


def _recurring(action: Action) -> bool:
    return action.meta.get("interval", "0") not in ("", "0")


def _on_guest(ws: WorkingSet, action: Action, node: Node, remote: Resource, container: Resource) -> None:
    if container.failed:
        fence_node(ws, node, "container failed")
    if action.task in ("start", "promote"):
        _start_then(ws, container, action, FIRST_IMPLIES_THEN)
        _start_then(ws, remote, action, 0)
    elif action.task in ("stop", "demote"):
        if not container.failed:
            _then_stop(ws, action, remote, 0)
    elif _recurring(action):
        if action.task != "cancel":
            _start_then(ws, remote, action, FIRST_IMPLIES_THEN)
    else:
        _start_then(ws, remote, action, 0)


def _on_remote(ws: WorkingSet, action: Action, node: Node, remote: Resource) -> None:
    state = connection_state(node)
    task = action.task
    if task in ("start", "promote"):
        _start_then(ws, remote, action, FIRST_IMPLIES_THEN if state is Connection.FAILED else 0)
    elif task == "stop":
        if state is Connection.ALIVE:
            _then_stop(ws, action, remote, FIRST_IMPLIES_THEN)
        elif state is Connection.FAILED:
            fence_node(ws, node, "resources are active but connection is unrecoverable")
        elif remote.next_role is Role.STOPPED:
            _then_stop(ws, action, remote, FIRST_IMPLIES_THEN)
        else:
            _start_then(ws, remote, action, 0)
    elif task == "demote":
        if state in (Connection.RESTING, Connection.UNKNOWN):
            _start_then(ws, remote, action, 0)
    elif _recurring(action):
        start = find_action(remote, op_key(remote.id, "start"), None, None)
        migrating = start is not None and start.flags & (PSEUDO | MIGRATABLE) == PSEUDO | MIGRATABLE
        _start_then(ws, remote, action, 0 if migrating else FIRST_IMPLIES_THEN)
    else:
        if task == "monitor" and state is Connection.FAILED:
            fence_node(ws, node, "resources are in unknown state and connection is unrecoverable")
        if state is Connection.STOPPED and current_node(remote) is not None:
            _then_stop(ws, action, remote, UNRUNNABLE_FIRST_BLOCKS)
        else:
            _start_then(ws, remote, action, 0)


def fence_guest(ws: WorkingSet, node: Node) -> None:
    """A guest is fenced by stopping its container: a point in the order that stands for it."""
    from .fencing import fence_action, order_vs_fence

    assert node.remote_resource is not None
    container = node.remote_resource.container
    stop: Action | None = None
    operation = "off"
    if container is not None:
        stop = find_action(container, None, "stop", None)
        if find_action(container, None, "start", None) is not None:
            operation = "reboot"
    fencing = fence_action(ws, node, operation, False, "guest is unclean")
    fencing.flags |= PSEUDO | RUNNABLE
    fencing.flags &= ~OPTIONAL
    if stop is not None and stop.flags & PSEUDO and stop.node is not None:
        parent = fence_action(ws, stop.node, None, False, None)
        order(parent, fencing, UNRUNNABLE_FIRST_BLOCKS | FIRST_IMPLIES_THEN)
    elif stop is not None:
        order(stop, fencing, UNRUNNABLE_FIRST_BLOCKS | FIRST_IMPLIES_THEN)
    else:
        stop = find_action(node.remote_resource, None, "stop", None)
        if stop is not None:
            order(stop, fencing, ORDERED)
    order_vs_fence(ws, fencing)
