"""Reads operation histories: where each resource is active and in which role, what failed, what that demands.

Each entry of a resource's history on a node is taken in the order it happened; it moves the role and, when it failed,
raises the demand (ban, stop, fencing, ...) which `_apply` then turns into facts of the working set.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from . import configuration, status
from .failcounts import Count, fail_count, parse_score_integer
from .operations import operation_settings
from .reasons import Cause, Reason
from .scores import INFINITY, add_scores
from .working_set import (
    Kind,
    MultipleActive,
    Node,
    NodeKind,
    OnFail,
    Operation,
    Requires,
    Resource,
    Role,
    WorkingSet,
)

if TYPE_CHECKING:
    from lxml import etree

# agent results
OK, UNKNOWN_ERROR, INVALID_PARAM, UNIMPLEMENTED, PRIVILEGE, NOT_INSTALLED, NOT_CONFIGURED, NOT_RUNNING = range(8)
RUNNING_PROMOTED, FAILED_PROMOTED = 8, 9
DEGRADED, DEGRADED_PROMOTED = 190, 191
RC_UNKNOWN = 193
# execution states
(DONE, CANCELLED, TIMEOUT, NOT_SUPPORTED, ERROR, ERROR_HARD, ERROR_FATAL, EXEC_NOT_INSTALLED, NOT_CONNECTED,
 INVALID) = range(10)
PENDING = -1
_INSTANCE = re.compile(r":\d+$")


def parse_transition_key(text: str | None) -> tuple[int, int, int, str] | None:
    """(action id, transition id, target rc, uuid)"""
    if text is None:
        return None
    parts = text.split(":", 3)
    if len(parts) != 4:
        return None
    try:
        return int(parts[0]), int(parts[1]), int(parts[2]), parts[3]
    except ValueError:
        return None


def parse_operation(element: etree._Element, node: Node, history_id: str) -> Operation | None:
    """An lrm_rsc_op as a value; None when it is unusable."""
    get = element.get
    task = get("operation")
    identifier = get("id")
    if task is None or identifier is None:
        return None
    key = get("operation_key") or identifier
    change = get("last-rc-change")
    transition = parse_transition_key(get("transition-key"))
    target = transition[2] if transition is not None else -1
    interval = parse_score_integer(get("interval") or "0")
    return Operation(
        id=identifier, key=key, task=task, interval_ms=interval, call_id=parse_score_integer(get("call-id") or "0"),
        rc=parse_score_integer(get("rc-code") or str(RC_UNKNOWN)), status=parse_score_integer(get("op-status") or "0"),
        node=node, history_id=history_id, xml=element, target_rc=target, expected_rc=target,
        exit_reason=get("exit-reason") or "",
        last_change=parse_score_integer(change) if change is not None else None,
    )


def is_probe(op: Operation) -> bool:
    return op.task == "monitor" and op.interval_ms == 0


def compare_operations(a: Operation, b: Operation, same_node: bool = True) -> int:
    """Order in which two results happened."""
    if a.id == b.id and a.node is b.node:
        return 0
    if not same_node and a.last_change is not None and b.last_change is not None:
        if a.last_change != b.last_change:
            return -1 if a.last_change < b.last_change else 1
    if a.call_id == -1 and b.call_id == -1:
        return 0
    if a.call_id >= 0 and a.call_id < b.call_id:
        return -1
    if b.call_id >= 0 and a.call_id > b.call_id:
        return 1
    if b.call_id >= 0 and a.call_id == b.call_id:
        first = a.last_change if a.last_change is not None else -1
        second = b.last_change if b.last_change is not None else -1
        if first >= 0 and first < second:
            return -1
        if second >= 0 and first > second:
            return 1
        return 0
    one, two = _magic(a), _magic(b)
    if one is None or two is None:
        return 0
    if one[3] != two[3] or one[1] == two[1]:
        if b.call_id == -1:
            return -1
        if a.call_id == -1:
            return 1
        return 0
    if (one[1] >= 0 and one[1] < two[1]) or two[1] == -1:
        return -1
    if (two[1] >= 0 and one[1] > two[1]) or one[1] == -1:
        return 1
    return 0


def _magic(op: Operation) -> tuple[int, int, int, str] | None:
    text = op.xml.get("transition-magic")
    if text is None:
        return parse_transition_key(op.xml.get("transition-key"))
    _, _, key = text.partition(";")
    return parse_transition_key(key)


_PENDING_TEXT = {
    "start": "Starting", "stop": "Stopping", "migrate_to": "Migrating", "migrate_from": "Migrating",
    "promote": "Promoting", "demote": "Demoting", "monitor": "Monitoring",
}
_by_call = functools.cmp_to_key(compare_operations)


def unpack_node_history(ws: WorkingSet, node: Node, state: etree._Element) -> None:
    """Every resource's history on `node`."""
    lrm = state.find("lrm")
    if lrm is None:
        return
    resources = lrm.find("lrm_resources")
    if resources is None:
        return
    entries = ws.extra.setdefault("histories", {})
    elements = [element for element in resources if element.tag == "lrm_resource" and element.get("id")]
    parsed: list[tuple[etree._Element, list[Operation]]] = []
    for element in elements:
        operations = []
        for child in element:
            if child.tag == "lrm_rsc_op":
                operation = parse_operation(child, node, str(element.get("id")))
                if operation is not None:
                    operations.append(operation)
        entries.setdefault((node.name, element.get("id")), []).extend(operations)
        parsed.append((element, operations))
    for element, operations in parsed:
        rsc = _unpack_resource_history(ws, node, element, operations)
        if rsc is not None and rsc.removed:
            container = element.get("container")
            if container is not None:
                rsc.meta["container"] = container
                rsc.removed_filler = True
                ws.extra.setdefault("removed_fillers", []).append(rsc)
    _tie_removed_fillers(ws)


def _tie_removed_fillers(ws: WorkingSet) -> None:
    for rsc in ws.extra.get("removed_fillers", ()):
        if rsc.container is None:
            container = ws.resource_by_id.get(rsc.meta["container"])
            if container is not None:
                rsc.container = container
                container.fillers.append(rsc)


def _unpack_resource_history(
    ws: WorkingSet, node: Node, element: etree._Element, operations: list[Operation]
) -> Resource | None:
    identifier = str(element.get("id"))
    lock_time = parse_score_integer(element.get("shutdown-lock") or "0") if ws.shutdown_lock else 0
    if not operations and lock_time <= 0:
        return None
    rsc = _find_resource(ws, node, identifier)
    if rsc is None:
        if not operations:
            return None
        rsc = _removed_resource(ws, node, element)
        if rsc is None:
            return None
    if lock_time > 0:
        _shutdown_lock(ws, rsc, node, lock_time)
    saved = rsc.role
    rsc.role = Role.UNKNOWN
    ordered = sorted(operations, key=_by_call)
    rsc.operations.extend(ordered)
    reader = _Reader(ws, rsc, node)
    for operation in ordered:
        reader.read(operation)
    _note_recurring(ws, rsc, node, ordered)
    _apply(ws, rsc, node, reader.on_fail)
    target = configuration.target_role(rsc)
    if target is not None and (rsc.next_role is Role.UNKNOWN or target < rsc.next_role):
        set_next_role(rsc, target, "target-role")
    if saved > rsc.role:
        rsc.role = saved
    return rsc


def active_span(ordered: list[Operation]) -> tuple[int, int]:
    """Positions of the entries that say the resource was (re)started and stopped last; -1 when none does."""
    start = stop = implied_monitor = implied_clone = -1
    for position, op in enumerate(ordered):
        task = op.task
        if task == "stop" and op.xml.get("op-status") == "0":
            stop = position
        elif task in ("start", "migrate_from"):
            start = position
        elif implied_monitor <= stop and task == "monitor":
            if op.xml.get("rc-code") in ("0", "8"):
                implied_monitor = position
        elif task in ("promote", "demote"):
            implied_clone = position
    if start == -1:
        if implied_clone != -1:
            start = implied_clone
        elif implied_monitor != -1:
            start = implied_monitor
    return start, stop


def _note_recurring(ws: WorkingSet, rsc: Resource, node: Node, ordered: list[Operation]) -> None:
    if not node.online:
        return
    start, stop = active_span(ordered)
    for position, op in enumerate(ordered):
        if start < stop and position <= stop or position < start or op.interval_ms == 0:
            continue
        if op.xml.get("op-status") == "-1":
            continue
        ws.early_actions.append((op.task, rsc, node, f"{rsc.id}_{op.task}_{op.interval_ms}"))


def set_next_role(rsc: Resource, role: Role, why: str) -> None:
    rsc.next_role = role
    rsc.next_role_reason = why


# ---- which resource ---------------------------------------------------------------------------------------------


def _find_resource(ws: WorkingSet, node: Node, identifier: str) -> Resource | None:
    rsc = ws.resource_by_id.get(identifier)
    parent: Resource | None = None
    if rsc is None:
        first = ws.resource_by_id.get(f"{identifier}:0")
        if first is not None and not first.unique and first.kind is Kind.PRIMITIVE:
            rsc = first
            parent = first.top
        else:
            base = _INSTANCE.sub("", identifier)
            if base != identifier:
                first = ws.resource_by_id.get(f"{base}:0")
                if first is not None and not first.unique and first.kind is Kind.PRIMITIVE:
                    rsc = first
                    parent = first.top
    elif rsc.kind is not Kind.PRIMITIVE:
        return None
    else:
        parent = rsc.top
    if parent is not None and parent.kind is Kind.CLONE and not parent.unique:
        assert rsc is not None
        if rsc.is_bundled:
            bundle = rsc.top_with_bundle
            rsc = None
            assert bundle.bundle is not None
            for replica in bundle.bundle.replicas:
                if replica.node is node:
                    rsc = replica.child
        else:
            rsc = _anonymous_instance(ws, node, parent, _INSTANCE.sub("", identifier))
    if rsc is not None and identifier != rsc.id and identifier != rsc.history_id:
        rsc.history_id = identifier
    return rsc


def find_member(instance: Resource, base: str) -> Resource | None:
    """The primitive in `instance` whose configured id is `base`."""
    if instance.kind is Kind.PRIMITIVE:
        return instance if _INSTANCE.sub("", instance.id) == base else None
    for child in instance.children:
        found = find_member(child, base)
        if found is not None:
            return found
    return None


def _locations(rsc: Resource) -> list[Node]:
    """Where an instance is active or about to be."""
    if rsc.kind is Kind.PRIMITIVE:
        found = list(rsc.running_on)
        if rsc.pending_node is not None and rsc.pending_node not in found:
            found.append(rsc.pending_node)
        return found
    found = []
    for child in rsc.children:
        for node in _locations(child):
            if node not in found:
                found.append(node)
    return found


def _anonymous_instance(ws: WorkingSet, node: Node, clone: Resource, base: str) -> Resource | None:
    cache: dict[tuple[int, str], int] = ws.extra.setdefault("first_free", {})
    start = cache.get((clone.index, base), 0)
    found: Resource | None = None
    inactive: Resource | None = None
    skip_inactive = False
    still_prefix = True
    children = clone.children
    by_node = ws.extra.setdefault("instance_on", {}).get((clone.index, node.index))
    if by_node is not None:
        member = find_member(by_node, base)
        if member is not None:
            if member.running_on:
                skip_inactive = True
            else:
                found = member
    else:
        for position in range(start, len(children)):
            child = children[position]
            locations = _locations(child)
            if locations:
                if node in locations and locations[0] is node:
                    member = find_member(child, base)
                    if member is not None:
                        if member.running_on:
                            skip_inactive = True
                        else:
                            found = member
                        break
                if still_prefix:
                    cache[(clone.index, base)] = start
            else:
                still_prefix = False
                if not skip_inactive and inactive is None and not child.removed:
                    candidate = find_member(child, base)
                    if candidate is not None and candidate.pending_node is not None and (
                        candidate.pending_node is not node
                    ):
                        candidate = None
                    inactive = candidate
    if found is None and not skip_inactive and inactive is not None:
        found = inactive
    if (
        found is not None and found.requires < Requires.FENCING and (not node.online or node.unclean)
        and not node.is_guest and not _is_everywhere(ws, clone)
    ):
        found = None
    if found is None:
        instance = configuration.create_instance(ws, clone)
        if instance is not None:
            found = find_member(instance, base)
    return found


def _is_everywhere(ws: WorkingSet, clone: Resource) -> bool:
    assert clone.clone is not None
    return not clone.unique and clone.clone.clone_max == len(ws.nodes)


def _removed_resource(ws: WorkingSet, node: Node, element: etree._Element) -> Resource | None:
    """A resource that only the history knows."""
    from lxml import etree as xml

    primitive = xml.Element("primitive")
    for name in ("id", "class", "provider", "type"):
        value = element.get(name)
        if value is not None:
            primitive.set(name, value)
    identifier = str(element.get("id"))
    if identifier in ws.resource_by_id:
        return None
    rsc = configuration.unpack_resource(ws, primitive, None, None, True)
    if rsc is None:
        return None
    if rsc.is_remote_connection and identifier in ws.node_by_name:
        remote = ws.node_by_name[identifier]
        if remote.remote_resource is None:
            remote.remote_resource = rsc
            rsc.remote_node = remote
    elif rsc.is_remote_connection:
        remote = configuration.add_node(ws, identifier, identifier, NodeKind.REMOTE)
        remote.configured = False
        remote.remote_resource = rsc
        rsc.remote_node = remote
        remote.shutdown = True
        ws.have_remote_nodes = True
    container = element.get("container")
    if container is not None:
        rsc.removed_filler = True
    rsc.removed = True
    if not ws.stop_removed_resources:
        rsc.managed = False
    else:
        for target in ws.nodes:
            rsc.allowed[target.index] = -INFINITY
    return rsc


def _shutdown_lock(ws: WorkingSet, rsc: Resource, node: Node, lock_time: int) -> None:
    expires = lock_time + ws.shutdown_lock_ms // 1000
    if ws.shutdown_lock_ms > 0 and ws.now >= expires:
        ws.extra.setdefault("expired_locks", []).append((rsc, node))
        return
    if ws.shutdown_lock_ms > 0:
        ws.recheck(expires)
    rsc.lock_node = node
    rsc.lock_time = lock_time


# ---- one history ------------------------------------------------------------------------------------------------


class _Reader:
    """Takes in one resource's entries on one node, oldest first."""

    __slots__ = ("ws", "rsc", "node", "last_failure", "on_fail")

    def __init__(self, ws: WorkingSet, rsc: Resource, node: Node) -> None:
        self.ws, self.rsc, self.node = ws, rsc, node
        self.last_failure: Operation | None = None
        self.on_fail = OnFail.IGNORE

    def read(self, op: Operation) -> None:
        ws, rsc, node = self.ws, self.rsc, self.node
        if op.task in ("notify", "meta-data", "notified"):
            return
        if op.status != EXEC_NOT_INSTALLED and op.status != PENDING and (op.rc != op.expected_rc):
            op.expired = self._expired(op)
        self._remap(op)
        if op.expired and op.expected_rc != op.rc and op.status != PENDING:
            if op.interval_ms == 0:
                return
            if node.online and not node.unclean:
                ws.extra.setdefault("expired_recurring_ops", []).append(op)
                return
        if not rsc.is_bundled and _mask_probe(op):
            self._settle(op, op.expected_rc)
            self._record(op)
            ban(ws, rsc.top, node, "masked-probe-failure")
            return
        if op.status == PENDING:
            self._pending(op)
            return
        if op.status == DONE:
            self._settle(op, op.rc)
            return
        settings = operation_settings(ws, rsc, node, op.task, op.interval_ms)
        demand = settings.on_fail
        if op.status == EXEC_NOT_INSTALLED:
            if demand is OnFail.IGNORE:
                self.on_fail = OnFail.BAN
            ban(ws, rsc.top, node, "hard-error")
            self._failed(op, demand, settings.role_after_failure)
            return
        if op.status == NOT_CONNECTED and node.is_remote_or_guest:
            connection = node.remote_resource
            if connection is not None and connection.managed:
                connection.failed = True
                connection.stop_on_failure = True
        if demand is OnFail.IGNORE or (demand is OnFail.RESTART_CONTAINER and op.task == "stop"):
            self._settle(op, op.expected_rc)
            rsc.failure_ignored = True
            self._record(op)
            if demand is OnFail.RESTART_CONTAINER and self.on_fail <= OnFail.RESTART_CONTAINER:
                self.on_fail = demand
            return
        self._failed(op, demand, settings.role_after_failure)
        if op.status == ERROR_HARD:
            ban(ws, rsc.top, node, "hard-error")
        elif op.status == ERROR_FATAL:
            for target in ws.nodes:
                ban(ws, rsc.top, target, "fatal-error")

    def _record(self, op: Operation) -> None:
        if op.failed:
            return
        op.failed = True
        self.rsc.failures.append(op)
        self.ws.failures.append(op)

    # -- what a result means

    def _remap(self, op: Operation) -> None:
        rsc = self.rsc
        if op.rc in (DEGRADED, DEGRADED_PROMOTED):
            op.rc = OK if op.rc == DEGRADED else RUNNING_PROMOTED
            if not self.node.shutdown or self.node.online:
                self._record(op)
        probe = is_probe(op)
        if not rsc.is_bundled and _mask_probe(op) and (op.status != DONE or op.rc != NOT_RUNNING):
            op.status = DONE
            op.rc = NOT_RUNNING
        if op.status not in (DONE, ERROR):
            return
        op.status = DONE
        if op.expected_rc < 0:
            op.status = DONE if op.rc == OK or op.rc == NOT_RUNNING and probe else ERROR
            if op.rc == NOT_RUNNING and probe:
                op.expected_rc = NOT_RUNNING
            elif op.rc == OK:
                op.expected_rc = OK
        elif op.expected_rc != op.rc:
            op.status = ERROR
        if op.rc == OK:
            if probe and op.expected_rc == NOT_RUNNING:
                op.status = DONE
        elif op.rc == NOT_RUNNING:
            if probe or op.expected_rc == op.rc or not rsc.managed:
                op.status = DONE
                rsc.role = Role.STOPPED
                self.on_fail = OnFail.IGNORE
                set_next_role(rsc, Role.UNKNOWN, "not running")
        elif op.rc == RUNNING_PROMOTED:
            if probe and op.rc != op.expected_rc:
                op.status = DONE
            if not op.expired or op.rc == op.expected_rc:
                rsc.role = Role.PROMOTED
        elif op.rc == FAILED_PROMOTED:
            if not op.expired:
                rsc.role = Role.PROMOTED
            op.status = ERROR
        elif op.rc == NOT_CONFIGURED:
            op.status = ERROR_FATAL
        elif op.rc == UNIMPLEMENTED:
            if op.interval_ms > 0:
                op.status = NOT_SUPPORTED
            else:
                self._block_if_unrecoverable(op)
                op.status = ERROR_HARD
        elif op.rc in (NOT_INSTALLED, INVALID_PARAM, PRIVILEGE):
            self._block_if_unrecoverable(op)
            op.status = ERROR_HARD
        elif op.status == DONE:
            op.status = ERROR

    def _block_if_unrecoverable(self, op: Operation) -> None:
        if op.expired or op.task != "stop" or can_fence(self.ws, self.node):
            return
        self.rsc.blocked = True

    def _expired(self, op: Operation) -> bool:
        ws, rsc, node = self.ws, self.rsc, self.node
        expired = False
        last_failure_entry = op.id.endswith("_last_failure_0")
        clear: str | None = None
        unexpired = 0
        if rsc.failure_timeout_ms > 0 and op.last_change is not None:
            timeout = rsc.failure_timeout_ms // 1000
            if ws.now >= op.last_change + timeout and not self._keeps_failure(op):
                expired = True
            effective = fail_count(ws, node, rsc, Count.EFFECTIVE, op)
            unexpired = effective.count
            if effective.last_failure and ws.now < effective.last_failure + timeout + 1:
                ws.recheck(effective.last_failure + timeout)
        if expired:
            if fail_count(ws, node, rsc, Count.DEFAULT, op).count:
                if unexpired == 0:
                    clear = "it expired"
                else:
                    expired = False
            elif last_failure_entry and rsc.remote_reconnect_ms:
                clear = "reconnect interval is set"
        if not expired and last_failure_entry and op.task in ("start", "monitor"):
            from .digests import Change, compare

            if compare(ws, rsc, node, op.xml, op.task, op.interval_ms) in (Change.RESTART, Change.ALL):
                clear = "resource parameters have changed"
        if clear is not None:
            ws.early_actions.append(("clear_failcount", rsc, node, clear))
        if expired and op.interval_ms == 0 and op.task == "monitor" and op.rc in (
            OK, NOT_RUNNING, RUNNING_PROMOTED, DEGRADED, DEGRADED_PROMOTED
        ):
            expired = False
        return expired

    def _keeps_failure(self, op: Operation) -> bool:
        """The failed connection to a remote node must not be forgotten before the node was fenced."""
        rsc = self.rsc
        if self.ws.fencing_enabled and rsc.is_remote_connection and rsc.remote_reconnect_ms and (
            op.interval_ms != 0 and op.task == "monitor"
        ):
            remote = self.ws.node_by_name.get(rsc.id)
            if remote is not None and not remote.remote_was_fenced:
                return True
        return False

    def _pending(self, op: Operation) -> None:
        rsc, node = self.rsc, self.node
        if self.last_failure is not None and op.interval_ms and self.last_failure.key == op.key and (
            (self.last_failure.last_change or 0) >= (op.last_change or 0)
        ):
            return
        if op.task == "start":
            rsc.start_pending = True
            set_active(rsc)
        elif op.task == "promote":
            rsc.role = Role.PROMOTED
        elif op.task == "migrate_to" and node.unclean:
            target = self.ws.node_by_name.get(op.xml.get("migrate_target") or "")
            if target is not None:
                require_stop_of(self.ws, rsc, target)
        if rsc.pending_action is None:
            rsc.pending_action = "probe" if is_probe(op) else op.task
            if not is_probe(op):
                rsc.pending_task = _PENDING_TEXT.get(op.task)
                rsc.pending_node = node

    def _settle(self, op: Operation, rc: int) -> None:
        """A result that counts as success moves the role."""
        rsc = self.rsc
        clears = False
        if rc == NOT_INSTALLED or (not rsc.is_bundled and _mask_probe(op)):
            rsc.role = Role.STOPPED
        elif rc == NOT_RUNNING:
            clears = True
        elif op.task == "monitor":
            if self.last_failure is not None and self.last_failure.key == op.key:
                clears = True
            if rsc.role < Role.STARTED:
                set_active(rsc)
        elif op.task == "start":
            rsc.role = Role.STARTED
            clears = True
        elif op.task == "stop":
            rsc.role = Role.STOPPED
            if self.node in rsc.dangling:
                rsc.dangling.remove(self.node)
            clears = True
        elif op.task == "promote":
            rsc.role = Role.PROMOTED
            clears = True
        elif op.task == "demote":
            clears = self.on_fail is OnFail.DEMOTE
            rsc.role = Role.UNPROMOTED
        elif op.task == "migrate_from":
            rsc.role = Role.STARTED
            clears = True
        elif op.task == "migrate_to":
            self._migrated_away(op)
        elif rsc.role < Role.STARTED:
            set_active(rsc)
        if not clears:
            return
        if self.on_fail in (OnFail.BLOCK, OnFail.IGNORE, OnFail.DEMOTE, OnFail.RESTART, OnFail.RESTART_CONTAINER) or (
            self.on_fail is OnFail.RESET_REMOTE and not rsc.remote_reconnect_ms
        ):
            self.on_fail = OnFail.IGNORE
            set_next_role(rsc, Role.UNKNOWN, "clear past failures")

    def _failed(self, op: Operation, demand: OnFail, role_after: Role) -> None:
        ws, rsc, node = self.ws, self.rsc, self.node
        self.last_failure = op
        self._record(op)
        if self.on_fail < demand:
            self.on_fail = demand
        if op.task == "stop":
            ban(ws, rsc, node, "__stop_fail__")
        elif op.task == "migrate_to":
            self._migrate_to_failed(op)
        elif op.task == "migrate_from":
            self._migrate_from_failed(op)
        elif op.task == "promote":
            rsc.role = Role.PROMOTED
        elif op.task == "demote":
            if demand is OnFail.BLOCK:
                rsc.role = Role.PROMOTED
                set_next_role(rsc, Role.STOPPED, "demote with on-fail=block")
            elif op.rc == NOT_RUNNING:
                rsc.role = Role.STOPPED
            else:
                rsc.role = Role.UNPROMOTED
        if is_probe(op) and op.rc == NOT_INSTALLED:
            rsc.role = Role.STOPPED
        elif rsc.role < Role.STARTED:
            set_active(rsc)
        if role_after is not Role.STARTED and rsc.next_role < role_after:
            set_next_role(rsc, role_after, "failure")
        if role_after is Role.STOPPED:
            subject = rsc.top if rsc.top.kind is Kind.CLONE and not rsc.top.unique else rsc
            ban_everywhere(ws, subject)

    # -- live migration

    def _history(self, node_name: str) -> list[Operation]:
        entries: dict[tuple[str, str], list[Operation]] = self.ws.extra.get("histories", {})
        name = self.rsc.history_id
        found = entries.get((node_name, name))
        if found is None:
            found = _read_ahead(self.ws, node_name, name)
        return found

    def _newer_state(self, node_name: str, op: Operation) -> bool:
        """Whether that node's history tells something newer than the migration."""
        operations = self._history(node_name)
        if all(entry.rc == RC_UNKNOWN for entry in operations):
            return False
        same = node_name == self.node.name
        for entry in operations:
            if is_probe(entry) and entry.rc == NOT_RUNNING and compare_operations(entry, op, same) > 0:
                return True
        return self._acted_after(node_name, op)

    def _unknown_on(self, node_name: str) -> bool:
        return not any(entry.rc != RC_UNKNOWN for entry in self._history(node_name))

    def _acted_after(self, node_name: str, op: Operation) -> bool:
        same = node_name == self.node.name
        return any(
            entry.task in ("start", "stop", "migrate_to", "migrate_from")
            and entry.xml is not op.xml and compare_operations(entry, op, same) > 0
            for entry in self._history(node_name)
        )

    def _ends(self, op: Operation) -> tuple[str, str] | None:
        source, target = op.xml.get("migrate_source"), op.xml.get("migrate_target")
        if source is None or target is None:
            return None
        return source, target

    def _migrated_away(self, op: Operation) -> None:
        ws, rsc = self.ws, self.rsc
        ends = self._ends(op)
        if ends is None:
            return
        source, target = ends
        source_newer = self._acted_after(source, op)
        target_newer = self._newer_state(target, op)
        if source_newer and target_newer:
            return
        arrival = next(
            (entry for entry in self._history(target)
             if entry.task == "migrate_from" and entry.xml.get("migrate_source") == source), None)
        if arrival is not None and arrival.xml.get("rc-code") == "0" and arrival.xml.get("op-status", "0") == "0":
            rsc.role = Role.STOPPED
            node = ws.node_by_name.get(source)
            if node is not None:
                rsc.dangling.append(node)
            return
        rsc.role = Role.STARTED
        target_node = ws.node_by_name.get(target)
        active_on_target = not target_newer and target_node is not None and target_node.online
        if arrival is not None and parse_score_integer(arrival.xml.get("op-status") or "0") != PENDING:
            if active_on_target:
                assert target_node is not None
                add_running(ws, rsc, target_node)
            else:
                rsc.failed = True
                rsc.stop_on_failure = True
            return
        if active_on_target:
            assert target_node is not None
            source_node = ws.node_by_name.get(source)
            add_running(ws, rsc, target_node)
            if source_node is not None and source_node.online:
                rsc.partial_target = target_node
                rsc.partial_source = source_node
        elif not source_newer:
            rsc.failed = True
            rsc.stop_on_failure = True
            rsc.migratable = False

    def _migrate_to_failed(self, op: Operation) -> None:
        ws, rsc = self.ws, self.rsc
        ends = self._ends(op)
        if ends is None:
            return
        source, target = ends
        rsc.role = Role.STARTED
        target_newer = self._newer_state(target, op)
        source_newer = self._newer_state(source, op)
        if not target_newer:
            target_node = ws.node_by_name.get(target)
            if target_node is not None and target_node.online:
                add_running(ws, rsc, target_node)
        elif not source_newer:
            rsc.dangling.append(self.node)

    def _migrate_from_failed(self, op: Operation) -> None:
        ws, rsc = self.ws, self.rsc
        ends = self._ends(op)
        if ends is None:
            return
        source, target = ends
        rsc.role = Role.STARTED
        source_newer = self._newer_state(source, op)
        if not source_newer:
            source_node = ws.node_by_name.get(source)
            if source_node is not None and source_node.online:
                add_running(ws, rsc, source_node)


def _read_ahead(ws: WorkingSet, node_name: str, identifier: str) -> list[Operation]:
    """Entries of a node whose history is read later."""
    cache: dict[tuple[str, str], list[Operation]] = ws.extra.setdefault("read_ahead", {})
    found = cache.get((node_name, identifier))
    if found is not None:
        return found
    found = []
    node = ws.node_by_name.get(node_name)
    section = ws.cib.find("status")
    if section is not None and node is not None:
        for state in section:
            if state.tag == "node_state" and state.get("uname") == node_name:
                for element in state.iterfind("lrm/lrm_resources/lrm_resource"):
                    if element.get("id") == identifier:
                        for child in element:
                            operation = parse_operation(child, node, identifier)
                            if operation is not None:
                                found.append(operation)
    cache[(node_name, identifier)] = found
    return found


def _mask_probe(op: Operation) -> bool:
    if not is_probe(op):
        return False
    rc = op.xml.get("rc-code")
    return rc in ("2", "5") or op.xml.get("op-status") == "7"


def can_fence(ws: WorkingSet, node: Node | None) -> bool:
    if node is not None and node.is_guest:
        assert node.remote_resource is not None and node.remote_resource.container is not None
        hosts = node.remote_resource.container.running_on
        return all(host.online or can_fence(ws, host) for host in hosts)
    if not ws.fencing_enabled or not ws.have_fencing_device:
        return False
    if ws.has_quorum or ws.quorum_policy.value == "ignore":
        return True
    if node is None:
        return False
    return node.online


def set_active(rsc: Resource) -> None:
    rsc.role = Role.UNPROMOTED if rsc.top.promotable else Role.STARTED


# ---- what a history demands -------------------------------------------------------------------------------------


def _apply(ws: WorkingSet, rsc: Resource, node: Node, on_fail: OnFail) -> None:
    active = rsc.role > Role.STOPPED
    if rsc.role is not Role.UNKNOWN:
        holder: Resource | None = rsc
        while holder is not None:
            holder.known_on.setdefault(node.index, node)
            if holder.unique:
                break
            holder = holder.parent
    if active and not node.online and not node.maintenance and rsc.managed:
        reason = f"{rsc.id} is thought to be active there"
        if node.is_guest:
            rsc.failed = True
            status.fence_node(ws, node, reason)
        elif ws.fencing_enabled:
            connection = node.remote_resource
            if node.is_remote and connection is not None and not connection.failed:
                node.unseen = True
                reason = (
                    f"{rsc.id} is active there (fencing will be revoked if remote connection can be re-established "
                    "elsewhere)"
                )
            status.fence_node(ws, node, reason)
    saved = on_fail
    if node.unclean:
        on_fail = OnFail.IGNORE
    _demand(ws, rsc, node, on_fail, active)
    if rsc.failed and rsc.is_remote_connection:
        remote = ws.node_by_name.get(rsc.id)
        if remote is not None and remote.unclean:
            remote.unseen = False
    if rsc.role not in (Role.STOPPED, Role.UNKNOWN):
        add_running(ws, rsc, node, failed=saved is not OnFail.IGNORE)
        if on_fail in (OnFail.DEMOTE, OnFail.BLOCK):
            rsc.failed = True
        elif on_fail is not OnFail.IGNORE:
            rsc.failed = True
            rsc.stop_on_failure = True
    elif ":" in rsc.history_id and not rsc.unique and rsc.parent is not None:
        rsc.history_id = rsc.id  # numbered by an older version
    else:
        ws.early_actions = [
            entry for entry in ws.early_actions if entry[0] != "stop" or entry[1] is not rsc or entry[2] is not node]
    if rsc.role is Role.STOPPED and rsc.partial_source is node and rsc.partial_target is not None:
        rsc.role = Role.STARTED


def _demand(ws: WorkingSet, rsc: Resource, node: Node, on_fail: OnFail, active: bool) -> None:
    if on_fail is OnFail.IGNORE:
        return
    if on_fail is OnFail.DEMOTE:
        rsc.failed = True
        rsc.demote_promoted = True
        ws.early_actions.append(("demote", rsc, node, ""))
    elif on_fail is OnFail.FENCE:
        status.fence_node(ws, node, f"{rsc.id} failed there")
    elif on_fail is OnFail.STANDBY:
        node.standby = True
        node.standby_onfail = True
    elif on_fail is OnFail.BLOCK:
        rsc.managed = False
        rsc.blocked = True
    elif on_fail is OnFail.BAN:
        ban(ws, rsc, node, "__action_migration_auto__")
    elif on_fail is OnFail.STOP:
        set_next_role(rsc, Role.STOPPED, "on-fail=stop")
    elif on_fail is OnFail.RESTART:
        if active:
            rsc.failed = True
            rsc.stop_on_failure = True
            require_stop_of(ws, rsc, node)
    elif on_fail is OnFail.RESTART_CONTAINER:
        rsc.failed = True
        rsc.stop_on_failure = True
        if rsc.container is not None and rsc.is_bundled:
            ws.extra.setdefault("containers_to_stop", []).append(rsc.container)
        elif rsc.container is not None:
            require_stop_of(ws, rsc.container, node)
        elif active:
            require_stop_of(ws, rsc, node)
    elif on_fail is OnFail.RESET_REMOTE:
        rsc.failed = True
        rsc.stop_on_failure = True
        if ws.fencing_enabled and rsc.is_remote_connection:
            remote = ws.node_by_name.get(rsc.id)
            if remote is not None and remote.is_remote and not remote.remote_was_fenced:
                status.fence_node(ws, remote, "remote connection is unrecoverable")
        if rsc.role > Role.STOPPED:
            require_stop_of(ws, rsc, node)
        if rsc.remote_reconnect_ms:
            set_next_role(rsc, Role.STOPPED, "remote reset")


def require_stop_of(ws: WorkingSet, rsc: Resource, node: Node) -> None:
    ws.early_actions.append(("stop", rsc, node, ""))


def adjust(rsc: Resource, node: Node, score: int) -> None:
    """Add to the score of a node, for the resource and all it contains."""
    for child in rsc.children:
        adjust(child, node, score)
    rsc.allowed[node.index] = add_scores(rsc.allowed.get(node.index, 0), score)


def ban(ws: WorkingSet, rsc: Resource, node: Node, why: str) -> None:
    """The history forbids the node."""
    adjust(rsc, node, -INFINITY)
    rsc.reasons.append(Reason(Cause.FAILURE, why, node.index, -INFINITY))


def ban_everywhere(ws: WorkingSet, rsc: Resource) -> None:
    for index in list(rsc.allowed):
        rsc.allowed[index] = -INFINITY
    for child in rsc.children:
        ban_everywhere(ws, child)


def add_running(ws: WorkingSet, rsc: Resource, node: Node, failed: bool = False) -> None:
    """Record that a primitive is active on a node, and what follows for those around it."""
    if node in rsc.running_on:
        return
    rsc.running_on.append(node)
    node.running.append(rsc)
    if rsc.kind is Kind.PRIMITIVE and not failed and rsc.priority and rsc.priority > 0:
        _count_priority(ws, rsc, node)
    elif rsc.kind is Kind.PRIMITIVE and not failed:
        _count_priority(ws, rsc, node)
    if node.maintenance:
        rsc.managed = False
        rsc.maintenance = True
    clone = rsc.enclosing_clone
    if clone is not None and not clone.unique and rsc.parent is not None:
        instance = rsc
        while instance.parent is not clone and instance.parent is not None:
            instance = instance.parent
        ws.extra.setdefault("instance_on", {}).setdefault((clone.index, node.index), instance)
    holder: Resource | None = rsc.parent
    if not rsc.managed:
        adjust(rsc, node, INFINITY)
        rsc.reasons.append(Reason(Cause.UNMANAGED, None, node.index, INFINITY))
        while holder is not None and node not in holder.running_on:
            holder.running_on.append(node)
            holder = holder.parent
        return
    if len(rsc.running_on) > 1 and _is_multiply_active(ws, rsc):
        _recover_multiple(ws, rsc)
    while holder is not None and node not in holder.running_on:
        holder.running_on.append(node)
        holder = holder.parent


def _is_multiply_active(ws: WorkingSet, rsc: Resource) -> bool:
    return rsc.kind is Kind.PRIMITIVE


def _recover_multiple(ws: WorkingSet, rsc: Resource) -> None:
    if rsc.multiple_active is MultipleActive.STOP_ONLY:
        for index in rsc.allowed:
            rsc.allowed[index] = -INFINITY
    elif rsc.multiple_active is MultipleActive.BLOCK:
        rsc.managed = False
        rsc.blocked = True
        if rsc.parent is not None and rsc.parent.kind in (Kind.GROUP, Kind.BUNDLE) and (
            rsc.parent.multiple_active is MultipleActive.BLOCK
        ):
            for sibling in rsc.parent.children:
                sibling.managed = False
                sibling.blocked = True


def _count_priority(ws: WorkingSet, rsc: Resource, node: Node) -> None:
    if not ws.priority_fencing_delay_ms:
        return
    points = rsc.priority
    if points == 0:
        return
    if rsc.role is Role.PROMOTED:
        points += 1
    node.priority += points
    if node.is_guest and node.remote_resource is not None and node.remote_resource.container is not None:
        for host in node.remote_resource.container.running_on:
            host.priority += points
