"""Unpacks the status section: tickets, node states, and then each node's history in the right order.

A node is online, offline or unclean here. Remote and guest nodes follow their connection, so their histories are read
after what hosts the connection is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import history
from .configuration import add_node, read_node_attributes
from .failcounts import parse_score_integer
from .options import parse_boolean
from .working_set import Kind, Node, NodeKind, Resource, Role, Ticket, WorkingSet

if TYPE_CHECKING:
    from lxml import etree


def unpack_status(ws: WorkingSet) -> None:
    status = ws.cib.find("status")
    states: list[tuple[Node, etree._Element]] = []
    if status is not None:
        for element in status:
            if element.tag == "tickets":
                _unpack_tickets(ws, element)
        for element in status:
            if element.tag == "node_state":
                node = _unpack_state(ws, element)
                if node is not None:
                    states.append((node, element))
    _unpack_histories(ws, states)
    for rsc in list(ws.extra.get("containers_to_stop", ())):
        for node in rsc.running_on:
            history.require_stop_of(ws, rsc, node)
    for node in ws.nodes:
        if node.is_remote_or_guest and not node.unpacked:
            determine_remote_online(ws, node)


# ---- tickets ----------------------------------------------------------------------------------------------------


def find_ticket(ws: WorkingSet, identifier: str) -> Ticket:
    ticket = ws.tickets.get(identifier)
    if ticket is None:
        ticket = ws.tickets[identifier] = Ticket(id=identifier)
    return ticket


def _unpack_tickets(ws: WorkingSet, element: etree._Element) -> None:
    for child in element:
        if child.tag != "ticket_state" or not child.get("id"):
            continue
        ticket = find_ticket(ws, str(child.get("id")))
        for name, value in child.attrib.items():
            if name != "id":
                ticket.state[str(name)] = str(value)
        ticket.granted = parse_boolean(child.get("granted"))
        ticket.standby = parse_boolean(child.get("standby"))
        last = child.get("last-granted")
        ticket.last_granted = parse_score_integer(last) if last is not None else None


# ---- nodes ------------------------------------------------------------------------------------------------------


def _find_node(ws: WorkingSet, node_id: str | None, name: str | None) -> Node | None:
    if node_id is not None:
        node = ws.node_by_id.get(node_id)
        if node is not None and not (node.is_remote_or_guest and node.name != name):
            return node
    return ws.node_by_name.get(name) if name is not None else None


def _unpack_state(ws: WorkingSet, element: etree._Element) -> Node | None:
    node_id, name = element.get("id"), element.get("uname")
    if node_id is None:
        ws.warn("node-state", "a <node_state> without an id is ignored")
        return None
    remote = parse_boolean(element.get("remote_node"))
    node = _find_node(ws, node_id, name)
    if node is None:
        if name is None or remote:
            ws.warn("node-state", f"the status section knows node '{name or node_id}', the configuration does not")
            return None
        node = add_node(ws, node_id, name, NodeKind.CLUSTER)
        node.configured = False
        for rsc in ws.all_resources:
            if ws.symmetric:
                rsc.allowed.setdefault(node.index, 0)
    if node.is_remote_or_guest:
        node.remote_was_fenced = parse_score_integer(element.get("node_fenced") or "0") > 0
        _read_transient(ws, node, element)
        node.remote_maintenance = parse_score_integer(element.get("node_in_maintenance") or "0") > 0
        return node
    node.unclean = False
    node.unseen = False
    node.feature_set = None
    _read_transient(ws, node, element)
    _apply_standard_attributes(node)
    _determine_online(ws, node, element)
    if not ws.has_quorum and node.online and ws.quorum_policy.value == "fence":
        fence_node(ws, node, "cluster does not have quorum")
    return node


def _read_transient(ws: WorkingSet, node: Node, element: etree._Element) -> None:
    transient = element.find("transient_attributes")
    if transient is not None:
        read_node_attributes(ws, node, transient, True)
    node.attributes["#is_dc"] = "true" if node.is_dc else "false"
    node.feature_set = node.attributes.get("#feature-set")
    for name, value in node.attributes.items():
        if name.startswith("fail-count-"):
            node.fail_counts[name] = parse_score_integer(value)


def _apply_standard_attributes(node: Node) -> None:
    attributes = node.attributes
    if parse_boolean(attributes.get("standby")):
        node.standby = True
    if parse_boolean(attributes.get("maintenance")):
        node.maintenance = True
    shutdown = attributes.get("shutdown")
    if shutdown is not None:
        node.shutdown_time = parse_score_integer(shutdown)
        if node.shutdown_time > 0 or parse_boolean(shutdown):
            node.shutdown = True
    if not parse_boolean(attributes.get("resource-discovery-enabled"), True):
        node.discovery_enabled = False


def _since(text: str | None) -> int:
    """node_state's in_ccm and crmd are a boolean or, newer, a moment: how long it has been so; 0 when it is not."""
    if text is None:
        return 0
    if text in ("online", "true", "yes", "on", "1"):
        return 1
    if text in ("offline", "false", "no", "off", "0"):
        return 0
    return max(0, parse_score_integer(text))


def _determine_online(ws: WorkingSet, node: Node, state: etree._Element) -> None:
    member_since = _since(state.get("in_ccm"))
    process_since = _since(state.get("crmd"))
    in_cluster, is_peer = member_since > 0, process_since > 0
    join = state.get("join", "down")
    expected = state.get("expected", "down")
    if node.shutdown:
        node.expected_up = False
    elif expected == "member":
        node.expected_up = True
    if ws.fencing_enabled:
        node.online = _online_with_fencing(ws, node, in_cluster, is_peer, join, expected, member_since,
                                           state.get("in_ccm") is not None)
    else:
        node.online = False
        if in_cluster and is_peer:
            node.online = join == "member"
        elif in_cluster and node.expected_up:
            fence_node(ws, node, "peer is unexpectedly down")


def _online_with_fencing(
    ws: WorkingSet, node: Node, in_cluster: bool, is_peer: bool, join: str | None, expected: str | None, member_since: int,
    seen: bool,
) -> bool:
    terminate = node.attributes.get("terminate")
    terminating = parse_boolean(terminate) or (terminate is not None and parse_score_integer(terminate) > 0)
    online = in_cluster
    if node.shutdown:
        return is_peer
    if in_cluster and not is_peer and ws.node_pending_timeout_ms and member_since > 1:
        ws.recheck(member_since + ws.node_pending_timeout_ms // 1000)
        if ws.now - member_since >= ws.node_pending_timeout_ms // 1000:
            fence_node(ws, node, "peer pending timed out on joining the process group", priority_delay=True)
            return online
    if not seen:
        fence_node(ws, node, "peer has not been seen by the cluster")
    elif join == "banned":
        fence_node(ws, node, "peer failed Pacemaker membership criteria", priority_delay=True)
    elif not terminating and expected == "down":
        if in_cluster or is_peer:
            node.standby = True
            node.pending = True
    elif terminating and join == "down" and not in_cluster and not is_peer:
        online = False
    elif not in_cluster:
        fence_node(ws, node, "peer is no longer part of the cluster", priority_delay=True)
    elif not is_peer:
        fence_node(ws, node, "peer process is no longer available")
    elif terminating:
        fence_node(ws, node, "termination was requested")
    elif join == "member":
        pass
    elif join in ("pending", "down"):
        node.standby = True
        node.pending = True
    else:
        fence_node(ws, node, "peer was in an unknown state")
    return online


def fence_node(ws: WorkingSet, node: Node, reason: str, priority_delay: bool = False) -> None:
    """Note that a node must be fenced (a guest: that its container must be recovered). The first cause stays."""
    if node.is_guest:
        assert node.remote_resource is not None
        container = node.remote_resource.container
        assert container is not None
        if not container.failed and container.managed:
            node.remote_requires_reset = True
            container.failed = True
            container.stop_on_failure = True
        return
    if _is_dangling_guest(node):
        if node.remote_resource is not None:
            node.remote_resource.failed = True
            node.remote_resource.stop_on_failure = True
        return
    if node.is_remote_or_guest:
        connection = node.remote_resource
        if connection is not None and not connection.managed:
            return
        node.remote_requires_reset = True
        node.unclean = True
        _note_fencing(ws, node, reason, priority_delay)
        return
    if node.unclean:
        return
    node.unclean = True
    _note_fencing(ws, node, reason, priority_delay)


def _is_dangling_guest(node: Node) -> bool:
    """A guest whose container is no longer configured."""
    return (
        node.is_remote_or_guest and node.remote_resource is not None and node.remote_resource.container is None
        and node.remote_resource.removed_filler
    )


def _note_fencing(ws: WorkingSet, node: Node, reason: str, priority_delay: bool) -> None:
    if node.fence_reason is None:
        node.fence_reason = reason
    if ws.acting:
        from .fencing import fence_action

        fence_action(ws, node, None, True, reason, priority_delay)
    else:
        ws.early_actions.append(("fence", None, node, reason))
    if priority_delay:
        ws.extra.setdefault("priority_delay", set()).add(node.index)


# ---- histories --------------------------------------------------------------------------------------------------


def _unpack_histories(ws: WorkingSet, states: list[tuple[Node, etree._Element]]) -> None:
    """Cluster nodes first, then guests and remotes once the resource that leads to them is known."""
    waiting = list(states)
    progress = True
    while waiting and progress:
        progress = False
        later: list[tuple[Node, etree._Element]] = []
        for node, element in waiting:
            if node.unpacked:
                continue
            if not node.is_remote_or_guest:
                if not node.online and not ws.fencing_enabled and not ws.shutdown_lock:
                    continue  # without fencing, what is on a lost node counts as gone
            elif not _connection_known(ws, node):
                later.append((node, element))
                continue
            else:
                determine_remote_online(ws, node)
                _handle_remote_attributes(ws, node)
            history.unpack_node_history(ws, node, element)
            node.unpacked = True
            progress = True
        waiting = later
    for node, element in waiting:
        if node.is_remote_or_guest:
            determine_remote_online(ws, node)
            _handle_remote_attributes(ws, node)
            if ws.fencing_enabled:  # what a lost guest may hold must be recovered
                history.unpack_node_history(ws, node, element)
                node.unpacked = True


def _connection_known(ws: WorkingSet, node: Node) -> bool:
    rsc = node.remote_resource
    if rsc is None:
        return False
    if node.is_guest:
        container = rsc.container
        assert container is not None
        return container.role is Role.STARTED and rsc.role is Role.STARTED
    return rsc.role in (Role.STARTED, Role.STOPPED)


def determine_remote_online(ws: WorkingSet, node: Node) -> None:
    rsc = node.remote_resource
    if rsc is None:
        node.online = False
        return
    container = rsc.container
    host: Node | None = None
    if container is not None and len(rsc.running_on) == 1:
        host = rsc.running_on[0]
    if rsc.role is Role.STARTED:
        node.online = True
    if rsc.role is Role.STARTED and rsc.next_role is Role.STOPPED:
        node.shutdown = True
    if container is not None and container.failed:
        node.online = False
        node.remote_requires_reset = True
    elif rsc.failed:
        node.online = False
    elif rsc.role is Role.STOPPED or (container is not None and container.role is Role.STOPPED):
        node.online = False
        node.remote_requires_reset = False
    elif host is not None and not host.online and host.unclean:
        node.online = False
        node.remote_requires_reset = True


def _handle_remote_attributes(ws: WorkingSet, node: Node) -> None:
    attributes = node.attributes
    node.unseen = False
    if parse_boolean(attributes.get("standby")):
        node.standby = True
    rsc = node.remote_resource
    if parse_boolean(attributes.get("maintenance")) or (rsc is not None and not rsc.managed and rsc.container is None):
        node.maintenance = True
    if not parse_boolean(attributes.get("resource-discovery-enabled"), True):
        node.discovery_enabled = False
    shutdown = attributes.get("shutdown")
    if shutdown is not None and parse_score_integer(shutdown) > 0:
        node.shutdown = True


def active_nodes(rsc: Resource) -> list[Node]:
    found: list[Node] = []
    if rsc.kind is Kind.PRIMITIVE:
        return rsc.running_on
    for child in rsc.children:
        for node in active_nodes(child):
            if node not in found:
                found.append(node)
    return found
