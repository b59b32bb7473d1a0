"""The status as XML: the elements of Pacemaker's api-result schema, for crm_mon and crm_resource."""

from __future__ import annotations

from lxml import etree

from quorate.core.scheduler.working_set import BundleReplica, Kind, Node, Resource, WorkingSet
from quorate.model import protocol

from .resources import display_id, is_active, is_disabled, pending_text, runs_on_any, shown_role, target_role_text
from .status import (
    ClusterStatus,
    attributes_of,
    bans,
    expected_pingd,
    failures,
    feature_set_of,
    fences,
    histories,
    shown_nodes,
)
from .summary import summarize
from .text import health_of
from .words import calendar, iso, rc_text, status_text

Element = etree._Element


def fill(root: Element, status: ClusterStatus) -> None:
    """Add the sections that are shown to `root` (`crm_mon` or `pacemaker-result`)."""
    shown = status.shown
    for banner in status.banners:  # comments: the schema has no element for them
        root.append(etree.Comment(f" {banner.replace('--', '- -')} "))
    if status.reply is not None:
        etree.SubElement(root, "pacemakerd", sys_from="pacemakerd", state="running", last_updated=iso(status.now))
    if shown.any_summary:
        _summary(root, status)
    if shown.has("nodes"):
        _nodes(root, status)
    if shown.has("resources"):
        fill_resources(root, status)
    if shown.has("attributes"):
        _attributes(root, status)
    if shown.has("operations") or shown.has("failcounts"):
        _histories(root, status)
    if shown.has("failures"):
        _failures(root, status)
    if shown.fence_level:
        _fences(root, status)
    if shown.has("tickets"):
        _tickets(root, status)
    if shown.has("bans"):
        _bans(root, status)


def _bool(value: object) -> str:
    return "true" if value else "false"


def _sub(parent: Element, tag: str, **attributes: str) -> Element:
    return etree.SubElement(parent, tag, attributes)


# ---- summary -----------------------------------------------------------------------------------------------------------


def _summary(root: Element, status: ClusterStatus) -> None:
    shown, about, ws = status.shown, summarize(status), status.ws
    holder = _sub(root, "summary")
    if shown.has("stack"):
        _sub(holder, "stack", type=about.stack)
    if shown.has("dc"):
        if about.dc is None:
            _sub(holder, "current_dc", present="false")
        else:
            _sub(
                holder,
                "current_dc",
                present="true",
                version="" if about.dc_version == "unknown" else about.dc_version,
                name=about.dc.name,
                id=about.dc.id,
                with_quorum=_bool(about.has_quorum),
                mixed_version="false",
            )
    if shown.has("times"):
        _sub(holder, "last_update", time=calendar(status.now))
        _sub(
            holder,
            "last_change",
            time=about.last_change,
            user=about.change_user,
            client=about.change_client,
            origin=about.change_origin,
        )
    if shown.has("counts"):
        _sub(holder, "nodes_configured", number=str(about.nodes))
        _sub(
            holder,
            "resources_configured",
            number=str(about.instances),
            disabled=str(about.disabled),
            blocked=str(about.blocked),
        )
    if shown.has("options"):
        policy = ws.quorum_policy.value
        options = {
            "stonith-enabled": _bool(ws.fencing_enabled),
            "symmetric-cluster": _bool(ws.symmetric),
            "no-quorum-policy": "suicide" if policy == "fence" else policy,
            "maintenance-mode": _bool(ws.maintenance_mode),
            "stop-all-resources": _bool(ws.stop_all),
            "stonith-timeout-ms": str(ws.fencing_timeout_ms),
            "priority-fencing-delay-ms": str(ws.priority_fencing_delay_ms),
        }
        etree.SubElement(holder, "cluster_options", options)


# ---- nodes -------------------------------------------------------------------------------------------------------------


def _nodes(root: Element, status: ClusterStatus) -> None:
    holder = _sub(root, "nodes")
    for node in shown_nodes(status):
        element = node_element(holder, status.ws, node)
        if status.shown.by_node:
            for rsc in node.running:
                if status.shows_resource(rsc):
                    _primitive(element, rsc)


def node_element(parent: Element, ws: WorkingSet, node: Node) -> Element:
    element = _sub(
        parent,
        "node",
        name=node.name,
        id=node.id,
        online=_bool(node.online),
        standby=_bool(node.standby),
        standby_onfail=_bool(node.standby_onfail),
        maintenance=_bool(node.maintenance),
        pending=_bool(node.pending),
        unclean=_bool(node.unclean),
        health=health_of(ws, node),
    )
    feature_set = feature_set_of(node)
    if feature_set is not None and node.online:
        element.set("feature_set", feature_set)
    element.set("shutdown", _bool(node.shutdown))
    element.set("expected_up", _bool(node.expected_up))
    element.set("is_dc", _bool(node.is_dc))
    element.set("resources_running", str(len(node.running)))
    element.set("type", node.kind.value)
    if node.is_guest and node.remote_resource is not None and node.remote_resource.container is not None:
        element.set("id_as_resource", node.remote_resource.container.id)
    return element


# ---- resources ---------------------------------------------------------------------------------------------------------


def fill_resources(root: Element, status: ClusterStatus) -> Element | None:
    """The list as it stands; with `by_node` only what the nodes do not show."""
    shown, ws = status.shown, status.ws
    if shown.by_node and not shown.inactive:
        return None
    holder = etree.Element("resources")
    for rsc in ws.resources:
        wholly, partly = is_active(rsc, wholly=True), is_active(rsc, wholly=False)
        if rsc.removed and not wholly:
            continue
        if shown.by_node and wholly:
            continue
        if not shown.by_node and not partly and not shown.inactive:
            continue
        if partly and not runs_on_any(rsc, status.node_names):
            continue
        resource_element(holder, rsc, status.resource_names)
    if len(holder) or not shown.by_node:
        root.append(holder)
    return holder


def _passes(rsc: Resource, only: frozenset[str] | None) -> bool:
    if only is None or {rsc.id, rsc.history_id, display_id(rsc)} & only:
        return True
    return any(_passes(child, only) for child in rsc.children)


def resource_element(parent: Element, rsc: Resource, only: frozenset[str] | None) -> None:
    if not _passes(rsc, only):
        return
    if rsc.kind is Kind.PRIMITIVE:
        _primitive(parent, rsc)
        return
    inner = None if only is not None and rsc.id in only else only
    if rsc.kind is Kind.BUNDLE:
        _bundle(parent, rsc, inner)
        return
    if rsc.kind is Kind.GROUP:
        element = _sub(parent, "group", id=rsc.id, number_resources=str(len(rsc.children)))
        element.set("managed", _bool(rsc.managed))
        element.set("disabled", _bool(is_disabled(rsc)))
    else:
        element = _sub(
            parent,
            "clone",
            id=rsc.id,
            multi_state=_bool(rsc.promotable),
            unique=_bool(rsc.unique),
            managed=_bool(rsc.managed),
            disabled=_bool(is_disabled(rsc)),
            failed=_bool(rsc.failed),
            failure_ignored=_bool(rsc.failure_ignored),
        )
        target = target_role_text(rsc)
        if target is not None:
            element.set("target_role", target)
    for child in rsc.children:
        resource_element(element, child, inner)


def _bundle(parent: Element, rsc: Resource, only: frozenset[str] | None) -> None:
    assert rsc.bundle is not None
    element = _sub(
        parent,
        "bundle",
        id=rsc.id,
        type=rsc.bundle.agent,
        image=rsc.bundle.image,
        unique=_bool(rsc.unique),
        managed=_bool(rsc.managed),
        failed=_bool(rsc.failed),
    )
    for replica in rsc.bundle.replicas:
        _replica(element, replica, only)


def _replica(parent: Element, replica: BundleReplica, only: frozenset[str] | None) -> None:
    element = _sub(parent, "replica", id=str(replica.offset))
    for part in (replica.ip, replica.child, replica.container, replica.remote):
        if part is not None:
            resource_element(element, part, only)


def _primitive(parent: Element, rsc: Resource) -> None:
    element = _sub(parent, "resource", id=display_id(rsc), resource_agent=rsc.agent, role=shown_role(rsc))
    target = target_role_text(rsc)
    if target is not None:
        element.set("target_role", target)
    element.set("active", _bool(is_active(rsc, wholly=True)))
    element.set("orphaned", _bool(rsc.removed))
    element.set("blocked", _bool(rsc.blocked))
    element.set("managed", _bool(rsc.managed))
    element.set("failed", _bool(rsc.failed))
    element.set("failure_ignored", _bool(rsc.failure_ignored))
    element.set("nodes_running_on", str(len(rsc.running_on)))
    pending = rsc.pending_task or pending_text(rsc)
    if pending is not None:
        element.set("pending", pending)
    for node in rsc.running_on:
        _sub(element, "node", name=node.name, id=node.id, cached=_bool(node.online))


# ---- attributes, histories -----------------------------------------------------------------------------------------------


def _attributes(root: Element, status: ClusterStatus) -> None:
    holder = etree.Element("node_attributes")
    for node in shown_nodes(status):
        attributes = attributes_of(node)
        if not node.online or not attributes:
            continue
        element = _sub(holder, "node", name=node.name)
        for name, value in attributes:
            attribute = _sub(element, "attribute", name=name, value=value)
            expected = expected_pingd(status, node, name)
            if expected is not None:
                attribute.set("expected", str(expected))
    if len(holder):
        root.append(holder)


def _histories(root: Element, status: ClusterStatus) -> None:
    holder = etree.Element("node_history")
    entries_seen = False
    for node, entries in histories(status, operations=status.shown.has("operations")):
        entries_seen = True
        if not entries:
            continue
        element = _sub(holder, "node", name=node.name)
        for entry in entries:
            history = _sub(element, "resource_history", id=entry.id)
            if entry.resource is None:
                history.set("orphan", "true")
            else:
                history.set("orphan", "false")
                history.set("migration-threshold", str(entry.threshold))
                if entry.fail_count > 0:
                    history.set("fail-count", str(entry.fail_count))
                if entry.last_failure > 0:
                    history.set("last-failure", calendar(entry.last_failure))
            for operation in entry.operations:
                line = _sub(
                    history,
                    "operation_history",
                    call=operation.call,
                    task=operation.task,
                    rc=str(operation.rc),
                    rc_text=rc_text(operation.rc),
                )
                if operation.interval_ms:
                    line.set("interval", f"{operation.interval_ms}ms")
                if operation.last_change:
                    line.set("last-rc-change", calendar(operation.last_change))
                if operation.exec_ms is not None:
                    line.set("exec-time", f"{operation.exec_ms}ms")
                if operation.queue_ms is not None:
                    line.set("queue-time", f"{operation.queue_ms}ms")
    if len(holder) or entries_seen:
        root.append(holder)


def _failures(root: Element, status: ClusterStatus) -> None:
    found = failures(status)
    if not found:
        return
    holder = _sub(root, "failures")
    for failure in found:
        element = _sub(
            holder,
            "failure",
            **{"op_key" if failure.has_key else "id": failure.key},
            node=failure.node,
            exitstatus=rc_text(failure.rc),
            exitreason=failure.raw_reason,
            exitcode=str(failure.rc),
            call=failure.call,
            status=status_text(failure.status),
        )
        if failure.last_change:
            element.set("last-rc-change", iso(failure.last_change))
            if failure.queue_text is not None:
                element.set("queued", failure.queue_text)
            if failure.exec_text is not None:
                element.set("exec", failure.exec_text)
            element.set("interval", str(failure.interval_ms))
            element.set("task", failure.task)


def _fences(root: Element, status: ClusterStatus) -> None:
    failed, pending, successes = fences(status)
    if not failed and not pending and not successes:
        return
    holder = _sub(root, "fence_history")
    for record in sorted(failed + pending + successes, key=lambda r: -(r.ended_at or r.began_at)):
        fence_element(holder, record)


def fence_element(parent: Element, record: protocol.FenceRecord) -> Element:
    element = _sub(
        parent,
        "fence_event",
        action=record.action,
        target=record.target,
        client=record.client,
        origin=record.origin,
        status=record.state,
    )
    if record.state == "failed" and record.reason:
        element.set("exit-reason", record.reason)
    if record.executor:
        element.set("delegate", record.executor)
    if record.state != "pending":
        element.set("completed", iso(record.ended_at))
    return element


def _tickets(root: Element, status: ClusterStatus) -> None:
    if not status.ws.tickets:
        return
    holder = _sub(root, "tickets")
    for ticket in status.ws.tickets.values():
        element = _sub(
            holder,
            "ticket",
            id=ticket.id,
            status="granted" if ticket.granted else "revoked",
            standby=_bool(ticket.standby),
        )
        if ticket.last_granted is not None and ticket.last_granted >= 0:
            element.set("last-granted", calendar(ticket.last_granted))


def _bans(root: Element, status: ClusterStatus) -> None:
    found = bans(status)
    if not found:
        return
    holder = _sub(root, "bans")
    for ban in found:
        element = _sub(holder, "ban", id=ban.id, resource=ban.resource, node=ban.node, weight=str(ban.weight))
        element.set("promoted-only", _bool(ban.promoted_only))
        element.set("master_only", _bool(ban.promoted_only))
