"""What crm_resource shows: lists, operations, XML, parameters, places, constraints, reasons."""

from __future__ import annotations

from lxml import etree

from quorate.core.scheduler import WorkingSet
from quorate.core.scheduler.working_set import Kind, Requires, Resource, Role
from quorate.model.cib import parse_fragment

from ..backends import Backend
from ..commands import constraints, resources
from ..commands.constraints import Link, Tree
from ..monitor.lines import Lines
from ..monitor.options import Shown
from ..monitor.resource_text import ResourceText
from ..monitor.resources import (
    all_managed,
    bundle_parts,
    current_node,
    display_id,
    is_disabled,
    nodes_of,
    primitive_line,
)
from ..monitor.status import ClusterStatus
from ..monitor.words import calendar, status_text
from ..monitor.xml import fill_resources, resource_element
from .output import Output, serialize


def _status(ws: WorkingSet) -> ClusterStatus:
    return ClusterStatus(ws=ws, now=ws.now, shown=Shown(inactive=True))


def show_all(output: Output, ws: WorkingSet) -> int:
    if output.root is not None:
        fill_resources(output.root, _status(ws))
        return 0
    lines = Lines()
    ResourceText(ws, lines, Shown(inactive=True), with_nodes=False).write_list()
    output.call.out.write(lines.text)
    return 0


def show_raw(output: Output, ws: WorkingSet) -> int:
    names = resources.raw_names(ws)
    if output.xml:
        holder = output.element("list", name="resource names", count=str(len(names)))
        for name in names:
            etree.SubElement(holder, "item", name="resource").text = name
        return 0
    for name in names:
        output.line(name)
    if not names:
        output.line("No resources")
    return 0


# ---- the peer's test suite's list -----------------------------------------------------------------------------------------

_FLAGS = (  # bits as that suite knows them; what it does not look at is left out
    ("removed", 0x01), ("managed", 0x02), ("blocked", 0x04), ("notify", 0x10), ("is_fencing_device", 0x40),
    ("promotable", 0x80), ("failed", 0x10000),
)  # fmt: skip
_ALWAYS = 0x48100
_REQUIRES = {Requires.QUORUM: 0x10000000, Requires.FENCING: 0x20000000, Requires.UNFENCING: 0x40000000}


def show_cts(output: Output, ws: WorkingSet) -> int:
    for rsc in ws.resources:
        _cts(output, rsc)
    return 0


def _cts(output: Output, rsc: Resource) -> None:
    flags = _ALWAYS | sum(bit for name, bit in _FLAGS if getattr(rsc, name)) | _REQUIRES.get(rsc.requires, 0)
    if rsc.unique or rsc.enclosing_clone is None and rsc.kind in (Kind.PRIMITIVE, Kind.GROUP):
        flags |= 0x20
    node = current_node(rsc) if rsc.kind is Kind.PRIMITIVE else next(iter(nodes_of(rsc)), None)
    needs_quorum = 0 if rsc.requires in (Requires.NOTHING, Requires.QUORUM) and rsc.is_fencing_device else 1
    kind = {Kind.PRIMITIVE: "primitive", Kind.GROUP: "group", Kind.CLONE: "clone", Kind.BUNDLE: "bundle"}[rsc.kind]
    output.line(
        f"Resource: {kind} {rsc.id} {rsc.history_id or rsc.id} {rsc.parent.id if rsc.parent else 'NA'} "
        f"{rsc.agent_provider or 'NA'} {rsc.agent_class or '(null)'} {rsc.agent_type or '(null)'} "
        f"{node.name if node else 'NA'} {needs_quorum} {flags} 0x{flags:016x}"
    )
    parts = list(bundle_parts(rsc)) if rsc.kind is Kind.BUNDLE else rsc.children
    for child in parts:
        _cts(output, child)


# ---- operations ------------------------------------------------------------------------------------------------------------


def show_operations(output: Output, ws: WorkingSet, name: str, node: str | None, *, active: bool) -> int:
    holder = output.element("operations") if output.xml else None
    for op in resources.operations(ws, resource=name or None, node=node, active=active):
        if holder is not None:
            element = etree.SubElement(
                holder,
                "operation",
                op=op.key,
                node=op.node,
                call=op.call,
                rc=op.rc,
                status=status_text(op.status),
                rsc=op.resource_id,
                agent=op.agent,
            )
            if op.last_change:
                element.set("last-rc-change", calendar(op.last_change))
                element.set("exec-time", op.exec_ms or "0")
            continue
        when = ""
        if op.last_change:
            when = f", last-rc-change='{calendar(op.last_change)}', exec={op.exec_ms or 0}ms"
        if op.resource is None:
            head = f"{op.resource_id}\t({op.agent}):\t ORPHANED"
        else:
            head = primitive_line(ws, op.resource, display_id(op.resource), None, with_node=False)
        output.line(f"{head}: {op.key} (node={op.node}, call={op.call}, rc={op.rc}{when}): {status_text(op.status)}")
    return 0


# ---- one resource ----------------------------------------------------------------------------------------------------------


def show_xml(output: Output, ws: WorkingSet, backend: Backend, name: str, *, raw: bool) -> int:
    rsc = resources.require(ws, name)
    element = rsc.xml
    if raw:
        element = rsc.config_xml if rsc.config_xml is not None else resources.element_of(backend, name)
    copied = parse_fragment(etree.tostring(element, with_tail=False))
    if not raw and copied.get("template") is not None:
        _expand_head(copied, ws)
    if not raw and rsc.enclosing_clone is not None:
        for part in copied.iter("primitive", "group"):
            part.set("clone", "0" if rsc.number < 0 else str(rsc.number))
    text = serialize(copied)
    if output.root is not None:
        holder = output.element("resource_config")
        resource_element(holder, rsc, None)
        xml = etree.SubElement(holder, "xml")
        xml.text = etree.CDATA(text)
        return 0
    lines = Lines()
    writer = ResourceText(ws, lines, Shown(inactive=False))
    writer.write(rsc, None)
    for line in lines.lines:
        if not line.endswith(":"):  # the heads of collectives are left out
            output.line(line.lstrip().removeprefix("* "))
    output.line("Resource XML:")
    output.call.out.write(text)
    return 0


def _expand_head(element: etree._Element, ws: WorkingSet) -> None:
    """The attributes in the template's order, the resource's own after them, without the reference."""
    own = dict(element.attrib.items())
    template = next(
        (t for t in ws.cib.iterfind("configuration/resources/template") if t.get("id") == own["template"]), None
    )
    names = [*(template.attrib if template is not None else ()), *own]
    element.attrib.clear()
    for name in dict.fromkeys(names):
        if name != "template" and name in own:
            element.set(str(name), own[name])


def show_parameter(output: Output, ws: WorkingSet, name: str, parameter: str, kind: str) -> int:
    rsc = resources.require(ws, name)
    value, several = resources.parameter(ws, rsc, parameter, kind)
    if several and not output.xml:
        output.call.error(f"{rsc.id} is active on more than one node, returning the default value for {parameter}")
    if value is None:
        text = f"Attribute '{parameter}' not found for '{rsc.id}'"
        if output.xml:
            output.note_error(text)
        else:
            output.call.error(text)
        return 0
    if output.xml:
        holder = output.element("list", name="attributes", count="1")
        etree.SubElement(holder, "item", name=parameter).text = value
    else:
        output.line(value)
    return 0


def show_property(output: Output, ws: WorkingSet, name: str, key: str) -> int:
    rsc = resources.require(ws, name)
    value = rsc.xml.get(key)
    if value is not None:
        output.line(value)
    return 0


def show_locations(output: Output, ws: WorkingSet, name: str) -> int:
    rsc = resources.require(ws, name, anonymous=True)
    places = resources.locations(rsc, name)
    if output.xml:
        holder = output.element("nodes", resource=name)
        for place in places:
            element = etree.SubElement(holder, "node", {"state": "promoted"} if place.promoted else {})
            element.text = place.node
        return 0
    for place in places:
        output.line(f"resource {name} is running on: {place.node}{' Promoted' if place.promoted else ''}")
    if not places:
        output.call.error(f"resource {name} is NOT running")
    return 0


# ---- constraints -----------------------------------------------------------------------------------------------------------


def show_constraints(output: Output, ws: WorkingSet, name: str, *, recursive: bool, force: bool) -> int:
    rsc = resources.require(ws, name)
    if not force:
        rsc = constraints.outermost(rsc)
    tree = constraints.tree(ws, rsc, recursive=recursive)
    if output.xml:
        holder = output.element("constraints")
        _xml_places(holder, tree)
        for link, below in [*tree.dependents, *tree.primaries]:
            _xml_link(holder, link, below)
        return 0
    lines = Lines()
    _text_places(lines, tree, top=True)
    _text_links(lines, tree, tree.dependents, dependents=True, top=True)
    _text_links(lines, tree, tree.primaries, dependents=False, top=True)
    output.call.out.write(lines.text)
    return 0


def _xml_places(holder: etree._Element, tree: Tree) -> None:
    for place in tree.places:
        etree.SubElement(holder, "rsc_location", node=place.node, rsc=place.resource, id=place.id, score=place.score)


def _xml_link(holder: etree._Element, link: Link, below: Tree) -> None:
    element = etree.SubElement(holder, "rsc_colocation", id=link.id, rsc=link.dependent)
    element.set("with-rsc", link.primary)
    element.set("score", link.score)
    for key, value in (
        ("node-attribute", link.node_attribute),
        ("rsc-role", link.dependent_role),
        ("with-rsc-role", link.primary_role),
    ):
        if value is not None:
            element.set(key, value)
    for inner, deeper in [*below.dependents, *below.primaries]:
        _xml_link(holder, inner, deeper)
    _xml_places(holder, below)


def _text_places(lines: Lines, tree: Tree, *, top: bool) -> None:
    if not tree.places:
        return
    _open(lines, "Locations", top)
    for place in tree.places:
        lines.item(f"Node {place.node} (score={place.score}, id={place.id}, rsc={place.resource})")
    _close(lines, top)


def _text_links(lines: Lines, tree: Tree, links: list[tuple[Link, Tree]], *, dependents: bool, top: bool) -> None:
    if not links:
        return
    title = (
        f"Resources colocated with {tree.resource}" if dependents else f"Resources {tree.resource} is colocated with"
    )
    _open(lines, title, top)
    for link, below in links:
        word = "needs" if dependents else "with"
        role = f", {word} role={link.primary_role}" if link.primary_role else ""
        lines.begin(f"{below.resource} (score={link.score}{role}, id={link.id})")
        _text_links(lines, below, below.dependents if dependents else below.primaries, dependents=dependents, top=False)
        _text_places(lines, below, top=False)
        lines.end()
    _close(lines, top)


def _open(lines: Lines, title: str, top: bool) -> None:
    if top:
        lines.heading(title)
    else:
        lines.begin(f"{title}:")


def _close(lines: Lines, top: bool) -> None:
    if top:
        lines.end_section()
    else:
        lines.end()


# ---- why -------------------------------------------------------------------------------------------------------------------


def show_why(output: Output, ws: WorkingSet, name: str, node: str | None) -> int:
    chosen = [resources.require(ws, name)] if name else list(ws.resources)
    holder = output.element("reason") if output.xml else None
    inner = etree.SubElement(holder, "resources") if holder is not None and not name else holder
    for rsc in chosen:
        where = nodes_of(rsc)
        running = any(n.name == node for n in where) if node is not None else bool(where)
        if node is not None and not running and not name:
            continue
        if inner is not None:
            element = inner if name else etree.SubElement(inner, "resource", id=rsc.id)
            element.set("running", "true" if running else "false")
            if node is not None and running:
                element.set("host", node)
            etree.SubElement(element, "check", {"id": rsc.id} | {key: "true" for key, _ in _reasons(rsc)})
            continue
        on = f" on host {node}" if node is not None else ""
        output.line(f"Resource {rsc.id} is {'' if running else 'not '}running{on}")
        for _, text in _reasons(rsc):
            output.line(text)
    return 0


def _reasons(rsc: Resource) -> list[tuple[str, str]]:
    """What in the configuration or status keeps it as it is: attribute for the XML, sentence."""
    found = []
    if is_disabled(rsc):
        stopped = rsc.target_role is Role.STOPPED
        found.append(
            ("remain_stopped", f"Configuration specifies '{rsc.id}' should remain stopped")
            if stopped
            else ("unpromotable", f"Configuration specifies '{rsc.id}' should not be promoted")
        )
    if not all_managed(rsc):
        found.append(("unmanaged", f"Configuration prevents cluster from stopping or starting unmanaged '{rsc.id}'"))
    return found
