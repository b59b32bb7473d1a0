"""Forgetting: history entries of removed resources and fail counts."""

from __future__ import annotations

from .actions import FIRST_IMPLIES_THEN, ORDERED, Action, delete_action, new_action, op_key
from .ordering_constraints import order_tasks
from .working_set import Node, Resource, WorkingSet


def schedule_cleanup(ws: WorkingSet, rsc: Resource, node: Node, optional: bool) -> bool:
    """Remove the resource's history from the node."""
    if rsc.failed and not rsc.removed:
        return False
    if node is None or node.unclean or not node.online:
        return False
    delete_action(ws, rsc, node, optional)
    flags = FIRST_IMPLIES_THEN if optional else ORDERED
    order_tasks(ws, rsc, "stop", rsc, "delete", flags)
    order_tasks(ws, rsc, "delete", rsc, "start", flags)
    return True


def clear_fail_count(ws: WorkingSet, rsc: Resource, node: Node, reason: str) -> Action:
    key = op_key(rsc.id, "clear_failcount")
    action = new_action(ws, rsc, key, "clear_failcount", node, False)
    action.meta["op_no_wait"] = "true"
    if action.reason is None:
        action.reason = reason
    return action


