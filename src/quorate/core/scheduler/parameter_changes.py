"""Changed definitions: what runs with other parameters, another agent or an operation that is gone."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import ORDERED, RESCHEDULE, THEN_CANCELS_FIRST, new_action, op_key
from .cleanup import clear_fail_count, schedule_cleanup
from .colocation import node_available
from .configuration import parameters
from .digests import Change, compare
from .failcounts import Count, fail_count
from .fencing import trigger_unfencing
from .history import _by_call, active_span
from .operations import find_config
from .working_set import Kind, Node, Operation, Resource, WorkingSet


def check_history(ws: WorkingSet) -> None:
    status = ws.cib.find("status")
    if status is None:
        return
    histories = ws.extra.get("histories", {})
    by_name: dict[str, list[Resource]] = {}
    for rsc in ws.all_resources:
        if rsc.kind is Kind.PRIMITIVE:
            by_name.setdefault(rsc.history_id, []).append(rsc)
            if rsc.history_id != rsc.id:
                by_name.setdefault(rsc.id, []).append(rsc)
    for state in status:
        if state.tag != "node_state":
            continue
        node = ws.node_by_name.get(state.get("uname") or "")
        if node is None or not (node.maintenance or node_available(node)):
            continue
        for element in state.iterfind("lrm/lrm_resources/lrm_resource"):
            entries = histories.get((node.name, element.get("id")))
            if not entries:
                continue
            for rsc in by_name.get(str(element.get("id")), ()):
                _check_resource(ws, rsc, node, element, entries)


def _check_resource(ws: WorkingSet, rsc: Resource, node: Node, element: object, entries: list[Operation]) -> None:
    if rsc.removed:
        if rsc.top.kind is not Kind.CLONE or rsc.top.unique:
            schedule_cleanup(ws, rsc, node, False)
        return
    active = node in rsc.running_on
    if _agent_changed(ws, rsc, node, element, active):
        schedule_cleanup(ws, rsc, node, False)
    if not active:
        return
    ordered = sorted(entries, key=_by_call)
    start, stop = active_span(ordered)
    expired = {id(op) for op in ws.extra.get("expired_recurring_ops", ())}
    for position, op in enumerate(ordered):
        if start < stop:
            break
        if position < start:
            continue
        if op.interval_ms and (rsc.maintenance or node.maintenance):
            _cancel(ws, rsc, node, op, "maintenance mode")
        elif op.interval_ms or op.task in ("monitor", "start", "promote", "migrate_from"):
            if needs_host_name(ws, rsc):
                ws.deferred_checks.append((rsc, node, op))
            elif _changed(ws, rsc, node, op, id(op) in expired) and fail_count(ws, node, rsc, Count.EFFECTIVE).count:
                clear_fail_count(ws, rsc, node, "action definition changed")


def needs_host_name(ws: WorkingSet, rsc: Resource) -> bool:
    """Its address is that of the container's host, which is not decided yet."""
    return rsc.is_remote_connection and rsc.container is not None and parameters(ws, rsc, None).get("addr") == "#uname"


def deferred_checks(ws: WorkingSet) -> None:
    for rsc, node, op in ws.deferred_checks:
        if _changed(ws, rsc, node, op, False) and fail_count(ws, node, rsc, Count.EFFECTIVE).count:
            clear_fail_count(ws, rsc, node, "action definition changed")


def _agent_changed(ws: WorkingSet, rsc: Resource, node: Node, element: object, active: bool) -> bool:
    get = element.get  # type: ignore[attr-defined]
    changed = False
    for name, value in (("class", rsc.agent_class), ("provider", rsc.agent_provider), ("type", rsc.agent_type)):
        recorded = get(name)
        if (recorded or None) != (value or None):
            changed = True
    if changed and active:
        new_action(ws, rsc, op_key(rsc.id, "stop"), "stop", node, False)
        rsc.start_pending = True
    return changed


def _cancel(ws: WorkingSet, rsc: Resource, node: Node, op: Operation, reason: str) -> None:
    from .recurring import make_cancel

    action = make_cancel(ws, rsc, op.task, op.interval_ms, node)
    action.meta["call-id"] = op.xml.get("call-id") or "0"
    if action.reason is None:
        action.reason = reason
    oc.add_ordering(ws, rsc, op_key(rsc.id, "stop"), None, rsc, None, action, ORDERED)


def _changed(ws: WorkingSet, rsc: Resource, node: Node, op: Operation, expired: bool) -> bool:
    if op.interval_ms:
        if find_config(rsc, op.task, op.interval_ms) is None:
            if ws.cancel_removed_actions:
                _cancel(ws, rsc, node, op, "orphan")
            return True
    change = Change.RESTART if expired else compare(ws, rsc, node, op.xml, op.task, op.interval_ms)
    if change in (Change.MATCH, Change.UNKNOWN):
        return False  # without a digest nothing is known to have changed
    if change is Change.RESTART:
        _force(ws, rsc, node, op)
        return True
    if op.interval_ms:
        trigger_unfencing(ws, rsc, node, "Device parameters changed (reschedule)", None)
        action = new_action(ws, rsc, op_key(rsc.id, op.task, op.interval_ms), op.task, node, True)
        action.flags |= RESCHEDULE
    elif op.xml.get("op-restart-digest") is not None:
        _reload(ws, rsc, node)
    else:
        _force(ws, rsc, node, op)
    return True


def _force(ws: WorkingSet, rsc: Resource, node: Node, op: Operation) -> None:
    """Do it again: a start is needed, hence a stop before it; a recurring operation is merely started anew."""
    task = op.task if op.interval_ms else "start" if op.task == "monitor" else op.task
    action = new_action(ws, rsc, op_key(rsc.id, task, op.interval_ms), task, None, False)
    if action.reason is None:
        action.reason = "resource definition change"
    trigger_unfencing(ws, rsc, node, "Device parameters changed", None)


def _reload(ws: WorkingSet, rsc: Resource, node: Node) -> None:
    if not rsc.managed or rsc.failed:
        return
    if rsc.start_pending:
        new_action(ws, rsc, op_key(rsc.id, "stop"), "stop", node, False)
        return
    rsc.reload = True
    action = new_action(ws, rsc, op_key(rsc.id, "reload-agent"), "reload-agent", node, False)
    action.reason = "resource definition change"
    for task in ("stop", "demote"):
        oc.add_ordering(ws, None, None, action, rsc, op_key(rsc.id, task), None, ORDERED | THEN_CANCELS_FIRST)


def clear_removed_fail_counts(ws: WorkingSet) -> None:
    for rsc in ws.resources:
        if not rsc.removed:
            continue
        for node in ws.ordered_nodes:
            if node.online and fail_count(ws, node, rsc, Count.EFFECTIVE).count:
                action = clear_fail_count(ws, rsc, node, "it is orphaned")
                oc.add_ordering(ws, rsc, None, action, rsc, op_key(rsc.id, "stop"), None, ORDERED)
