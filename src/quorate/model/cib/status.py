"""The status section as Pacemaker writes it: node states, operation history, transient attributes, fail counts.

Every replica calls these functions when it applies an entry, so the outcome depends on the document and the arguments
only. They bump no version (the log's apply does) and tell whether something changed. Elements are reached from the
status section downwards by id, never by a search of the document: ids repeat from node to node.

What is *not* decided here: whether an entry may be applied, and when a node is in the cluster.
Source: status sections of Pacemaker 2.1.5 clusters; Pacemaker Explained, "Status"; Pacemaker Administration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import cast

from lxml import etree

from quorate.model.entries import ActionCancel, ActionRequest, ActionResult, HistoryCleared
from quorate.model.time import parse_interval_ms

from .digests import META_TIMEOUT, operation_digest
from .document import Cib, Element, parse_fragment

FEATURE_SET = "3.16.1"  # of Pacemaker 2.1.5: what agents see, and what stands beside each operation

COMPLETE, CANCELLED, TIMEOUT, NOT_SUPPORTED, ERROR, ERROR_HARD, ERROR_FATAL = 0, 1, 2, 3, 4, 5, 6
NOT_INSTALLED, NOT_CONNECTED, INVALID, PENDING = 7, 8, 9, -1
RC_UNKNOWN = 193  # of an operation that has not ended
RC_REFUSED = 99  # Pacemaker's "direct nack": not executed, nothing is known to have changed
INFINITY = 1_000_000
HISTORIES_MAX = 20_000  # places remembered
SET_TYPES = ("instance_attributes", "utilization")
_FAILED_STATUS = frozenset({TIMEOUT, NOT_SUPPORTED, ERROR, NOT_CONNECTED, NOT_INSTALLED, INVALID, 10, 11})

_ORIGIN = "do_update_resource"
_NOT_RECORDED = frozenset({"notify", "cancel", "delete", "meta-data"})
_MIGRATIONS = frozenset({"migrate_to", "migrate_from"})
_RELOADS = frozenset({"reload", "reload-agent"})


def _elements(path: str) -> Callable[..., list[Element]]:
    found = cast("Callable[..., list[Element]]", etree.XPath(path, smart_strings=False))
    return lambda top, **names: found(top, **{name: xml_text(value) for name, value in names.items()})


_not_xml = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Agents print and clients send what they like: characters that XML cannot hold become a question mark."""
    return _not_xml.sub("?", text)


_node_by_name = _elements("node_state[@uname=$name]")
_resource_by_id = _elements("lrm/lrm_resources/lrm_resource[@id=$id]")
_operation_by_id = _elements("lrm_rsc_op[@id=$id]")
_pair_by_name = _elements("transient_attributes/*[local-name()=$set]/nvpair[@name=$name]")
_sets_by_tag = _elements("transient_attributes/*[local-name()=$set]")
_configured_node = _elements("configuration/nodes/node[@uname=$name]")


# ---- node states ------------------------------------------------------------------------------------------------


def find_node_state(cib: Cib, name: str) -> Element | None:
    found = _node_by_name(cib.status, name=name)
    return found[0] if found else None


def node_names(cib: Cib) -> list[str]:
    """The nodes that the status section knows, in its order."""
    return [name for state in cib.status.iterchildren("node_state") if (name := state.get("uname"))]


def set_node_state(
    cib: Cib,
    name: str,
    id: str | None = None,
    *,
    in_ccm: bool | None = None,
    crmd: str | None = None,
    join: str | None = None,
    expected: str | None = None,
    origin: str | None = None,
) -> bool:
    """Create or change a node's state; None leaves an attribute as it is.

    `crmd` is online or offline, `join` member, down or pending, `expected` member or down, as Pacemaker 2.1.5 writes.
    """
    state, changed = _node_state(cib, name, id)
    wanted = (
        ("in_ccm", None if in_ccm is None else ("true" if in_ccm else "false")),
        ("crmd", crmd),
        ("crm-debug-origin", origin),
        ("join", join),
        ("expected", expected),
    )
    for attribute, value in wanted:
        changed |= _set(state, attribute, value)
    return changed


def erase_node(cib: Cib, name: str) -> bool:
    """Forget a node's history and transient attributes: it was fenced, has left, or its new manager knows nothing."""
    state = find_node_state(cib, name)
    if state is None:
        return False
    parts = [part for tag in ("lrm", "transient_attributes") for part in state.findall(tag)]
    for part in parts:
        state.remove(part)
    return bool(parts)


def remove_node_state(cib: Cib, name: str) -> bool:
    """Forget a node altogether (crm_node -R)."""
    state = find_node_state(cib, name)
    if state is None:
        return False
    cib.status.remove(state)
    return True


def replace_node_state(cib: Cib, element: Element | bytes) -> bool:
    """Take a node's own history and transient attributes from `element`, its node_state; whether it is a member stays
    as this document has it. Raises CibError or ValueError for what is no node_state."""
    source = parse_fragment(element) if isinstance(element, bytes) else element
    name = source.get("uname")
    if source.tag != "node_state" or not name:
        raise ValueError(f"<{source.tag}> is not a node_state with a uname")
    state, changed = _node_state(cib, name, source.get("id"))
    before = [etree.tostring(part) for part in _own_parts(state)]
    if not changed and before == [etree.tostring(part) for part in _own_parts(source)]:
        return False
    for part in _own_parts(state):
        state.remove(part)
    for part in _own_parts(source):
        state.append(parse_fragment(etree.tostring(part)))
    return True


def node_state_bytes(cib: Cib, name: str) -> bytes | None:
    """A node's node_state as XML, for its Hello; None when the status section does not know it."""
    state = find_node_state(cib, name)
    return None if state is None else etree.tostring(state)


def _own_parts(state: Element) -> list[Element]:
    return [part for part in state if part.tag in ("lrm", "transient_attributes")]


def _node_state(cib: Cib, name: str, id: str | None = None) -> tuple[Element, bool]:
    state = find_node_state(cib, name)
    if state is not None:
        if id is not None and state.get("id") != id:
            state.set("id", id)
            return state, True
        return state, False
    state = etree.SubElement(cib.status, "node_state")
    state.set("id", id or _configured_id(cib, name))
    state.set("uname", name)
    return state, True


def _configured_id(cib: Cib, name: str) -> str:
    """A cluster node's id stands in the configuration; a remote node's id is its name."""
    found = _configured_node(cib.root, name=name)
    return (found[0].get("id") if found else None) or name


def _set(element: Element, attribute: str, value: str | None) -> bool:
    if value is None or element.get(attribute) == value:
        return False
    element.set(attribute, value)
    return True


# ---- operation history --------------------------------------------------------------------------------------------


def transition_target(key: str) -> int | None:
    """The expected return code in a transition key "ACTION:TRANSITION:TARGETRC:UUID"; None if it is no such key."""
    parts = key.split(":", 3)
    try:
        return int(parts[2]) if len(parts) == 4 else None
    except ValueError:
        return None


def has_failed(rc: int, status: int, key: str) -> bool:
    """Whether a result counts as a failure: an op-status that says so, or another code than the expected one."""
    if status in (CANCELLED, PENDING):
        return False
    if status in _FAILED_STATUS:
        return True
    target = transition_target(key)
    return rc != (0 if target is None else target)


def record_pending(cib: Cib, request: ActionRequest, feature_set: str = FEATURE_SET, at: int = 0) -> bool:
    """Write that an operation has been asked for and has not ended. `at`: wall seconds, when known to every replica."""
    if request.operation in _NOT_RECORDED or request.meta.get("record-pending", "true").lower() in _FALSE:
        return False
    if request.agent_class == "" or request.operation == "":
        return False
    digest = request_digest(request)
    values = _operation_values(
        resource=request.resource, operation=request.operation, interval_ms=request.interval_ms, key=request.key,
        feature_set=feature_set, rc=RC_UNKNOWN, status=PENDING, reason="", executor=request.executor, call_id=-1,
    )  # fmt: skip
    if at:
        values |= {"last-rc-change": str(at)}
    values |= {"exec-time": "0", "queue-time": "0"}
    values |= _migration(request.operation, request.meta.get("migrate_source"), request.meta.get("migrate_target"))
    values |= {"op-digest": digest}
    resource = _resource(cib, request.node, request.resource, request.agent_class, request.provider, request.agent)
    identity = _plain_id(request.resource, request.operation, request.interval_ms)
    return _write_operation(resource, identity, values)


def record_result(cib: Cib, result: ActionResult, feature_set: str = FEATURE_SET) -> bool:
    """Write what came of an operation, in place of the one that it follows."""
    if result.status == CANCELLED:
        return _forget_recurring(cib, result.node, result.resource, result.operation, result.interval_ms)
    if result.operation in _NOT_RECORDED:
        return False
    if result.rc == RC_REFUSED:
        return _forget_pending(cib, result.node, result.resource, result.key)
    operation, interval_ms = result.operation, result.interval_ms
    if operation in _RELOADS:  # a reload is the new start of what runs, or the failure of a check
        operation = "start" if result.status == COMPLETE else "monitor"
    failed = has_failed(result.rc, result.status, result.key)
    values = _operation_values(
        resource=result.resource, operation=operation, interval_ms=interval_ms, key=result.key,
        feature_set=feature_set, rc=result.rc, status=result.status, reason=result.reason if failed else "",
        executor=result.executor, call_id=result.call_id,
    )  # fmt: skip
    changed_at = (result.changed_at or result.started_at) if interval_ms else (result.started_at or result.changed_at)
    values |= {
        "last-rc-change": str(changed_at),
        "exec-time": str(result.execution_ms),
        "queue-time": str(result.queue_ms),
    }
    values |= _migration(result.operation, result.migrate_source, result.migrate_target)
    values |= {"op-digest": result.digest}
    if result.restart_digest is not None:
        values |= {"op-force-restart": result.restart_parameters or "", "op-restart-digest": result.restart_digest}
    if result.secure_digest is not None:
        values |= {"op-secure-params": result.secure_parameters or "", "op-secure-digest": result.secure_digest}
    resource = _resource(cib, result.node, result.resource, result.agent_class, result.provider, result.agent)
    changed = False
    for identity in _record_ids(result.resource, operation, interval_ms, failed):
        changed |= _write_operation(resource, identity, values)
    if failed and interval_ms:
        changed |= _drop_pending(resource, _plain_id(result.resource, operation, interval_ms))
    return changed


def record_cancel(cib: Cib, cancel: ActionCancel) -> bool:
    """A recurring operation is no more: its record goes."""
    return _forget_recurring(cib, cancel.node, cancel.resource, cancel.operation, cancel.interval_ms)


def void_pending(cib: Cib, node: str, running: Collection[str] = ()) -> bool:
    """Drop a node's pending records whose transition key is not among those that it is executing: requests that were
    void at a view change, or died with the manager. What they were about to change is then unknown and is probed."""
    state = find_node_state(cib, node)
    changed = False
    for record in list(state.iter("lrm_rsc_op")) if state is not None else []:
        if record.get("op-status") == str(PENDING) and record.get("transition-key") not in running:
            _forget_record(record)
            changed = True
    return changed


def _forget_record(record: Element) -> None:
    """With the last operation goes all that is known of the resource: an older monitor alone would tell a lie."""
    resource = record.getparent()
    _remove(resource if resource is not None and record.get("id", "").endswith("_last_0") else record)


def pending_keys(cib: Cib, node: str) -> tuple[str, ...]:
    """Transition keys of a node's operations that have not ended, in the order of the document."""
    state = find_node_state(cib, node)
    if state is None:
        return ()
    records = state.iter("lrm_rsc_op")
    return tuple(record.get("transition-key", "") for record in records if record.get("op-status") == str(PENDING))


def request_digest(request: ActionRequest, without: Collection[str] = ()) -> str:
    """`op-digest` of a request; without some parameters it is the digest of what is not secret."""
    parameters = {name: value for name, value in request.parameters.items() if name not in without}
    if request.interval_ms:
        parameters[META_TIMEOUT] = request.meta.get("timeout") or str(request.timeout_ms)
    return operation_digest(parameters, interval_ms=request.interval_ms)


_FALSE = frozenset({"false", "off", "no", "n", "0"})


def _operation_values(
    *, resource: str, operation: str, interval_ms: int, key: str, feature_set: str, rc: int, status: int, reason: str,
    executor: str, call_id: int,
) -> dict[str, str]:  # fmt: skip
    return {
        "operation_key": f"{resource}_{operation}_{interval_ms}",
        "operation": operation,
        "crm-debug-origin": _ORIGIN,
        "crm_feature_set": feature_set,
        "transition-key": xml_text(key),
        "transition-magic": f"{status}:{rc};{xml_text(key)}",
        "exit-reason": xml_text(reason),
        "on_node": executor,
        "call-id": str(call_id),
        "rc-code": str(rc),
        "op-status": str(status),
        "interval": str(interval_ms),
    }


def _migration(operation: str, source: str | None, target: str | None) -> dict[str, str]:
    if operation not in _MIGRATIONS:
        return {}
    return {name: value for name, value in (("migrate_source", source), ("migrate_target", target)) if value}


def _plain_id(resource: str, operation: str, interval_ms: int) -> str:
    """The record of an operation that has not failed: the last one, except for monitors and migrations."""
    if interval_ms or operation in _MIGRATIONS:
        return f"{resource}_{operation}_{interval_ms}"
    return f"{resource}_last_0"


def _record_ids(resource: str, operation: str, interval_ms: int, failed: bool) -> tuple[str, ...]:
    """A migration has a record of its own; a failure is kept apart and, unless recurring, is the last operation too."""
    plain = _plain_id(resource, operation, interval_ms)
    if not failed or operation in _MIGRATIONS:
        return (plain,)
    failure = f"{resource}_last_failure_0"
    return (failure,) if interval_ms else (failure, plain)


def _write_operation(resource: Element, identity: str, values: dict[str, str]) -> bool:
    """A record is replaced as a whole: nothing of the former operation stays behind."""
    found = _operation_by_id(resource, id=identity)
    record = found[0] if found else etree.SubElement(resource, "lrm_rsc_op")
    wanted = {"id": identity, **values}
    if found:
        if dict(record.items()) == wanted:
            return False
        record.attrib.clear()
    for name, value in wanted.items():
        record.set(name, value)
    return True


def _resource(cib: Cib, node: str, id: str, agent_class: str, provider: str | None, agent: str) -> Element:
    state, _ = _node_state(cib, node)
    resource = _resource_in(cib, state, node, id)
    if resource is not None:
        _set(resource, "type", agent)
        _set(resource, "class", agent_class)
        _set(resource, "provider", provider)
        return resource
    lrm = state.find("lrm")
    if lrm is None:
        lrm = etree.Element("lrm", id=state.get("id", node))
        state.insert(0, lrm)  # before the transient attributes
    resources = lrm.find("lrm_resources")
    if resources is None:
        resources = etree.SubElement(lrm, "lrm_resources")
    resource = etree.SubElement(resources, "lrm_resource", id=id, type=agent)
    resource.set("class", agent_class)
    if provider:
        resource.set("provider", provider)
    return resource


def _find_resource(cib: Cib, node: str, id: str) -> Element | None:
    state = find_node_state(cib, node)
    return None if state is None else _resource_in(cib, state, node, id)


def _resource_in(cib: Cib, state: Element, node: str, id: str) -> Element | None:
    """Where it was the last time, if it still is there; else by looking through the node's resources."""
    known = cib.histories.get((node, id))
    if known is not None and known.get("id") == id:
        resources = known.getparent()
        lrm = resources.getparent() if resources is not None else None
        if lrm is not None and lrm.getparent() is state:
            return known
    found = _resource_by_id(state, id=id)
    if not found:
        cib.histories.pop((node, id), None)
        return None
    if len(cib.histories) >= HISTORIES_MAX:
        cib.histories.clear()
    cib.histories[(node, id)] = found[0]
    return found[0]


def _forget_recurring(cib: Cib, node: str, resource: str, operation: str, interval_ms: int) -> bool:
    element = _find_resource(cib, node, resource)
    if element is None or not interval_ms:
        return False
    found = _operation_by_id(element, id=f"{resource}_{operation}_{interval_ms}")
    for record in found:
        element.remove(record)
    return bool(found)


def _forget_pending(cib: Cib, node: str, resource: str, key: str) -> bool:
    """A refused operation leaves no failure; with its pending record gone the resource's state is unknown: probed."""
    element = _find_resource(cib, node, resource)
    if element is None:
        return False
    found = [record for record in element if record.get("transition-key") == key]
    found = [record for record in found if record.get("op-status") == str(PENDING)]
    for record in found:
        _forget_record(record)
    return bool(found)


def _drop_pending(resource: Element, identity: str) -> bool:
    found = [r for r in _operation_by_id(resource, id=identity) if r.get("op-status") == str(PENDING)]
    for record in found:
        resource.remove(record)
    return bool(found)


def _remove(element: Element) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


# ---- failures -------------------------------------------------------------------------------------------------------


def count_failure(cib: Cib, result: ActionResult) -> bool:
    """Raise the fail count of an operation that failed, as Pacemaker's controller does: recurring operations, promote
    and demote by one; a start by one, or to INFINITY when start-failure-is-fatal; a stop to INFINITY. Probes,
    migrations and reloads do not count, nor does what has on-fail=ignore."""
    if result.rc == RC_REFUSED or not has_failed(result.rc, result.status, result.key):
        return False
    fatal = False
    if result.operation == "start" and not result.interval_ms:
        fatal = _option(cib, "start-failure-is-fatal", "true").lower() not in _FALSE
    elif result.operation == "stop":
        fatal = True
    elif not result.interval_ms and result.operation not in ("promote", "demote", "asyncmon"):
        return False
    if _on_fail(cib, result) == "ignore":
        return False
    suffix = _failure_suffix(result.resource, result.operation, result.interval_ms)
    count = INFINITY if fatal else _score(get_attribute(cib, result.node, f"fail-count-{suffix}")) + 1
    at = str(result.changed_at or result.started_at)
    changed = set_attribute(cib, result.node, f"fail-count-{suffix}", _score_text(count))
    return set_attribute(cib, result.node, f"last-failure-{suffix}", at) or changed


def _failure_suffix(resource: str, operation: str, interval_ms: int) -> str:
    return f"{resource}#{operation}_{interval_ms}"


def _score(text: str | None) -> int:
    if not text:
        return 0
    if text.lstrip("+").upper() == "INFINITY":
        return INFINITY
    try:
        return int(text)
    except ValueError:
        return 0


def _score_text(score: int) -> str:
    return "INFINITY" if score >= INFINITY else str(score)


def _option(cib: Cib, name: str, default: str) -> str:
    """A cluster option as it stands in the first set that has it, rules aside."""
    crm_config = cib.section("crm_config")
    for pair in crm_config.iter("nvpair") if crm_config is not None else ():
        if pair.get("name") == name:
            return pair.get("value") or default
    return default


def _on_fail(cib: Cib, result: ActionResult) -> str | None:
    """on-fail as configured for this operation (own, template's, else the operations' default)."""
    primitive = _configured(cib, result.resource)
    while primitive is not None:
        for operation in primitive.iterfind("operations/op"):
            if operation.get("name") == result.operation and _same_interval(operation, result.interval_ms):
                value = operation.get("on-fail") or _pair(operation.iterfind("meta_attributes/nvpair"), "on-fail")
                if value is not None:
                    return value
        template = primitive.get("template")
        primitive = cib.find_id(template) if template else None
    defaults = cib.section("op_defaults")
    return None if defaults is None else _pair(defaults.iterfind("meta_attributes/nvpair"), "on-fail")


def _configured(cib: Cib, resource: str) -> Element | None:
    found = cib.ids().get(resource) or cib.ids().get(resource.rpartition(":")[0])
    return found[0] if found and found[0].tag == "primitive" else None


def _pair(pairs: Iterator[Element], name: str) -> str | None:
    return next((pair.get("value") for pair in pairs if pair.get("name") == name), None)


def _same_interval(operation: Element, interval_ms: int) -> bool:
    try:
        return parse_interval_ms(operation.get("interval"), 0) == interval_ms
    except ValueError:
        return False


def clear_history(cib: Cib, cleared: HistoryCleared) -> bool:
    """Forget operations and failures; what is then unknown gets probed.

    `failures_only` removes the kept failure; a resource whose last operation failed is forgotten whole. Otherwise the
    resource's whole history goes, or with `operation` that operation's records. None stands for all. Without `history`
    only the fail counts go, and the failures kept for them.
    """
    changed = False
    for state in cib.status.findall("node_state"):
        if cleared.node is not None and state.get("uname") != cleared.node:
            continue
        if cleared.history:
            changed |= _clear_operations(state, cleared)
        if cleared.failcounts:
            changed |= _clear_failcounts(state, cleared)
            if not cleared.history:
                changed |= _clear_kept_failures(state, cleared)
    return changed


def _is_of(resource: str | None, id: str) -> bool:
    """A clone's plain name stands for its numbered instances too."""
    return resource is None or id == resource or id.rpartition(":")[0] == resource


def _clear_operations(state: Element, cleared: HistoryCleared) -> bool:
    changed = False
    for element in state.findall("lrm/lrm_resources/lrm_resource"):
        if not _is_of(cleared.resource, element.get("id", "")):
            continue
        doomed = [record for record in element if _is_cleared(record, cleared)]
        if cleared.operation is None and not cleared.failures_only:
            _remove(element)
            changed = True
        elif cleared.failures_only and any(record.get("id", "").endswith("_last_0") for record in doomed):
            _remove(element)
            changed = True
        else:
            for record in doomed:
                element.remove(record)
            changed |= bool(doomed)
    return changed


def _clear_kept_failures(state: Element, cleared: HistoryCleared) -> bool:
    """With a fail count goes the failure that was kept for it; what is known of the resource stays."""
    changed = False
    for element in state.findall("lrm/lrm_resources/lrm_resource"):
        id = element.get("id", "")
        if _is_of(cleared.resource, id):
            for record in _operation_by_id(element, id=f"{id}_last_failure_0"):
                if _is_operation(record, cleared):
                    element.remove(record)
                    changed = True
    return changed


def _is_operation(record: Element, cleared: HistoryCleared) -> bool:
    if cleared.operation is not None and record.get("operation") != cleared.operation:
        return False
    return cleared.interval_ms is None or record.get("interval") == str(cleared.interval_ms)


def _is_cleared(record: Element, cleared: HistoryCleared) -> bool:
    if not _is_operation(record, cleared):
        return False
    if not cleared.failures_only:
        return True
    try:
        rc, status = int(record.get("rc-code", "0")), int(record.get("op-status", "0"))
    except ValueError:
        return True
    return record.get("id", "").endswith("_last_failure_0") or has_failed(rc, status, record.get("transition-key", ""))


_failure_name = re.compile(r"(?:fail-count|last-failure)-(?P<resource>.+?)(?:#(?P<operation>[^#]+)_(?P<interval>\d+))?")


def _clear_failcounts(state: Element, cleared: HistoryCleared) -> bool:
    def is_doomed(name: str) -> bool:
        match = _failure_name.fullmatch(name)
        if match is None or not _is_of(cleared.resource, match["resource"]):
            return False
        if cleared.operation is not None and match["operation"] not in (None, cleared.operation):
            return False
        return cleared.interval_ms is None or match["interval"] in (None, str(cleared.interval_ms))

    return _delete_pairs(state, "instance_attributes", is_doomed)


# ---- transient attributes -----------------------------------------------------------------------------------------


def get_attribute(cib: Cib, node: str, name: str, set_type: str = "instance_attributes") -> str | None:
    state = find_node_state(cib, node)
    found = _pair_by_name(state, set=set_type, name=name) if state is not None else []
    return found[0].get("value") if found else None


def attributes(cib: Cib, node: str, set_type: str = "instance_attributes") -> dict[str, str]:
    """A node's transient attributes, in the order of the document."""
    state = find_node_state(cib, node)
    sets = _sets_by_tag(state, set=set_type) if state is not None else []
    return {pair.get("name", ""): pair.get("value", "") for part in sets for pair in part.iterchildren("nvpair")}


def set_attribute(
    cib: Cib,
    node: str,
    name: str,
    value: str | None,
    set_type: str = "instance_attributes",
    set_id: str | None = None,
) -> bool:
    """Set a transient attribute, or delete it (None). `set_type`: instance_attributes or utilization."""
    if value is None:
        state = find_node_state(cib, node)
        return state is not None and _delete_pairs(state, set_type, lambda other: other == name)
    state, _ = _node_state(cib, node)
    found = _pair_by_name(state, set=set_type, name=name)
    if found:
        return _set(found[0], "value", xml_text(value))
    if set_type not in SET_TYPES:
        return False
    parent = _attribute_set(state, set_type, set_id)
    pair = etree.SubElement(parent, "nvpair", id=_sanitized(f"{parent.get('id')}-{name}"), name=xml_text(name))
    pair.set("value", xml_text(value))
    return True


def delete_attributes(cib: Cib, node: str, pattern: str, set_type: str = "instance_attributes") -> bool:
    """Delete the attributes whose names match a regular expression anywhere. A malformed one matches nothing."""
    try:
        expression = re.compile(pattern)
    except re.error:
        return False
    state = find_node_state(cib, node)
    return state is not None and _delete_pairs(state, set_type, lambda name: expression.search(name) is not None)


def _attribute_set(state: Element, set_type: str, set_id: str | None) -> Element:
    top = state.find("transient_attributes")
    if top is None:
        top = etree.SubElement(state, "transient_attributes", id=state.get("id", ""))
    for part in top.iterchildren(set_type):
        if set_id is None or part.get("id") == set_id:
            return part
    plain = f"status-{state.get('id')}"
    own = plain if set_type == "instance_attributes" else f"{plain}-{set_type}"
    return etree.SubElement(top, set_type, id=_sanitized(set_id or own))


def _sanitized(id: str) -> str:
    """As Pacemaker does it: characters that no XML id may have become a dot."""
    return xml_text(id).replace(":", ".").replace("#", ".")


def _delete_pairs(state: Element, set_type: str, is_doomed: Callable[[str], bool]) -> bool:
    changed = False
    for part in _sets_by_tag(state, set=set_type):
        for pair in part.findall("nvpair"):
            if is_doomed(pair.get("name", "")):
                part.remove(pair)
                changed = True
    return changed
