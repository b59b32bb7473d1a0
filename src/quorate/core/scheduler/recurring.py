"""Recurring operations: which ones should run in the new state, and which are cancelled."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import (
    FIRST_IMPLIES_THEN,
    OPTIONAL,
    ORDERED,
    RESCHEDULE,
    RUNNABLE,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    new_action,
    op_key,
    order,
    start_action,
    stop_action,
)
from .configuration import parse_role
from .operations import is_enabled, op_interval_ms
from .working_set import Node, Resource, Role, WorkingSet

_NOT_RECURRING = ("start", "stop", "promote", "demote", "delete", "reload", "reload-agent", "notify", "migrate_to",
                  "migrate_from", "cancel", "notified")


class _Recurring:
    __slots__ = ("key", "name", "interval_ms", "role")

    def __init__(self, rsc: Resource, name: str, interval_ms: int, role: Role) -> None:
        self.name, self.interval_ms, self.role = name, interval_ms, role
        self.key = op_key(rsc.id, name, interval_ms)


def _configured(ws: WorkingSet, rsc: Resource) -> list[_Recurring]:
    found: list[_Recurring] = []
    seen: set[tuple[str, int]] = set()
    places = [(op.get("name"), op_interval_ms(op)) for op in rsc.ops_xml]
    for op in rsc.ops_xml:
        interval = op_interval_ms(op)
        name = op.get("name")
        if interval == 0 or name is None:
            continue
        if (name, interval) in seen or places.count((name, interval)) > 1:
            ws.warn("op-twice", f"operation {name} with interval {interval} ms of {rsc.id} is configured twice", rsc.id)
            continue
        seen.add((name, interval))
        if name in _NOT_RECURRING:
            ws.warn("op-recurring", f"{name} of {rsc.id} cannot recur; it is ignored", rsc.id)
            continue
        if not is_enabled(op):
            continue
        role = parse_role(op.get("role"))
        if op.get("role") is not None and role is Role.UNKNOWN:
            ws.warn("role", f"operation {op.get('id')}: '{op.get('role')}' is not a role", rsc.id)
            continue
        found.append(_Recurring(rsc, name, interval, role))
    return found


def create_recurring(ws: WorkingSet, rsc: Resource) -> None:
    if rsc.blocked or rsc.maintenance or not rsc.ops_xml:
        return
    start: Action | None = None
    node = rsc.assigned
    if node is not None and node.maintenance:
        return
    if node is not None and (rsc.next_role is not Role.STOPPED or not rsc.managed):
        start = start_action(ws, rsc, node, True)
    for op in _configured(ws, rsc):
        if start is not None and op.role is not Role.STOPPED:
            _for_active(ws, rsc, start, node, op)
        if op.role is Role.STOPPED:
            _for_inactive(ws, rsc, node, op)


def _exact(rsc: Resource, key: str, node: Node | None) -> list[Action]:
    return [action for action in rsc.action_by_key.get(key, ()) if action.node is node and node is not None]


def make_cancel(ws: WorkingSet, rsc: Resource, task: str, interval_ms: int, node: Node) -> Action:
    """A cancellation as an action of its own beside the recurring operation's."""
    key = op_key(rsc.id, task, interval_ms)
    for action in rsc.actions:
        if action.task == "cancel" and action.key == key and action.node is node:
            return action
    action = new_action(ws, rsc, key + "!cancel_0", "cancel", node, False)
    action.key = key
    action.cancel_task = task
    action.settings = None
    from .operations import operation_settings

    action.meta = {**operation_settings(ws, rsc, node, task, interval_ms).meta, "operation": task,
                   "interval": str(interval_ms)}
    return action


def _for_active(ws: WorkingSet, rsc: Resource, start: Action, node: Node | None, op: _Recurring) -> None:
    assert node is not None
    existing = _exact(rsc, op.key, node)
    optional = bool(existing) and not any(action.flags & RESCHEDULE for action in existing) and start.optional
    if op.role is Role.UNKNOWN:
        mismatch = rsc.next_role is Role.PROMOTED
    else:
        mismatch = op.role is not rsc.next_role
    if mismatch:
        if existing:
            _cancel_running(ws, rsc, node, op)
        return
    action = new_action(ws, rsc, op.key, op.name, node, optional)
    if not start.runnable or not node.online or node.unclean:
        action.flags &= ~RUNNABLE
    if rsc.next_role is Role.PROMOTED:
        action.meta["op_target_rc"] = "8"
    if rsc.managed:
        flags = FIRST_IMPLIES_THEN | UNRUNNABLE_FIRST_BLOCKS
        oc.add_ordering(ws, rsc, op_key(rsc.id, "start"), None, None, None, action, flags)
        oc.add_ordering(ws, rsc, op_key(rsc.id, "reload-agent"), None, None, None, action, flags)
        later = ORDERED | UNRUNNABLE_FIRST_BLOCKS
        if rsc.next_role is Role.PROMOTED:
            oc.add_ordering(ws, rsc, op_key(rsc.id, "promote"), None, rsc, None, action, later)
        elif rsc.role is Role.PROMOTED:
            oc.add_ordering(ws, rsc, op_key(rsc.id, "demote"), None, rsc, None, action, later)


def _cancel_running(ws: WorkingSet, rsc: Resource, node: Node, op: _Recurring) -> None:
    action = make_cancel(ws, rsc, op.name, op.interval_ms, node)
    if op.role in (Role.STARTED, Role.UNPROMOTED, Role.UNKNOWN):
        following = "promote" if rsc.next_role is Role.PROMOTED else "stop" if rsc.next_role is Role.STOPPED else None
    elif op.role is Role.PROMOTED:
        following = "stop" if rsc.next_role is Role.STOPPED else "demote"
    else:
        following = None
    if following is not None:
        oc.add_ordering(ws, rsc, None, action, rsc, op_key(rsc.id, following), None, UNRUNNABLE_FIRST_BLOCKS)


def _for_inactive(ws: WorkingSet, rsc: Resource, node: Node | None, op: _Recurring) -> None:
    """A monitor for the role Stopped runs wherever the resource is not."""
    if rsc.unique is False:
        return
    if node is not None:
        existing = _exact(rsc, op.key, node)
        if existing and (rsc.next_role is not Role.STOPPED):
            make_cancel(ws, rsc, op.name, op.interval_ms, node)
            action = make_cancel(ws, rsc, op.name, op.interval_ms, node)
            if rsc.next_role in (Role.STARTED, Role.UNPROMOTED):
                oc.add_ordering(ws, rsc, None, action, rsc, op_key(rsc.id, "start"), None, UNRUNNABLE_FIRST_BLOCKS)
            elif rsc.next_role is Role.PROMOTED:
                oc.add_ordering(ws, rsc, None, action, rsc, op_key(rsc.id, "promote"), None, UNRUNNABLE_FIRST_BLOCKS)
    for other in ws.ordered_nodes:
        if node is other and rsc.next_role is not Role.STOPPED:
            continue
        existing = _exact(rsc, op.key, other)
        optional = bool(existing)
        stopping = [action for action in rsc.action_by_key.get(op_key(rsc.id, "stop"), ()) if action.node is other]
        stopped = new_action(ws, rsc, op.key, op.name, other, optional)
        stopped.meta["op_target_rc"] = "7"
        if rsc.managed:
            probes = [action for action in rsc.action_by_key.get(op_key(rsc.id, "monitor"), ()) if action.node is other]
            for probe_action in probes:
                order(probe_action, stopped, UNRUNNABLE_FIRST_BLOCKS)
        if other in rsc.running_on or stopping:
            stops = [action for action in rsc.action_by_key.get(op_key(rsc.id, "stop"), ()) if action.node is other]
            if not stops and other in rsc.running_on:
                stops = [stop_action(ws, rsc, other, True)]
            for stop in stops:
                if not stop.flags & OPTIONAL:
                    stopped.flags &= ~OPTIONAL
                if not stop.flags & RUNNABLE:
                    stopped.flags &= ~RUNNABLE
                if rsc.managed:
                    order(stop, stopped, FIRST_IMPLIES_THEN | UNRUNNABLE_FIRST_BLOCKS)
        if not other.online or other.unclean:
            stopped.flags &= ~RUNNABLE
