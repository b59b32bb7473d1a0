"""Notifications: instances of a clone with notify=true are told before and after what happens to any of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .actions import (
    FIRST_IMPLIES_THEN,
    OPTIONAL,
    ORDERED,
    PSEUDO,
    RUNNABLE,
    Action,
    find_action,
    new_action,
    notify_key,
    order,
)
from .scores import INFINITY
from .working_set import Kind, Node, Resource, Role, WorkingSet


@dataclass(slots=True, eq=False)
class Notifier:
    """Everything about the notifications of one kind of action of one clone."""

    task: str
    pre: Action | None = None
    pre_done: Action | None = None
    post: Action | None = None
    post_done: Action | None = None
    entries: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # state or task -> [(resource, node name)]
    keys: dict[str, str] = field(default_factory=dict)
    allowed: dict[int, int] | None = None


def _pseudo(ws: WorkingSet, rsc: Resource, action: Action, task: str, kind: str) -> Action:
    made = new_action(ws, rsc, notify_key(rsc.id, kind, action.task), task, None, bool(action.flags & OPTIONAL))
    made.flags |= PSEUDO
    made.meta["notify_key_type"] = kind
    made.meta["notify_key_operation"] = action.task
    return made


def _notifier(ws: WorkingSet, rsc: Resource, task: str, action: Action | None, complete: Action | None) -> Notifier | None:
    if not rsc.notify:
        return None
    found = Notifier(task)
    if action is not None:
        found.pre = _pseudo(ws, rsc, action, "notify", "pre")
        found.pre_done = _pseudo(ws, rsc, action, "notified", "confirmed-pre")
        for made in (found.pre, found.pre_done):
            made.flags |= RUNNABLE
            made.meta["notify_type"] = "pre"
            made.meta["notify_operation"] = task
        order(found.pre, found.pre_done, ORDERED)
        order(found.pre_done, action, ORDERED)
    if complete is not None:
        found.post = _pseudo(ws, rsc, complete, "notify", "post")
        found.post_done = _pseudo(ws, rsc, complete, "notified", "confirmed-post")
        for made in (found.post, found.post_done):
            made.synapse_priority = INFINITY
            if complete.flags & RUNNABLE:
                made.flags |= RUNNABLE
            else:
                made.flags &= ~RUNNABLE
            made.meta["notify_type"] = "post"
            made.meta["notify_operation"] = task
        order(complete, found.post, FIRST_IMPLIES_THEN)
        order(found.post, found.post_done, FIRST_IMPLIES_THEN)
    if action is not None and complete is not None:
        order(found.pre_done, found.post, ORDERED)
    return found


def create_pseudo_operations(
    ws: WorkingSet, clone: Resource, start: Action, started: Action, stop: Action, stopped: Action,
) -> None:
    info = clone.clone
    assert info is not None
    if info.start_notifier is None:
        info.start_notifier = _notifier(ws, clone, "start", start, started)
    if info.stop_notifier is None:
        info.stop_notifier = _notifier(ws, clone, "stop", stop, stopped)
        if info.start_notifier is not None and info.stop_notifier is not None:
            order(info.stop_notifier.post_done, info.start_notifier.pre, ORDERED)


def create_promotion_operations(
    ws: WorkingSet, clone: Resource, promote: Action, promoted: Action, demote: Action, demoted: Action,
) -> None:
    info = clone.clone
    assert info is not None
    if info.promote_notifier is None:
        info.promote_notifier = _notifier(ws, clone, "promote", promote, promoted)
        if info.promote_notifier is not None and info.start_notifier is not None:
            order(info.start_notifier.post_done, info.promote_notifier.pre, ORDERED)
        if info.promote_notifier is not None and info.stop_notifier is not None:
            order(info.stop_notifier.post_done, info.promote_notifier.pre, ORDERED)
    if info.demote_notifier is None:
        info.demote_notifier = _notifier(ws, clone, "demote", demote, demoted)
        if info.demote_notifier is not None:
            for later in (info.stop_notifier, info.start_notifier, info.promote_notifier):
                if later is not None:
                    order(info.demote_notifier.post_done, later.pre, ORDERED)


# ---- the notifications themselves -------------------------------------------------------------------------------


def create_notifications(ws: WorkingSet, clone: Resource) -> None:
    """Made last, when it is known what happens."""
    info = clone.clone
    if info is None or not clone.notify:
        return
    for notifier in (info.start_notifier, info.stop_notifier, info.promote_notifier, info.demote_notifier):
        if notifier is not None:
            _collect(ws, clone, True, notifier)
            _make_keys(ws, clone, notifier)
            _make_actions(ws, clone, notifier)


_STATE = {Role.STOPPED: "inactive", Role.STARTED: "active", Role.UNPROMOTED: "unpromoted", Role.PROMOTED: "promoted"}
_TASKS = ("start", "stop", "promote", "demote")


def _collect(ws: WorkingSet, rsc: Resource, activity: bool, notifier: Notifier) -> None:
    if notifier.allowed is None:
        notifier.allowed = rsc.allowed
    if rsc.children:
        for child in rsc.children:
            _collect(ws, child, activity, notifier)
        return
    entries = notifier.entries
    node = rsc.running_on[0].name if rsc.running_on else ""
    state = _STATE.get(rsc.role)
    if state is not None:
        entries.setdefault(state, []).append((rsc.id, node))
        if state in ("promoted", "unpromoted"):
            entries.setdefault("active", []).append((rsc.id, node))
    if not activity:
        return
    for action in rsc.actions:
        if action.flags & OPTIONAL or action.node is None or action.task not in _TASKS:
            continue
        if not action.flags & RUNNABLE and not (action.task == "stop" and action.node.unclean):
            continue
        entries.setdefault(action.task, []).append((rsc.id, action.node.name))


def _number(entry: tuple[str, str]) -> tuple[str, int, str]:
    name, _, number = entry[0].rpartition(":")
    return (name or entry[0], int(number) if number.isdigit() else -1, entry[1])


def _texts(entries: list[tuple[str, str]]) -> tuple[str, str]:
    ordered = sorted(entries, key=_number)
    return (" ".join(name for name, _ in ordered) or " ", " ".join(node for _, node in ordered if node) or " ")


def _make_keys(ws: WorkingSet, rsc: Resource, notifier: Notifier) -> None:
    keys, entries = notifier.keys, notifier.entries
    required = bool(entries.get(notifier.task))
    for task in _TASKS:
        keys[f"notify_{task}_resource"], keys[f"notify_{task}_uname"] = _texts(entries.get(task, []))
    keys["notify_active_resource"], keys["notify_active_uname"] = _texts(entries.get("active", []))
    promoted = _texts(entries.get("promoted", []))
    for name in ("promoted", "master"):
        keys[f"notify_{name}_resource"], keys[f"notify_{name}_uname"] = promoted
    unpromoted = _texts(entries.get("unpromoted", []))
    for name in ("unpromoted", "slave"):
        keys[f"notify_{name}_resource"], keys[f"notify_{name}_uname"] = unpromoted
    keys["notify_inactive_resource"] = _texts(entries.get("inactive", []))[0]
    nodes = sorted((ws.nodes[index].name for index in notifier.allowed or {}), key=_node_order)
    keys["notify_available_uname"] = " ".join(nodes) or " "
    everyone = [node for node in ws.nodes]
    keys["notify_all_uname"] = " ".join(sorted((node.name for node in everyone), key=_node_order)) or " "
    if rsc.meta.get("container-attribute-target") == "host":
        hosts: list[str] = []
        for node in sorted(everyone, key=lambda entry: _node_order(entry.name)):
            host = node.name
            if node.is_guest and node.remote_resource is not None and node.remote_resource.container is not None:
                places = node.remote_resource.container.running_on
                host = places[0].name if places else host
            hosts.append(host)
        keys["notify_all_hosts"] = " ".join(hosts)
    if required:
        for made in (notifier.pre, notifier.pre_done, notifier.post, notifier.post_done):
            if made is not None:
                made.flags &= ~OPTIONAL


def _node_order(name: str) -> str:
    return name


def _make_actions(ws: WorkingSet, rsc: Resource, notifier: Notifier) -> None:
    if rsc.children:
        for child in rsc.children:
            _make_actions(ws, child, notifier)
        return
    for action in list(rsc.actions):
        if not action.flags & OPTIONAL and action.node is not None and action.task in _TASKS:
            action.meta.update(notifier.keys)
    task = notifier.task
    if task != "stop" and not notifier.entries.get(task):
        return
    if rsc.role is not Role.STOPPED and task in ("stop", "demote"):
        stop = find_action(rsc, None, "stop", None)
        for current in rsc.running_on:
            if stop is not None and stop.flags & PSEUDO and (current.unclean or current.remote_requires_reset):
                continue
            _notify(ws, rsc, current, notifier.pre, notifier.pre_done, notifier)
            if task == "demote" or stop is None or stop.flags & OPTIONAL:
                _notify_post(ws, rsc, current, notifier)
    if rsc.next_role is not Role.STOPPED and task in ("start", "promote"):
        start = find_action(rsc, None, "start", None)
        if rsc.assigned is None:
            return
        if task != "start" or start is None or start.flags & OPTIONAL:
            _notify(ws, rsc, rsc.assigned, notifier.pre, notifier.pre_done, notifier)
        _notify_post(ws, rsc, rsc.assigned, notifier)


def _notify(
    ws: WorkingSet, rsc: Resource, node: Node | None, cause: Action | None, done: Action | None, notifier: Notifier,
) -> Action | None:
    if cause is None or done is None or node is None or not node.online or not cause.flags & RUNNABLE:
        return None
    key = notify_key(rsc.id, cause.meta["notify_type"], cause.meta["notify_operation"])
    action = new_action(ws, rsc, key, cause.task, node, bool(cause.flags & OPTIONAL))
    for name, value in (*cause.meta.items(), *notifier.keys.items()):
        action.meta.setdefault(name, value)
    order(cause, action, ORDERED)
    order(action, done, ORDERED)
    return action


def _notify_post(ws: WorkingSet, rsc: Resource, node: Node, notifier: Notifier) -> None:
    action = _notify(ws, rsc, node, notifier.post, notifier.post_done, notifier)
    if action is not None:
        action.synapse_priority = INFINITY
    if notifier.post_done is None:
        return
    for monitor in rsc.actions:
        if monitor.meta.get("interval", "0") != "0" and monitor.task != "cancel":
            order(notifier.post_done, monitor, ORDERED)


def order_after_fencing(ws: WorkingSet, stop: Action, rsc: Resource, fencing: Action) -> None:
    """A stop that fencing implies is told to the others after the fencing."""
    notifier = _notifier(ws, rsc, "stop", None, fencing)
    if notifier is None:
        return
    _collect(ws, rsc, False, notifier)
    assert stop.node is not None
    notifier.keys["notify_stop_resource"] = rsc.id
    notifier.keys["notify_stop_uname"] = stop.node.name
    top = rsc.top
    _make_actions(ws, top, notifier)


def has_notifications(rsc: Resource) -> bool:
    return rsc.kind is Kind.CLONE and rsc.notify
