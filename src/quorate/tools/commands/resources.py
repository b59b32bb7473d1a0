"""Resources: finding them as users name them, where they run, their parameters and operations.

Configuration changes go through the CIB; what needs the running cluster (cleanup, refresh, fail, wait) is a request to
it. Ids of new attribute sets and pairs are crm_resource's. Source: crm_resource's manual, its output on CIB_file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from quorate.core.scheduler import WorkingSet, unpack
from quorate.core.scheduler.working_set import Kind, Node, Resource, Role
from quorate.model.cib import parse_fragment

from ..backends import Backend
from ..failure import CommandFailed, Exit
from ..monitor.resources import bundle_parts, nodes_of

INSTANCE, META, UTILIZATION = "instance_attributes", "meta_attributes", "utilization"
RESOURCE_TAGS = ("primitive", "group", "clone", "master", "bundle", "template")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    node: str
    promoted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOperation:
    key: str
    node: str
    call: str
    rc: str
    status: int
    last_change: int | None
    exec_ms: str | None
    resource: Resource | None
    resource_id: str
    agent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterChange:
    """What was done: the owner (maybe the parent of the resource asked for), ids, whether the set is new."""

    owner: str
    redirected_from: str | None
    id: str
    set_id: str | None
    name: str
    value: str | None


def look(backend: Backend, now: float) -> WorkingSet:
    return unpack(backend.cib().root, int(now))


def not_found(name: str) -> CommandFailed:
    return CommandFailed(Exit.NOSUCH, f"Resource '{name}' not found")


def require(ws: WorkingSet, name: str, *, anonymous: bool = False) -> Resource:
    """By id, or by the name that instances of a clone share (with `anonymous`: of an anonymous one). CommandFailed(105)."""
    found = find(ws, name, anonymous=anonymous)
    if found is None:
        raise not_found(name)
    return found


def find(ws: WorkingSet, name: str, *, anonymous: bool = False) -> Resource | None:
    exact = ws.resource_by_id.get(name)
    if exact is not None:
        return exact
    for rsc in ws.all_resources:
        if not (anonymous and rsc.unique) and name in (rsc.history_id, rsc.xml.get("id")):
            return rsc
    return None


def locations(rsc: Resource, asked: str) -> list[Location]:
    """Where it runs; for a clone, and for the common name of its instances, of all instances."""
    collective = rsc if rsc.kind in (Kind.CLONE, Kind.BUNDLE) else rsc.parent
    if collective is not None and (
        collective is rsc or (collective.kind is Kind.CLONE and asked == rsc.history_id != rsc.id)
    ):
        found = [_at(node, child) for child in collective.children for node in nodes_of(child)]
        if collective.kind is Kind.BUNDLE:
            found = [_at(node, part) for part in bundle_parts(collective) for node in part.running_on]
        return found[::-1]  # the last instance first, as crm_resource has it
    return [_at(node, rsc) for node in reversed(nodes_of(rsc))]


def _at(node: Node, rsc: Resource) -> Location:
    return Location(node=node.name, promoted=rsc.kind is Kind.PRIMITIVE and rsc.role is Role.PROMOTED)


def raw_names(ws: WorkingSet) -> list[str]:
    """Ids of all primitives, instances by their own."""
    names: list[str] = []
    for rsc in ws.resources:
        _collect_raw(rsc, names)
    return names


def _collect_raw(rsc: Resource, names: list[str]) -> None:
    if rsc.kind is Kind.PRIMITIVE:
        names.append(rsc.id)
        return
    if rsc.bundle is not None:
        for replica in rsc.bundle.replicas:
            names += [part.id for part in (replica.container, replica.ip, replica.remote) if part is not None]
        names += [r.child.id for r in rsc.bundle.replicas if r.child is not None]
        return
    for child in rsc.children:
        _collect_raw(child, names)


# ---- operations ------------------------------------------------------------------------------------------------------


def operations(ws: WorkingSet, *, resource: str | None, node: str | None, active: bool) -> Iterator[RecordedOperation]:
    """The recorded operations by node, in the order of their calls. `active`: only since the last start."""
    for state in ws.cib.iterfind("status/node_state"):
        known = ws.node_by_name.get(state.get("uname", "")) or ws.node_by_id.get(state.get("id", ""))
        if known is None or (node is not None and known.name != node):
            continue
        if not known.online and not ws.fencing_enabled:
            continue
        for entry in state.iterfind("lrm/lrm_resources/lrm_resource"):
            if resource is not None and entry.get("id") != resource:
                continue
            yield from _entry_operations(ws, known, entry, active)


def _entry_operations(ws: WorkingSet, node: Node, entry: etree._Element, active: bool) -> Iterator[RecordedOperation]:
    name = entry.get("id", "")
    rsc = find(ws, name)
    agent = ":".join(p for p in (entry.get("class"), entry.get("provider"), entry.get("type")) if p)
    ordered = sorted(entry.iterfind("lrm_rsc_op"), key=lambda op: int(op.get("call-id") or 0))
    for op in _since_start(ordered) if active else ordered:
        change = op.get("last-rc-change")
        yield RecordedOperation(
            key=str(op.get("operation_key") or op.get("id", "")),
            node=node.name,
            call=op.get("call-id", "0"),
            rc=op.get("rc-code", ""),
            status=int(op.get("op-status") or 0),
            last_change=int(change) if change and change.isdigit() else None,
            exec_ms=op.get("exec-time"),
            resource=rsc,
            resource_id=name,
            agent=rsc.agent if rsc is not None else agent,
        )


def _since_start(ordered: list[etree._Element]) -> list[etree._Element]:
    """What is left when all before the last start is dropped; nothing when a stop came after it. A promotion or a
    monitor that found it running stands for a start that is not recorded."""
    start = stop = implied_monitor = implied_clone = -1
    for index, op in enumerate(ordered):
        task = op.get("operation")
        if task == "stop" and op.get("op-status") == "0":
            stop = index
        elif task in ("start", "migrate_from"):
            start = index
        elif task == "monitor" and implied_monitor <= stop and op.get("rc-code") in ("0", "8"):
            implied_monitor = index
        elif task in ("promote", "demote"):
            implied_clone = index
    if start == -1:
        start = implied_clone if implied_clone != -1 else implied_monitor
    if start < stop:
        return []
    return ordered[max(start, 0) :]


# ---- parameters --------------------------------------------------------------------------------------------------------


def parameter(ws: WorkingSet, rsc: Resource, name: str, kind: str) -> tuple[str | None, bool]:
    """The value, and whether it was looked up without regard to a node (it is active on several)."""
    where = nodes_of(rsc)
    several = len(where) > 1
    node = where[0] if len(where) == 1 else None
    if kind == META:
        return rsc.meta.get(name), several
    if kind == UTILIZATION:
        value = next((p.get("value") for p in rsc.xml.iterfind("utilization/nvpair") if p.get("name") == name), None)
        return value, several
    from quorate.core.scheduler.configuration import parameters

    return parameters(ws, rsc, node).get(name), several


def element_of(backend: Backend, name: str) -> etree._Element:
    """A copy of the resource's element in the configuration. CommandFailed(105)."""
    data = backend.query(section="resources", pretty=False)
    root = parse_fragment(data or b"<resources/>")
    base = name.partition(":")[0]
    for wanted in dict.fromkeys((name, base)):
        for element in root.iter(*RESOURCE_TAGS):
            if element.get("id") == wanted:
                return element
    raise not_found(name)


def set_parameter(
    backend: Backend,
    resource: str,
    name: str,
    value: str,
    *,
    kind: str = INSTANCE,
    set_id: str | None = None,
    pair_id: str | None = None,
    force: bool = False,
    recursive: bool = False,
) -> list[ParameterChange]:
    element = element_of(backend, resource)
    owner, redirected = (element, None) if force else _owner(element, name, kind)
    changes = [_set_one(backend, owner, name, value, kind, set_id, pair_id, redirected)]
    if recursive:
        for dependent in _colocated(backend, str(owner.get("id"))):
            changes.append(_set_one(backend, element_of(backend, dependent), name, value, kind, set_id, pair_id, None))
    return changes


def _owner(element: etree._Element, name: str, kind: str) -> tuple[etree._Element, str | None]:
    """A meta attribute of an instance is set on its clone, where it takes effect, unless the instance has one already."""
    parent = element.getparent()
    if kind != META or parent is None or parent.tag not in ("clone", "master"):
        return element, None
    if any(pair.get("name") == name for pair in element.iterfind("meta_attributes/nvpair")):
        return element, None
    return parent, element.get("id")


def _pairs(
    element: etree._Element, name: str | None, kind: str, set_id: str | None, pair_id: str | None
) -> list[etree._Element]:
    return [
        pair
        for holder in element.iterchildren(kind)
        if set_id is None or holder.get("id") == set_id
        for pair in holder.iterchildren("nvpair")
        if (name is None or pair.get("name") == name) and (pair_id is None or pair.get("id") == pair_id)
    ]


def _set_one(
    backend: Backend,
    element: etree._Element,
    name: str,
    value: str,
    kind: str,
    set_id: str | None,
    pair_id: str | None,
    redirected: str | None,
) -> ParameterChange:
    found = _pairs(element, name, kind, set_id, pair_id)
    _refuse_several(found, name)
    owner = str(element.get("id"))
    update = etree.Element(element.tag, id=owner)
    if found:
        holder_id, id = _set_of(found[0]), str(found[0].get("id"))
    else:
        holder_id = set_id or f"{owner}-{kind}"
        id = pair_id or f"{holder_id}-{name}"
    pair = etree.SubElement(etree.SubElement(update, kind, id=holder_id), "nvpair", id=id)
    pair.set("name", name)
    pair.set("value", value)
    backend.change("modify", section="resources", xml=etree.tostring(update))
    return ParameterChange(
        owner=owner, redirected_from=redirected, id=id, set_id=None if found else holder_id, name=name, value=value
    )


def _set_of(pair: etree._Element) -> str:
    holder = pair.getparent()
    return "" if holder is None else str(holder.get("id"))


def delete_parameter(
    backend: Backend,
    resource: str,
    name: str,
    *,
    kind: str = INSTANCE,
    set_id: str | None = None,
    pair_id: str | None = None,
    force: bool = False,
) -> ParameterChange | None:
    """None when there was nothing to delete."""
    element = element_of(backend, resource)
    redirected = None
    found = _pairs(element, name, kind, set_id, pair_id)
    if not found and not force:
        owner, redirected = _owner(element, name, kind)
        if owner is not element:
            element, found = owner, _pairs(owner, name, kind, set_id, pair_id)
    if not found:
        return None
    _refuse_several(found, name)
    pair = etree.Element("nvpair", id=str(found[0].get("id")))
    backend.change("delete", section="resources", xml=etree.tostring(pair))
    return ParameterChange(
        owner=str(element.get("id")),
        redirected_from=redirected,
        id=str(found[0].get("id")),
        set_id=None,
        name=name,
        value=None,
    )


def _refuse_several(found: list[etree._Element], name: str) -> None:
    if len(found) < 2:
        return
    lines = [f"Multiple attributes match name={name}"]
    lines += [f"  Value: {pair.get('value')} \t(id={pair.get('id')})" for pair in found]
    raise CommandFailed(
        Exit.MULTIPLE,
        "Several attributes match; choose one with --nvpair or --set-name",
        output="\n".join(lines) + "\n",
    )


def _colocated(backend: Backend, name: str) -> list[str]:
    """Resources that go with `name`, directly or through others, nearest first."""
    data = backend.query(section="constraints", pretty=False)
    root = parse_fragment(data or b"<constraints/>")
    found: list[str] = []
    waiting = [name]
    while waiting:
        current = waiting.pop(0)
        for constraint in root.iterfind("rsc_colocation"):
            dependent = constraint.get("rsc")
            score = constraint.get("score", "INFINITY")
            if (
                constraint.get("with-rsc") == current
                and dependent
                and dependent not in (name, *found)
                and (not score.startswith("-"))
            ):
                found.append(dependent)
                waiting.append(dependent)
    return found


def delete_resource(backend: Backend, name: str, tag: str) -> None:
    element = etree.Element(tag, id=name)
    element_of(backend, name)
    backend.change("delete", section="resources", xml=etree.tostring(element))


# ---- in the running cluster ----------------------------------------------------------------------------------------------


def clear_history(
    backend: Backend,
    *,
    resource: str | None,
    node: str | None,
    operation: str | None = None,
    interval_ms: int | None = None,
    failures_only: bool,
) -> None:
    backend.request(
        "clear-history",
        resource=resource,
        node=node,
        operation=operation,
        interval_ms=interval_ms,
        failures_only=failures_only,
    )


def fail(backend: Backend, resource: str, node: str) -> None:
    backend.request("fail", resource=resource, node=node)


def wait(backend: Backend, timeout_ms: int) -> None:
    """Until the cluster has nothing left to do. CommandFailed(124) after the time."""
    backend.request("wait-idle", timeout=timeout_ms / 1000 + 5, timeout_ms=timeout_ms)
