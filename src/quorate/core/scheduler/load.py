"""Utilization and order: what leaves a node makes room before what comes is started there."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import IF_ON_SAME_NODE_OR_TARGET, OPTIONAL, PSEUDO, RUNNABLE, Action, new_action, op_key
from .working_set import Node, Resource, WorkingSet


def _gate(ws: WorkingSet, node: Node) -> Action:
    """The moment at which everything that leaves the node has stopped."""
    key = f"load_stopped_{node.name}"
    action = new_action(ws, None, key, key, None, True)
    action.flags |= PSEUDO | RUNNABLE
    action.flags &= ~OPTIONAL
    action.load_node = node
    return action


def create_utilization_constraints(ws: WorkingSet, rsc: Resource) -> None:
    for node in rsc.running_on:
        oc.add_ordering(ws, rsc, op_key(rsc.id, "stop"), None, None, None, _gate(ws, node), IF_ON_SAME_NODE_OR_TARGET)
    for node in ws.ordered_nodes:
        if node.index not in rsc.allowed:
            continue
        gate = _gate(ws, node)
        for task in ("start", "migrate_to"):
            oc.add_ordering(ws, None, None, gate, rsc, op_key(rsc.id, task), None, IF_ON_SAME_NODE_OR_TARGET)
