"""Shutdown locks: what ran on a node that was shut down cleanly waits for that node."""

from __future__ import annotations

from .actions import ON_DC, RUNNABLE, new_action, op_key
from .reasons import Cause, Reason
from .scores import INFINITY
from .working_set import Kind, Node, Resource, WorkingSet


def apply_shutdown_locks(ws: WorkingSet) -> None:
    for rsc, node in ws.extra.get("expired_locks", ()):
        clear_history(ws, rsc, node)
    if not ws.shutdown_lock:
        return
    for rsc in ws.resources:
        _apply(ws, rsc)


def clear_history(ws: WorkingSet, rsc: Resource, node: Node) -> None:
    """The lock stands in the resource's history on the node."""
    action = new_action(ws, rsc, op_key(rsc.id, "lrm_delete"), "lrm_delete", node, False)
    action.flags |= ON_DC | RUNNABLE


def _apply(ws: WorkingSet, rsc: Resource) -> None:
    if rsc.kind is Kind.GROUP:
        for member in rsc.children:
            _apply(ws, member)
        return
    if rsc.kind is not Kind.PRIMITIVE or rsc.is_fencing_device or rsc.is_remote_connection:
        return
    if rsc.lock_node is not None:
        if rsc.running_on:
            clear_history(ws, rsc, rsc.lock_node)
            rsc.lock_node = None
            rsc.lock_time = 0
    elif len(rsc.running_on) == 1 and rsc.running_on[0].shutdown:
        node = rsc.running_on[0]
        if not node.unclean:
            rsc.lock_node = node
            rsc.lock_time = node.shutdown_time
    if rsc.lock_node is None:
        return
    if ws.shutdown_lock_ms > 0:
        ws.recheck(rsc.lock_time + ws.shutdown_lock_ms // 1000)
    for index in rsc.allowed:
        if index != rsc.lock_node.index:
            rsc.allowed[index] = -INFINITY
    rsc.reasons.append(Reason(Cause.SHUTDOWN_LOCK, None, rsc.lock_node.index, -INFINITY))
