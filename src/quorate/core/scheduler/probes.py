"""Probes: finding out where resources are active before anything is started, and ordering the rest after that."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import (
    FIRST_IMPLIES_THEN,
    IF_ON_SAME_NODE_OR_TARGET,
    IF_REQUIRED_ON_SAME_NODE,
    OPTIONAL,
    ORDERED,
    PSEUDO,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    find_actions,
    new_action,
    op_key,
    order,
)
from .options import parse_boolean
from .remote import Connection, connection_state
from .status import fence_node
from .working_set import Discovery, Kind, Node, Resource, Role, WorkingSet


def schedule_probes(ws: WorkingSet) -> None:
    for node in ws.ordered_nodes:
        if not node.online:
            if node.is_remote and node.remote_resource is not None and connection_state(node) is Connection.FAILED:
                fence_node(ws, node, "the connection is unrecoverable")
            continue
        if node.unclean or not node.discovery_enabled:
            continue
        complete = node.attributes.get("probe_complete")
        if complete is not None and not parse_boolean(complete):
            action = new_action(ws, None, f"probe_complete-{node.id}", "probe_complete", node, False)
            action.meta["op_no_wait"] = "true"
            continue
        for rsc in ws.resources:
            probe(ws, rsc, node)


def known_on(rsc: Resource, node: Node) -> bool:
    if rsc.children:
        return any(known_on(child, node) for child in rsc.children)
    return node.index in rsc.known_on


def probe(ws: WorkingSet, rsc: Resource, node: Node) -> bool:
    """Schedule what is needed to know the resource's state on the node. Returns whether anything was."""
    if rsc.kind is Kind.PRIMITIVE:
        return _probe_primitive(ws, rsc, node)
    if rsc.kind is Kind.GROUP:
        return any([probe(ws, member, node) for member in rsc.children])
    if rsc.kind is Kind.CLONE:
        return _probe_clone(ws, rsc, node)
    from .bundle import probe_bundle

    return probe_bundle(ws, rsc, node)


def _probe_clone(ws: WorkingSet, clone: Resource, node: Node) -> bool:
    if clone.exclusive_discovery:
        if node.index not in clone.allowed or clone.discovery.get(node.index) is not Discovery.EXCLUSIVE:
            clone.allowed.pop(node.index, None)
            return False
    clone.children.sort(key=lambda child: child.number)
    if clone.unique:
        return any([probe(ws, child, node) for child in clone.children])
    from .variants import assigned_nodes

    chosen: Resource | None = None
    for child in clone.children:
        if known_on(child, node):
            chosen = child
            break
    if chosen is None:
        by_node = ws.extra.setdefault("assigned_by_clone", {}).get(clone.index)
        if by_node is None:
            by_node = {}
            for child in clone.children:
                places = assigned_nodes(child)
                if places:
                    by_node.setdefault(places[0].index, child)
            ws.extra["assigned_by_clone"][clone.index] = by_node
        chosen = by_node.get(node.index)
    if chosen is None:
        chosen = clone.children[0]
    return probe(ws, chosen, node)


def _wanted(ws: WorkingSet, rsc: Resource, node: Node) -> bool:
    from .primitive import guest_connection_in

    if not ws.enable_startup_probes:
        return False
    if node.is_remote_or_guest:
        if rsc.is_fencing_device or rsc.is_remote_connection:
            return False
        if node.is_guest and guest_connection_in(ws, rsc) is not None:
            return False
    if rsc.container is not None and not rsc.is_remote_connection:
        if not rsc.is_bundled:
            return False
    if rsc.removed or node.index in rsc.known_on:
        return False
    discovery = rsc.discovery.get(node.index, Discovery.ALWAYS)
    if rsc.exclusive_discovery or rsc.top.exclusive_discovery:
        if node.index not in rsc.allowed or discovery is not Discovery.EXCLUSIVE:
            return False
    if discovery is Discovery.NEVER or node.exclusive and node.index not in rsc.allowed:
        return False
    if node.is_guest:
        return _guest_allows(ws, rsc, node)
    return True


def _guest_allows(ws: WorkingSet, rsc: Resource, node: Node) -> bool:
    """A guest that is down holds nothing; one that will stop is not probed before."""
    assert node.remote_resource is not None
    guest = node.remote_resource.container
    assert guest is not None
    if guest.role is Role.STOPPED:
        return False
    moving = guest.role > Role.STOPPED and guest.assigned is not None and guest.assigned not in guest.running_on
    if node.remote_requires_reset or node.unclean or guest.failed or guest.next_role is Role.STOPPED or moving:
        top = rsc.top if rsc.top.kind is Kind.CLONE else rsc
        oc.order_tasks(ws, guest, "stop", top, "start", ORDERED)
        return False
    return True


def _probe_primitive(ws: WorkingSet, rsc: Resource, node: Node) -> bool:
    from .fencing import order_vs_unfence

    if not _wanted(ws, rsc, node):
        return False
    key = op_key(rsc.id, "monitor")
    action = new_action(ws, rsc, key, "monitor", node, False)
    action.flags &= ~OPTIONAL
    order_vs_unfence(ws, rsc, node, action, ORDERED)
    active = node in rsc.running_on
    if active:
        action.meta["op_target_rc"] = "8" if rsc.role is Role.PROMOTED else "0"
    else:
        action.meta["op_target_rc"] = "7"
    top = rsc.top if rsc.top.kind is Kind.CLONE else rsc
    flags = ORDERED
    if not action.runnable and not _any_running(top):
        flags |= UNRUNNABLE_FIRST_BLOCKS
    oc.add_ordering(ws, rsc, None, action, top, op_key(top.id, "start"), None, flags)
    oc.add_ordering(ws, rsc, None, action, top, op_key(top.id, "reload-agent"), None, ORDERED)
    return True


def _any_running(rsc: Resource) -> bool:
    return bool(rsc.running_on) or any(_any_running(child) for child in rsc.children)


# ---- ordering after probes --------------------------------------------------------------------------------------


def order_probes(ws: WorkingSet) -> None:
    _probes_before_what_stops_imply(ws)
    for rsc in ws.resources:
        _restart_orderings(ws, rsc)


def _probes_before_what_stops_imply(ws: WorkingSet) -> None:
    for ordering in ws.orderings:
        if not ordering.flags or ordering.first_rsc is None or ordering.first_rsc is ordering.then_rsc:
            continue
        if ordering.first is not None:
            if ordering.first.task != "stop":
                continue
        elif ordering.first_key is None or not ordering.first_key.endswith("_stop_0"):
            continue
        if ordering.then_rsc is not None and ordering.first_rsc.container is ordering.then_rsc:
            if ordering.then is not None:
                if ordering.then.task == "stop":
                    continue
            elif ordering.then_key is not None and ordering.then_key.endswith("_stop_0"):
                continue
        probes = find_actions(ordering.first_rsc, op_key(ordering.first_rsc.id, "monitor"))
        if not probes:
            continue
        if ordering.then is not None:
            if ordering.then.task == "do_shutdown":
                continue
            thens = [ordering.then]
        elif ordering.then_rsc is not None and ordering.then_key is not None:
            thens = find_actions(ordering.then_rsc, ordering.then_key)
        else:
            continue
        flags = ORDERED
        if ordering.flags & IF_REQUIRED_ON_SAME_NODE:
            flags = IF_REQUIRED_ON_SAME_NODE
        elif ordering.flags & IF_ON_SAME_NODE_OR_TARGET:
            flags = IF_ON_SAME_NODE_OR_TARGET
        for probe_action in probes:
            for then in thens:
                order(probe_action, then, flags)


def _restart_orderings(ws: WorkingSet, rsc: Resource) -> None:
    if rsc.children:
        for child in rsc.children:
            _restart_orderings(ws, child)
        return
    if rsc.kind is not Kind.PRIMITIVE:
        return
    for probe_action in find_actions(rsc, op_key(rsc.id, "monitor")):
        seen: set[int] = set()
        for relation in list(probe_action.after):
            _restart_after(ws, probe_action, relation.action, seen)


def _restart_after(ws: WorkingSet, probe_action: Action, start: Action, seen: set[int]) -> None:
    """What must not stop before the probe is done: whatever a required start would imply to restart."""
    from .clone import find_compatible_instance, is_interleaved

    assert probe_action.rsc is not None
    work = [start]
    while work:
        after = work.pop()
        if after.id in seen:
            continue
        seen.add(after.id)
        rsc = after.rsc
        interleave = False
        compatible: Resource | None = None
        if rsc is not None:
            if rsc.kind is Kind.PRIMITIVE and rsc is not probe_action.rsc:
                for stop in find_actions(rsc, op_key(rsc.id, "stop")):
                    if not stop.flags & PSEUDO:
                        order(probe_action, stop, ORDERED)
            if rsc.kind is Kind.CLONE:
                interleave = is_interleaved(rsc)
                if interleave:
                    compatible = find_compatible_instance(ws, probe_action.rsc, rsc, Role.UNKNOWN, False)
        for relation in list(after.after):
            if not relation.flags & FIRST_IMPLIES_THEN:
                other = relation.action.rsc
                if (
                    rsc is None or rsc.kind is Kind.PRIMITIVE or probe_action.rsc.parent is rsc or other is None
                    or other.kind > Kind.GROUP or other.parent is not rsc
                ):
                    continue
                if rsc.kind > Kind.GROUP and interleave and (compatible is None or compatible is not other):
                    continue
            work.append(relation.action)
