"""Remote and guest nodes: through whom actions go, and what their connections bring."""

from __future__ import annotations

from .actions import Action
from .working_set import Node, Resource, WorkingSet


def router_node(ws: WorkingSet, action: Action) -> Node | None:
    """The cluster node that carries an action out for a remote or guest node."""
    node = action.node
    if node is None or not node.is_remote_or_guest or node.remote_resource is None:
        return None
    rsc = node.remote_resource
    began = rsc.running_on[0] if rsc.running_on else None
    ended = rsc.assigned
    if began is None:
        return ended
    if ended is None or began is ended:
        return began
    if action.task in ("stop", "demote", "migrate_to", "notify", "cancel"):
        return began
    return ended


def downed_by(ws: WorkingSet, action: Action) -> tuple[str, ...]:
    node = action.node
    if node is None or action.meta.get("stonith_action") not in ("off", "reboot"):
        return ()
    found = [node.id]
    for other in ws.nodes:
        if other.is_guest and other.remote_resource is not None and other.remote_resource.container is not None and (
            node in other.remote_resource.container.running_on
        ):
            found.append(other.id)
    return tuple(found)


def maintenance_action(ws: WorkingSet) -> None:
    return


def substitute_address(ws: WorkingSet, rsc: Resource, action: Action, attributes: dict[str, str]) -> None:
    return


def order_connection_actions(ws: WorkingSet) -> None:
    return


def fence_guest(ws: WorkingSet, node: Node) -> None:
    return
