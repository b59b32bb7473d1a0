"""The status as text, in the layout of Pacemaker 3's crm_mon."""

from __future__ import annotations

from quorate.core.scheduler.working_set import Node, WorkingSet
from quorate.model import protocol

from .lines import Lines
from .resource_text import ResourceText
from .resources import display_id, is_bundle_connection, primitive_line
from .status import (
    ClusterStatus,
    Failure,
    HistoryOperation,
    ResourceHistory,
    attributes_of,
    bans,
    display_name,
    expected_pingd,
    failures,
    feature_set_of,
    fences,
    histories,
    shown_nodes,
    sorted_nodes,
)
from .summary import summarize
from .words import calendar, interval, iso, plural, rc_text, status_text

BANNER_MARK = "!!"


def render(status: ClusterStatus) -> str:
    """Sections in crm_mon's order; banners stand on top of everything."""
    lines = Lines()
    for banner in status.banners:
        lines.raw(f"{BANNER_MARK} {banner}")
    shown = status.shown
    if shown.any_summary or summarize(status).dc is None:
        _summary(status, lines)
    if shown.has("nodes"):
        _nodes(status, lines)
    if shown.has("resources"):
        _resources(status, lines).write_list()
    if shown.has("attributes"):
        _attributes(status, lines)
    if shown.has("operations") or shown.has("failcounts"):
        _histories(status, lines)
    if shown.has("failures"):
        _failures(status, lines)
    failed, pending, successes = fences(status)
    if shown.fence_level and shown.has("fencing-failed") and failed:
        _fencing(status, lines, "Failed Fencing Actions", failed)
    if shown.has("tickets"):
        _tickets(status, lines)
    if shown.has("bans"):
        _bans(status, lines)
    if shown.fence_level and shown.has("fencing-pending") and pending:
        _fencing(status, lines, "Pending Fencing Actions", pending)
    if shown.fence_level > 1 and shown.has("fencing-succeeded") and successes:
        _fencing(status, lines, "Fencing History", successes)
    return lines.text


def _resources(status: ClusterStatus, lines: Lines) -> ResourceText:
    return ResourceText(
        status.ws, lines, status.shown, only_nodes=status.node_names, only_resources=status.resource_names
    )


# ---- summary ---------------------------------------------------------------------------------------------------------


def _summary(status: ClusterStatus, lines: Lines) -> None:
    shown, about = status.shown, summarize(status)
    lines.section("Cluster Summary")
    if shown.has("stack"):
        running = " (Pacemaker is running)" if about.pacemaker_running else ""
        lines.item(f"Stack: {about.stack}{running}")
    if about.dc is None:  # never hidden
        lines.item("Current DC: NONE")
    elif shown.has("dc"):
        quorum = "with" if about.has_quorum else "WITHOUT"
        name = display_name(about.dc, detail=shown.detail)
        lines.item(f"Current DC: {name} (version {about.dc_version}) - partition {quorum} quorum")
    if shown.has("times"):
        on = f" on {status.reply.node}" if status.reply is not None and status.reply.node else ""
        lines.item(f"Last updated: {calendar(status.now)}{on}")
        by = [(" by ", about.change_user), (" via ", about.change_client), (" on ", about.change_origin)]
        lines.item(f"Last change:  {about.last_change}{''.join(word + value for word, value in by if value)}")
    if shown.has("counts"):
        lines.item(f"{plural(about.nodes, 'node')} configured")
        lines.item(
            f"{plural(about.instances, 'resource instance')} configured{_disabled(about.disabled, about.blocked)}"
        )
    if shown.has("options"):
        _options(status, lines)
    lines.end_section()
    if shown.has("maint-mode"):
        _maintenance(status, lines)


def _disabled(disabled: int, blocked: int) -> str:
    parts = [f"{disabled} DISABLED"] * bool(disabled)
    parts += [f"{blocked} BLOCKED from further action due to failure"] * bool(blocked)
    return f" ({', '.join(parts)})" if parts else ""


def _options(status: ClusterStatus, lines: Lines) -> None:
    ws = status.ws
    words = {
        "ignore": "Ignore",
        "demote": "Demote non-remote promotable resources",
        "freeze": "Freeze resources",
        "stop": "Stop ALL resources",
        "fence": "Fence",
        "suicide": "Suicide",
    }
    lines.section("Config Options") if not lines.lines else lines.item("Config Options:")
    lines.item(f"STONITH of failed nodes {'enabled' if ws.fencing_enabled else 'disabled'}")
    lines.item(f"Cluster is {'symmetric' if ws.symmetric else 'asymmetric'}")
    lines.item(f"No quorum policy: {words.get(ws.quorum_policy.value, ws.quorum_policy.value)}")


def _maintenance(status: ClusterStatus, lines: Lines) -> None:
    if status.ws.maintenance_mode:
        lines.raw("")
        lines.raw("              *** Resource management is DISABLED ***")
        lines.raw("  The cluster will not attempt to start, stop or recover services")
    elif status.ws.stop_all:
        lines.raw("")
        lines.raw("    *** Resource management is DISABLED ***")
        lines.raw("  The cluster will keep all resources stopped")


# ---- nodes -----------------------------------------------------------------------------------------------------------


def node_state_text(node: Node) -> str:
    if node.unclean:
        state = "online" if node.online else ("pending" if node.pending else "offline")
        return f"UNCLEAN ({state})"
    if node.pending:
        return "pending"
    if node.standby_onfail and node.online:
        return "standby (on-fail)"
    if node.standby:
        if not node.online:
            return "OFFLINE (standby)"
        return "standby (with active resources)" if node.running else "standby"
    if node.maintenance:
        return "maintenance" if node.online else "OFFLINE (maintenance)"
    return "online" if node.online else "OFFLINE"


def health_of(ws: WorkingSet, node: Node) -> str:
    """The worst of the node's health attributes, green when the cluster has no strategy for them."""
    worst = "green"
    if ws.options_set.get("node-health-strategy", "none") == "none":
        return worst
    for name, value in node.attributes.items():
        if not name.startswith("#health"):
            continue
        if value == "red":
            return "red"
        if value == "yellow":
            worst = "yellow"
    return worst


def node_kind(node: Node) -> str:
    return "GuestNode" if node.is_guest else "RemoteNode" if node.is_remote else "Node"


def _nodes(status: ClusterStatus, lines: Lines) -> None:
    shown = status.shown
    lists: dict[str, list[str]] = {}
    lines.section("Node List")
    for node in shown_nodes(status):
        health = health_of(status.ws, node)
        alone = (
            node.unclean
            or node.pending
            or (node.standby_onfail and node.online)
            or node.standby
            or node.maintenance
            or shown.by_node
            or shown.detail
            or health != "green"
        )
        if alone:
            _node(status, lines, node, health)
        elif node.online:
            key = "GuestOnline" if node.is_guest else "RemoteOnline" if node.is_remote else "Online"
            lists.setdefault(key, []).append(node.name)
        elif not node.is_guest:
            lists.setdefault("RemoteOFFLINE" if node.is_remote else "OFFLINE", []).append(node.name)
    for key in ("Online", "OFFLINE", "RemoteOnline", "RemoteOFFLINE", "GuestOnline"):
        if key in lists:
            lines.item(f"{key}: [ {' '.join(lists[key])} ]")
    lines.end_section()


def _node(status: ClusterStatus, lines: Lines, node: Node, health: str) -> None:
    shown = status.shown
    text = f"{node_kind(node)} {display_name(node, detail=shown.detail)}: {node_state_text(node)}"
    if health != "green":
        text += f" (health is {health.upper()})"
    feature_set = feature_set_of(node)
    if shown.detail and node.online and feature_set:
        text += f", feature set {feature_set}"
    if not shown.by_node:
        lines.item(text)
        return
    running = [r for r in node.running if status.shows_resource(r)]
    if shown.brief and not running:
        return
    lines.begin(f"{text}:")
    lines.begin("Resources:")
    if shown.brief:
        _resources(status, lines).brief(running, by_node=True)
    else:
        for rsc in (r for r in running if not is_bundle_connection(r)):
            lines.item(primitive_line(status.ws, rsc, display_id(rsc), None, with_node=False))
    lines.end()
    lines.end()


# ---- attributes, histories ---------------------------------------------------------------------------------------------


def _attributes(status: ClusterStatus, lines: Lines) -> None:
    found = [(n, a) for n in shown_nodes(status) if n.online and (a := attributes_of(n))]
    if not found:
        return
    lines.section("Node Attributes")
    for node, attributes in found:
        lines.begin(f"Node: {display_name(node, detail=status.shown.detail)}:")
        for name, value in attributes:
            text = f"{name:<32}\t: {value:<10}"
            expected = expected_pingd(status, node, name)
            if expected is not None:
                number = int(value) if value.lstrip("-").isdigit() else 0
                if number <= 0:
                    text += "\t: Connectivity is lost"
                elif number < expected:
                    text += f"\t: Connectivity is degraded (Expected={expected})"
            lines.item(text)
        lines.end()
    lines.end_section()


def _histories(status: ClusterStatus, lines: Lines) -> None:
    operations = status.shown.has("operations")
    found = list(histories(status, operations=operations))
    if not found:
        return
    lines.section("Operations" if operations else "Migration Summary")
    for node, entries in found:
        if not entries:
            continue
        lines.begin(f"Node: {display_name(node, detail=status.shown.detail)}:")
        for entry in entries:
            head = _history_head(entry)
            if not entry.operations:
                lines.item(head)
                continue
            lines.begin(f"{head}:")
            for operation in entry.operations:
                lines.item(_operation(operation, timing=status.shown.timing))
            lines.end()
        lines.end()
    lines.end_section()


def _history_head(entry: ResourceHistory) -> str:
    if entry.resource is None:
        return f"{entry.id}: orphan"
    text = f"{entry.id}: migration-threshold={entry.threshold}"
    if entry.fail_count > 0:
        text += f" fail-count={entry.fail_count}"
    if entry.last_failure > 0:
        text += f" last-failure='{calendar(entry.last_failure)}'"
    return text


def _operation(operation: HistoryOperation, *, timing: bool) -> str:
    text = f"({operation.call}) {operation.task}:"
    if operation.interval_ms:
        text += f' interval="{operation.interval_ms}ms"'
    if timing:
        if operation.last_change:
            text += f' last-rc-change="{calendar(operation.last_change)}"'
        if operation.exec_ms is not None:
            text += f' exec-time="{operation.exec_ms}ms"'
        if operation.queue_ms is not None:
            text += f' queue-time="{operation.queue_ms}ms"'
    return f"{text} rc={operation.rc} ({rc_text(operation.rc)})"


# ---- what went wrong, and the rest -------------------------------------------------------------------------------------


def _failures(status: ClusterStatus, lines: Lines) -> None:
    found = failures(status)
    if not found:
        return
    lines.section("Failed Resource Actions")
    for failure in found:
        lines.item(technical_failure(failure) if status.shown.detail else friendly_failure(failure))
    lines.end_section()


def friendly_failure(failure: Failure) -> str:
    if failure.task == "monitor":
        task = f"{interval(failure.interval_ms)}-interval monitor" if failure.interval_ms else "probe"
    else:
        task = failure.task
    text = f"{failure.resource} {task} on {failure.node}"
    if failure.status == 0:
        text += f" returned '{rc_text(failure.rc)}'"
        text += f" ({failure.reason})" if failure.reason else ""
    else:
        text += f" could not be executed ({status_text(failure.status)}"
        text += f": {failure.reason})" if failure.reason else ")"
    if failure.last_change:
        text += f" at {calendar(failure.last_change)}"
    if failure.exec_ms:
        text += f" after {interval(failure.exec_ms)}"
    return text


def technical_failure(failure: Failure) -> str:
    text = (
        f"{failure.key} on {failure.node} '{rc_text(failure.rc)}' ({failure.rc}): call={failure.call}, "
        f"status='{status_text(failure.status)}'"
    )
    if failure.reason:
        text += f", exitreason='{failure.reason}'"
    if failure.last_change:
        text += f", last-rc-change='{calendar(failure.last_change)}'"
    if failure.queue_text is not None:
        text += f", queued={failure.queue_text}ms"
    if failure.exec_text is not None:
        text += f", exec={failure.exec_text}ms"
    return text


def fencing_line(record: protocol.FenceRecord) -> str:
    text = f"{record.action} of {record.target}"
    if record.executor and record.state != "pending":
        text += f" by {record.executor}"
    text += f" for {record.client}@{record.origin}"
    if record.state == "pending":
        return f"{text} pending"
    text += " successful" if record.state == "success" else " failed"
    if record.state == "failed" and record.reason:
        text += f" ({record.reason})"
    return f"{text} at {iso(record.ended_at)}" if record.ended_at else text


def technical_fencing(record: protocol.FenceRecord) -> str:
    words = {"success": "successful", "failed": "failed"}
    parts = [f"delegate={record.executor}"] * bool(record.executor)
    parts += [f"client={record.client}", f"origin={record.origin}"]
    if record.state == "failed" and record.reason:
        parts.append(f"exit-reason='{record.reason}'")
    if record.state != "pending":
        parts.append(f"completed='{iso(record.ended_at)}'")
    return f"{record.action} of {record.target} {words.get(record.state, 'pending')}: {', '.join(parts)}"


def _fencing(status: ClusterStatus, lines: Lines, title: str, records: list[protocol.FenceRecord]) -> None:
    lines.section(title)
    for record in records:
        lines.item(technical_fencing(record) if status.shown.detail else fencing_line(record))
    lines.end_section()


def _tickets(status: ClusterStatus, lines: Lines) -> None:
    if not status.ws.tickets:
        return
    lines.section("Tickets")
    for ticket in status.ws.tickets.values():
        text = f"{ticket.id}: {'granted' if ticket.granted else 'revoked'}{' [standby]' if ticket.standby else ''}"
        if ticket.last_granted is not None and ticket.last_granted >= 0:
            text += f' last-granted="{calendar(ticket.last_granted)}"'
        lines.item(text)
    lines.end_section()


def _bans(status: ClusterStatus, lines: Lines) -> None:
    found = bans(status)
    if not found:
        return
    lines.section("Negative Location Constraints")
    for ban in found:
        node = status.ws.node_by_name[ban.node]
        promoted = "as promoted " if ban.promoted_only else ""
        lines.item(
            f"{ban.id}\tprevents {ban.resource} from running {promoted}on "
            f"{display_name(node, detail=status.shown.detail)}"
        )
    lines.end_section()


def simple(status: ClusterStatus) -> str:
    """One line for monitoring systems (crm_mon --simple-status)."""
    ws = status.ws
    offline = [node.name for node in sorted_nodes(ws) if not node.online]
    problems = ["No DC"] * (summarize(status).dc is None)
    if offline:
        problems.append(" ".join(f"offline node: {name}" for name in offline))
    if problems:
        return f"CLUSTER WARN: {', '.join(problems)}\n"
    online = [node for node in ws.nodes if node.online]
    standby = sum(node.standby for node in online)
    maintenance = sum(node.maintenance and not node.standby for node in online)
    parts = [f"{plural(len(online) - standby - maintenance, 'node')} online"]
    parts += [plural(standby, "standby node")] * bool(standby)
    parts += [plural(maintenance, "maintenance node")] * bool(maintenance)
    parts.append(f"{plural(summarize(status).instances, 'resource instance')} configured")
    return f"CLUSTER OK: {', '.join(parts)}\n"
