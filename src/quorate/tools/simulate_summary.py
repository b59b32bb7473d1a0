"""What a transition will do, a line for each resource and node: crm_simulate's "Transition Summary".

Source: crm_simulate's output on its own regression cases.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.core.scheduler.actions import OPTIONAL, RUNNABLE, Action, find_actions, op_key
from quorate.core.scheduler.assignment import active_node
from quorate.core.scheduler.working_set import Kind, Node, Resource, Role, WorkingSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line: what happens to a resource, where, and why."""

    verb: str
    resource: str
    details: str
    reason: str


def node_changes(ws: WorkingSet) -> list[str]:
    """Fencings, newest decision first. (A shutdown shows in what it stops.)"""
    found: list[str] = []
    for action in reversed(ws.actions):
        if action.rsc is not None or action.flags & OPTIONAL or action.node is None:
            continue
        name = action.node.name
        if action.node.is_guest and action.node.remote_resource is not None:
            container = action.node.remote_resource.container
            if container is not None:
                name = f"{name} (resource: {container.id})"
        if action.task == "stonith":
            reason = f" '{action.reason}'" if action.reason else ""
            found.append(f"Fence ({action.meta.get('stonith_action', ws.fencing_action)}) {name}{reason}")
    return found


def resource_changes(ws: WorkingSet) -> list[Change]:
    found: list[Change] = []
    for rsc in ws.resources:
        _walk(rsc, found)
    return found


def lines(ws: WorkingSet) -> list[str]:
    """The whole summary. Columns are as wide as Pacemaker makes them while it goes through the list."""
    changes = resource_changes(ws)
    name_width = detail_width = 5
    for change in changes:
        if len(change.resource) > name_width:
            name_width = len(change.resource) + 2
        detail_width = max(detail_width, len(change.details))
    return node_changes(ws) + [
        f"{change.verb:<8}   {change.resource:<{name_width}}   ( {change.details:>{detail_width}} ){change.reason}"
        for change in changes
    ]


def _walk(rsc: Resource, found: list[Change]) -> None:
    if rsc.kind is Kind.PRIMITIVE:
        _primitive(rsc, found)
        return
    if rsc.kind is Kind.BUNDLE and rsc.bundle is not None:
        for replica in rsc.bundle.replicas:
            for part in (replica.ip, replica.container, replica.remote, replica.child):
                if part is not None:
                    _walk(part, found)
        return
    for child in rsc.children:
        _walk(child, found)


def _first(rsc: Resource, node: Node | None, task: str) -> Action | None:
    if node is None:
        actions = find_actions(rsc, op_key(rsc.id, task))
    else:
        actions = [a for a in reversed(rsc.action_by_key.get(op_key(rsc.id, task), ())) if a.node is node]
    return actions[0] if actions else None


def _optional(action: Action | None) -> bool:
    return action is None or bool(action.flags & OPTIONAL)


def _runnable(action: Action | None) -> bool:
    return action is not None and bool(action.flags & RUNNABLE)


def _item(
    found: list[Change], verb: str, rsc: Resource, origin: Node | None, destination: Node | None, action: Action | None,
    source: Action | None,
) -> None:
    if action is None:
        return
    if source is None:
        source = action
    now, following = rsc.role.text, rsc.next_role.text
    need_role = rsc.role > Role.STARTED or rsc.next_role > Role.UNPROMOTED
    same_host = origin is not None and origin is destination
    same_role = rsc.role is rsc.next_role
    here = origin.name if origin is not None else ""
    there = destination.name if destination is not None else ""
    if need_role and origin is None:
        details = f"{now} -> {following} {there}"
    elif origin is None:
        details = there
    elif need_role and destination is None:
        details = f"{now} {here}"
    elif destination is None:
        details = here
    elif need_role and same_role and same_host:
        details = f"{now} {here}"
    elif same_role and same_host:
        details = here
    elif need_role and same_role:
        details = f"{here} -> {there} {now}"
    elif same_role:
        details = f"{here} -> {there}"
    elif same_host:
        details = f"{now} -> {following} {here}"
    else:
        details = f"{now} {here} -> {following} {there}"
    if source.reason is not None and not action.flags & RUNNABLE:
        reason = f"  due to {source.reason} (blocked)"
    elif source.reason is not None:
        reason = f"  due to {source.reason}"
    elif not action.flags & RUNNABLE:
        reason = "  blocked"
    else:
        reason = ""
    found.append(Change(verb=verb, resource=rsc.id, details=details, reason=reason))


def _primitive(rsc: Resource, found: list[Change]) -> None:
    following = rsc.assigned
    current = active_node(rsc)[0]
    if not rsc.managed or (current is None and following is None):
        return
    moving = current is not None and following is not None and current is not following
    start = _first(rsc, following, "start") if following is not None else _first(rsc, None, "start")
    if start is None or not start.flags & RUNNABLE or rsc.stop_unexpected:
        stop = _first(rsc, None, "stop")
    else:
        stop = _first(rsc, current, "stop") if current is not None else None
    promote = _first(rsc, following, "promote") if following is not None else _first(rsc, None, "promote")
    demote = _first(rsc, following, "demote") if following is not None else _first(rsc, None, "demote")
    if rsc.role is rsc.next_role:
        migrate = _first(rsc, following, "migrate_from")
        if migrate is not None and _runnable(migrate) and start is not None and start.pseudo:
            _item(found, "Migrate", rsc, current, following, start, None)
        elif rsc.reload:
            _item(found, "Reload", rsc, current, following, start or _first(rsc, None, "reload-agent"), None)
        elif start is None or start.flags & OPTIONAL:
            if demote is not None and promote is not None and not demote.flags & OPTIONAL and not promote.flags & OPTIONAL:
                _item(found, "Re-promote", rsc, current, following, promote, demote)
        elif not start.flags & RUNNABLE:
            _item(found, "Stop", rsc, current, None, stop, stop if stop is not None and stop.reason is not None else start)
        elif moving:
            _item(found, "Recover" if rsc.failed else "Move", rsc, current, following, stop, None)
        elif rsc.failed:
            _item(found, "Recover", rsc, current, following, stop, None)
        else:
            _item(found, "Restart", rsc, current, following, start, None)
        return
    if stop is not None and (rsc.next_role is Role.STOPPED or (start is not None and not start.flags & RUNNABLE)):
        for node in rsc.running_on:
            on_node = _first(rsc, node, "stop")
            if on_node is not None:
                _item(found, "Stop", rsc, node, None, on_node, on_node if on_node.reason is not None else start)
    elif stop is not None and rsc.failed and rsc.stop_on_failure:
        _item(found, "Recover", rsc, current, following, stop, start)
    elif moving:
        _item(found, "Move", rsc, current, following, stop, None)
    elif rsc.reload:
        _item(found, "Reload", rsc, current, following, start, None)
    elif stop is not None and not stop.flags & OPTIONAL:
        _item(found, "Restart", rsc, current, following, start, None)
    elif rsc.role is Role.PROMOTED:
        _item(found, "Demote", rsc, current, following, demote, None)
    elif rsc.next_role is Role.PROMOTED:
        _item(found, "Promote", rsc, current, following, promote, None)
    elif rsc.next_role > Role.STOPPED:
        _item(found, "Start", rsc, current, following, start, None)
