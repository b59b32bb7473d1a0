"""Bundles: replicas of a container, each with its address, its connection and what runs inside."""

from __future__ import annotations

import functools

from . import assignment
from . import ordering_constraints as oc
from .actions import (
    FIRST_IMPLIES_THEN_GRAPHED,
    GUEST_ALLOWED,
    IF_ON_SAME_NODE,
    NESTED_REMOTE_PROBE,
    ORDERED,
    THEN_IMPLIES_FIRST,
    THEN_IMPLIES_FIRST_GRAPHED,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    find_action,
    op_key,
    pseudo_action,
)
from .clone import assign_instances, compare_instances, create_instance_actions, find_compatible_instance, keep_matching
from .colocation import Colocation, add_colocation, attribute_of
from .failcounts import threshold_reached
from .scores import INFINITY
from .working_set import BundleReplica, Kind, Node, Resource, Role, WorkingSet


def replicas_of(bundle: Resource) -> list[BundleReplica]:
    return bundle.bundle.replicas if bundle.bundle is not None else []


def containers_of(bundle: Resource) -> list[Resource]:
    return [replica.container for replica in replicas_of(bundle)]


def replica_with_container(container: Resource) -> BundleReplica | None:
    bundle = container.parent
    if bundle is None or bundle.bundle is None:
        return None
    for replica in bundle.bundle.replicas:
        if replica.container is container:
            return replica
    return None


def inside(container: Resource) -> Resource | None:
    """What runs in a replica's container."""
    replica = replica_with_container(container)
    return replica.child if replica is not None else None


def assign_bundle(ws: WorkingSet, bundle: Resource, prefer: Node | None, stop_if_fail: bool) -> None:
    info = bundle.bundle
    assert info is not None
    if not bundle.provisional or bundle.assigning:
        return
    bundle.assigning = True
    assignment.show_scores(ws, bundle, "pcmk__bundle_assign")
    containers = sorted(containers_of(bundle), key=functools.cmp_to_key(functools.partial(compare_instances, ws)))
    assign_instances(ws, bundle, containers, info.replicas_max, info.replicas_per_host)
    for replica in info.replicas:
        _assign_replica(ws, replica, prefer, stop_if_fail)
    clone = info.child
    if clone is not None:
        own = {replica.node.index for replica in info.replicas if replica.node is not None}
        for index in clone.allowed:
            clone.allowed[index] = 0 if index in own else -INFINITY
        assignment.assign(ws, clone, prefer, stop_if_fail)
    bundle.assigning = False
    bundle.provisional = False


def _assign_replica(ws: WorkingSet, replica: BundleReplica, prefer: Node | None, stop_if_fail: bool) -> None:
    if replica.ip is not None:
        assignment.assign(ws, replica.ip, prefer, stop_if_fail)
    host = replica.container.assigned
    if replica.remote is not None:
        if host is not None and host.is_remote_or_guest and host.remote_resource is not None:
            add_colocation(ws, "#replica-remote-with-host-remote", replica.remote, host.remote_resource, INFINITY)
            replica.remote.this_with_cache = None
            host.remote_resource.with_this_cache = None
        assignment.assign(ws, replica.remote, prefer, stop_if_fail)
    child = replica.child
    if child is None:
        return
    for index in child.allowed:
        node = ws.nodes[index]
        if node is not replica.node:
            child.allowed[index] = -INFINITY
        elif threshold_reached(ws, child, node) is None:
            child.allowed[index] = INFINITY
    assert child.parent is not None
    child.parent.assigning = True
    assignment.assign(ws, child, replica.node, stop_if_fail)
    child.parent.assigning = False


# ---- colocations and locations ----------------------------------------------------------------------------------


def bundle_this_with(bundle: Resource, origin: Resource) -> list[Colocation]:
    if origin is bundle or replica_with_container(origin) is not None:
        return bundle.this_with
    return []


def bundle_with_this(bundle: Resource, origin: Resource) -> list[Colocation]:
    if origin is bundle or replica_with_container(origin) is not None:
        return bundle.with_this
    return []


def apply_bundle_colocation(ws: WorkingSet, dependent: Resource, primary: Resource, constraint: Colocation) -> None:
    if primary.provisional:
        return
    if constraint.dependent.kind > Kind.GROUP:
        found = find_compatible_instance(ws, dependent, primary, Role.UNKNOWN, False)
        if found is not None:
            assignment.apply_colocation(ws, dependent, found, constraint, False)
        elif constraint.score >= INFINITY and dependent.kind is Kind.PRIMITIVE:
            assignment.place(ws, dependent, None, True, True)
        return
    values: dict[str | None, int] = {}
    for replica in replicas_of(primary):
        if constraint.score < INFINITY:
            assignment.apply_colocation(ws, dependent, replica.container, constraint, False)
            continue
        host = replica.container.assigned
        if host is None or replica.container.blocked:
            continue
        if constraint.primary_role >= Role.PROMOTED and (
            replica.child is None or replica.child.next_role < Role.PROMOTED
        ):
            continue
        values.setdefault(attribute_of(host, constraint.node_attribute, primary), 0)
    if constraint.score >= INFINITY:
        keep_matching(ws, dependent, constraint, values)


def apply_location_to_bundle(bundle: Resource, location: object, scores: dict[int, int]) -> None:
    from .locations import Location, apply_location

    assert isinstance(location, Location)
    for replica in replicas_of(bundle):
        apply_location(replica.container, location, scores)
        if replica.ip is not None:
            apply_location(replica.ip, location, scores)
    child = bundle.bundle.child if bundle.bundle is not None else None
    if child is not None and location.role in (Role.PROMOTED, Role.UNPROMOTED):
        apply_location(child, location, scores)
        child.locations.insert(0, location)


# ---- constraints and actions ------------------------------------------------------------------------------------


def internal_constraints(ws: WorkingSet, bundle: Resource) -> None:
    from .variants import internal_constraints as of_part

    info = bundle.bundle
    assert info is not None
    clone = info.child
    if clone is not None:
        pairs = [("start", "running"), ("stop", "stopped")]
        if clone.promotable:
            pairs += [("promote", "promoted"), ("demote", "demoted")]
        for task, done in pairs[:2]:
            oc.order_tasks(ws, bundle, task, clone, task, THEN_IMPLIES_FIRST_GRAPHED)
            oc.order_tasks(ws, clone, done, bundle, done, FIRST_IMPLIES_THEN_GRAPHED)
        of_part(ws, clone)
        for task, done in pairs[2:]:
            oc.order_tasks(ws, bundle, task, clone, task, THEN_IMPLIES_FIRST_GRAPHED)
            oc.order_tasks(ws, clone, done, bundle, done, FIRST_IMPLIES_THEN_GRAPHED)
    for replica in info.replicas:
        container = replica.container
        of_part(ws, container)
        oc.order_starts(ws, bundle, container, UNRUNNABLE_FIRST_BLOCKS | THEN_IMPLIES_FIRST_GRAPHED)
        if replica.child is not None:
            oc.order_stops(ws, bundle, replica.child, THEN_IMPLIES_FIRST_GRAPHED)
        oc.order_stops(ws, bundle, container, THEN_IMPLIES_FIRST_GRAPHED)
        oc.order_tasks(ws, container, "start", bundle, "running", FIRST_IMPLIES_THEN_GRAPHED)
        oc.order_tasks(ws, container, "stop", bundle, "stopped", FIRST_IMPLIES_THEN_GRAPHED)
        if replica.ip is not None:
            of_part(ws, replica.ip)
            oc.order_starts(ws, replica.ip, container, UNRUNNABLE_FIRST_BLOCKS | GUEST_ALLOWED)
            oc.order_stops(ws, container, replica.ip, THEN_IMPLIES_FIRST | GUEST_ALLOWED)
            add_colocation(ws, "#ip-with-container", replica.ip, container, INFINITY)
        if replica.remote is not None:
            of_part(ws, replica.remote)


def create_actions(ws: WorkingSet, bundle: Resource) -> None:
    from .variants import create_actions as of_part

    info = bundle.bundle
    assert info is not None
    for replica in info.replicas:
        for part in (replica.ip, replica.container, replica.remote):
            if part is not None:
                of_part(ws, part)
    create_instance_actions(ws, bundle, containers_of(bundle), created=True)
    clone = info.child
    if clone is None:
        return
    of_part(ws, clone)
    if clone.promotable:
        for task in ("promote", "promoted", "demote", "demoted"):
            action = pseudo_action(ws, bundle, task, True, True)
            if task.endswith("ed"):
                action.synapse_priority = INFINITY


def action_flags(bundle: Resource, action: Action, node: Node | None) -> int:
    from .variants import collective_flags, original_task

    info = bundle.bundle
    assert info is not None
    if info.child is not None and (
        original_task(action) in ("promote", "demote") or action.task in ("notify", "notified")
    ):
        return collective_flags(info.child.children, action, node)
    return collective_flags(containers_of(bundle), action, node)


def probe_bundle(ws: WorkingSet, bundle: Resource, node: Node) -> bool:
    from .probes import probe

    info = bundle.bundle
    assert info is not None
    made = False
    for replica in info.replicas:
        if replica.ip is not None and probe(ws, replica.ip, node):
            made = True
        if replica.child is not None and node is replica.node and probe(ws, replica.child, node):
            made = True
        if probe(ws, replica.container, node):
            made = True
            if info.replicas_per_host == 1:
                for other in info.replicas:
                    if other is not replica:
                        oc.add_ordering(ws, replica.container, op_key(replica.container.id, "monitor"), None,
                                        other.container, op_key(other.container.id, "start"), None,
                                        ORDERED | IF_ON_SAME_NODE)
        if replica.remote is not None and probe(ws, replica.remote, node):
            made = True
            found = find_action(replica.remote, op_key(replica.remote.id, "monitor"), None, node)
            if found is not None:
                oc.add_ordering(ws, replica.container, op_key(replica.container.id, "start"), None, replica.remote, None,
                                found, NESTED_REMOTE_PROBE)
    return made


def resources_in_graph_order(bundle: Resource) -> list[Resource]:
    info = bundle.bundle
    assert info is not None
    found: list[Resource] = [info.child] if info.child is not None else []
    for replica in info.replicas:
        found += [part for part in (replica.ip, replica.container, replica.remote) if part is not None]
    return found


def host_meta(ws: WorkingSet, rsc: Resource, meta: dict[str, str], node: Node | None, task: str = "") -> None:
    """Actions on a guest say which node hosts it, before a stop and after a start."""
    if node is None or not node.is_guest or node.remote_resource is None:
        return
    container = node.remote_resource.container
    assert container is not None
    if task in ("notify", "notified"):
        task = meta.get("notify_key_operation", task)
    if task == "cancel":
        return
    before = task in ("stop", "stopped", "demote", "demoted")
    host = assignment.current_node(container) if before else container.assigned
    if host is not None:
        target = rsc.meta.get("container-attribute-target")
        if target is not None:
            meta["container-attribute-target"] = target
        meta["physical_host"] = host.name
