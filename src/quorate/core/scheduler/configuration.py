"""Unpacks the configuration: cluster options, nodes, templates, tags and resources.

Every clone gets its instances here, every bundle what it implies, every guest its connection.
"""

from __future__ import annotations

import bisect
import re
from copy import deepcopy
from typing import TYPE_CHECKING

from quorate.model.rules import RuleInput
from quorate.model.time import parse_interval_ms

from . import options
from .attributes import AttributeSets, resolve, sets_of
from .options import parse_boolean
from .scores import INFINITY, clamp, parse_score
from .working_set import (
    CloneInfo,
    Kind,
    MultipleActive,
    Node,
    NodeKind,
    QuorumPolicy,
    Requires,
    Resource,
    Role,
    WorkingSet,
)

if TYPE_CHECKING:
    from lxml import etree

KIND_OF_TAG = {
    "primitive": Kind.PRIMITIVE,
    "group": Kind.GROUP,
    "clone": Kind.CLONE,
    "master": Kind.CLONE,
    "bundle": Kind.BUNDLE,
}
META_RENAMED = {
    "master-max": "promoted-max",
    "master-node-max": "promoted-node-max",
}
ROLE_BY_NAME = {
    "stopped": Role.STOPPED,
    "started": Role.STARTED,
    "unpromoted": Role.UNPROMOTED,
    "slave": Role.UNPROMOTED,
    "promoted": Role.PROMOTED,
    "master": Role.PROMOTED,
}


def parse_role(text: str | None) -> Role:
    if text is None:
        return Role.UNKNOWN
    return ROLE_BY_NAME.get(text.lower(), Role.UNKNOWN)


def unpack_configuration(ws: WorkingSet) -> None:
    configuration = ws.cib.find("configuration")
    if configuration is None:
        ws.warn("no-configuration", "the CIB has no <configuration>", level="error")
        options.decode(ws, {})
        return
    crm_config = configuration.find("crm_config")
    pairs: dict[str, str] = {}
    if crm_config is not None:
        sets = sets_of(ws, crm_config, "cluster_property_set", "cib-bootstrap-options")
        sets.merge(pairs, RuleInput(now=ws.now), ws)
    options.decode(ws, pairs)
    ws.has_quorum = parse_boolean(ws.cib.get("have-quorum"), False)
    if ws.quorum_policy is QuorumPolicy.FENCE and not (
        ws.has_quorum or parse_boolean(ws.cib.get("no-quorum-panic"), False)
    ):
        ws.quorum_policy = QuorumPolicy.STOP
    for tag, target in (("rsc_defaults", "resource_defaults"), ("op_defaults", "op_defaults")):
        element = configuration.find(tag)
        if element is not None:
            setattr(ws, target, [child for child in element if child.tag == "meta_attributes"])
    _unpack_nodes(ws, configuration.find("nodes"))
    resources = configuration.find("resources")
    if resources is not None:
        _create_remote_nodes(ws, resources)
        _unpack_resources(ws, resources)
    _unpack_tags(ws, configuration.find("tags"))
    if ws.fencing_enabled and not ws.have_fencing_device and _wants_warning(ws):
        ws.warn(
            "no-fencing-device",
            "Resource start-up disabled since no fencing resources have been defined. Either configure some or disable "
            "fencing with the fencing-enabled option. NOTE: Clusters with shared data need fencing to ensure data "
            "integrity",
            level="error",
        )


def _wants_warning(ws: WorkingSet) -> bool:
    return bool(ws.resources)


# ---- nodes ------------------------------------------------------------------------------------------------------


def node_order(node: Node) -> list[tuple[int, int, str]]:
    """Names in the order people expect: numbers in them count as numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", node.name.lower())]


def add_node(ws: WorkingSet, node_id: str, name: str, kind: NodeKind, score: int = 0) -> Node:
    node = Node(index=len(ws.nodes), id=node_id, name=name, kind=kind, base_score=score)
    ws.nodes.append(node)
    bisect.insort(ws.ordered_nodes, node, key=node_order)
    ws.node_by_name[name] = node
    ws.node_by_id.setdefault(node_id, node)
    node.unclean = ws.startup_fencing and ws.fencing_enabled if kind is NodeKind.CLUSTER else False
    attributes = node.attributes
    attributes["#uname"] = name
    attributes["#id"] = node_id
    attributes["#kind"] = "cluster" if kind is NodeKind.CLUSTER else "remote"
    node.is_dc = kind is NodeKind.CLUSTER and node_id == ws.cib.get("dc-uuid")
    if node.is_dc:
        ws.dc = node
    attributes["#is_dc"] = "true" if node.is_dc else "false"
    cluster_name = ws.options.get("cluster-name")
    if cluster_name:
        attributes["#cluster-name"] = cluster_name
        attributes.setdefault("#site-name", cluster_name)
    return node


def set_site_name(ws: WorkingSet, node: Node) -> None:
    name = node.attributes.get("site-name") or ws.options.get("cluster-name")
    if name:
        node.attributes["#site-name"] = name


def read_node_attributes(ws: WorkingSet, node: Node, element: etree._Element, overwrite: bool) -> None:
    given = RuleInput(now=ws.now, node_attributes=node.attributes)
    sets_of(ws, element, "instance_attributes").merge(node.attributes, given, ws, overwrite)
    set_site_name(ws, node)


def _unpack_nodes(ws: WorkingSet, nodes: etree._Element | None) -> None:
    if nodes is None:
        return
    for element in nodes:
        if element.tag != "node":
            continue
        node_id, name = element.get("id"), element.get("uname")
        if not node_id or not name:
            ws.warn("node-incomplete", "a <node> needs an id and a uname", node_id, level="error")
            continue
        kind = NodeKind.REMOTE if element.get("type") == "remote" else NodeKind.CLUSTER
        if element.get("type") == "ping":
            ws.warn("node-ping", f"node {name} is of type 'ping', which is no longer supported", node_id)
            continue
        node = add_node(ws, node_id, name, kind, parse_score(element.get("score"), 0) or 0)
        read_node_attributes(ws, node, element, False)
        given = RuleInput(now=ws.now, node_attributes=node.attributes)
        sets_of(ws, element, "utilization").merge(node.utilization, given, ws)


def _remote_spec(ws: WorkingSet, primitive: etree._Element) -> bool:
    return primitive.get("type") == "remote" and primitive.get("provider") == "pacemaker" and (
        primitive.get("class") == "ocf"
    )


def _guest_name(primitive: etree._Element) -> str | None:
    for block in primitive:
        if block.tag == "meta_attributes":
            for pair in block.iter("nvpair"):
                if pair.get("name") == "remote-node":
                    return pair.get("value")
    return None


def _create_remote_nodes(ws: WorkingSet, resources: etree._Element) -> None:
    """Remote and guest nodes exist as soon as a resource leads to them; bundles' nodes come with the bundle."""
    for element in resources:
        found: list[etree._Element] = [element] if element.tag == "primitive" else (
            list(element.iter("primitive")) if element.tag == "group" else []
        )
        for primitive in found:
            name = None
            if _remote_spec(ws, primitive):
                name = primitive.get("id")
            else:
                name = _guest_name(primitive)
            if name and name not in ws.node_by_name:
                node = add_node(ws, name, name, NodeKind.REMOTE)
                ws.have_remote_nodes = True
                node.configured = True


def _expand_guests(ws: WorkingSet, element: etree._Element, parent: Resource | None) -> etree._Element | None:
    """The implied connection resource of a guest, as an element, or None."""
    name = _guest_name(element)
    if not name or element.tag != "primitive":
        return None
    if ws.resource_by_id.get(name) is not None:
        return None
    meta: dict[str, str] = {}
    sets_of(ws, element, "meta_attributes").merge(meta, RuleInput(now=ws.now), ws)
    return remote_connection_xml(
        name, element.get("id") or "", meta.get("remote-allow-migrate"), meta.get("is-managed"),
        meta.get("remote-connect-timeout") or "60s", meta.get("remote-addr"), meta.get("remote-port"),
    )


def remote_connection_xml(
    name: str, container: str, allow_migrate: str | None, is_managed: str | None, start_timeout: str | None,
    server: str | None, port: str | None,
) -> etree._Element:
    from lxml import etree

    primitive = etree.Element("primitive", {"id": name, "class": "ocf", "provider": "pacemaker", "type": "remote"})
    meta = etree.SubElement(primitive, "meta_attributes", {"id": f"{name}-meta_attributes"})

    def pair(parent: etree._Element, key: str, value: str) -> None:
        etree.SubElement(parent, "nvpair", {"id": f"{parent.get('id')}-{key}", "name": key, "value": value})

    pair(meta, "internal", "true")
    pair(meta, "container", container)
    if allow_migrate:
        pair(meta, "allow-migrate", allow_migrate)
    if is_managed:
        pair(meta, "is-managed", is_managed)
    operations = etree.SubElement(primitive, "operations")
    etree.SubElement(operations, "op", {"id": f"{name}-monitor-interval-30s", "name": "monitor", "interval": "30s",
                                        "timeout": "30s"})
    if start_timeout is not None:
        etree.SubElement(operations, "op", {"id": f"{name}-start-interval-0s", "name": "start", "interval": "0",
                                            "timeout": start_timeout})
    if server or port:
        attributes = etree.SubElement(primitive, "instance_attributes", {"id": f"{name}-instance_attributes"})
        if server:
            pair(attributes, "addr", server)
        if port:
            pair(attributes, "port", port)
    return primitive


def _unpack_tags(ws: WorkingSet, tags: etree._Element | None) -> None:
    if tags is None:
        return
    for tag in tags:
        if tag.tag != "tag" or not tag.get("id"):
            continue
        members = [str(reference.get("id")) for reference in tag if reference.tag == "obj_ref" and reference.get("id")]
        ws.tags.setdefault(str(tag.get("id")), []).extend(members)


# ---- resources --------------------------------------------------------------------------------------------------


def _unpack_resources(ws: WorkingSet, resources: etree._Element) -> None:
    templates = {str(element.get("id")): element for element in resources if element.tag == "template"}
    for name in templates:
        ws.templates.setdefault(name, [])
    ws.extra["templates"] = templates
    implied: list[etree._Element] = []
    ws.extra["implied"] = implied
    for element in resources:
        if element.tag not in KIND_OF_TAG:
            continue
        unpack_resource(ws, element, None)
    for connection in implied:
        _add_implied(ws, connection, None)
    for rsc in ws.all_resources:
        link_container(ws, rsc)
    ws.resources.sort(key=lambda rsc: -rsc.priority)
    for node in ws.nodes:
        if node.kind is NodeKind.REMOTE and node.remote_resource is None:
            leading = ws.resource_by_id.get(node.name)
            if leading is not None:
                node.remote_resource = leading
                leading.remote_node = node
    for node in ws.nodes:
        if node.is_guest:
            node.attributes["#kind"] = "container"


def link_container(ws: WorkingSet, rsc: Resource) -> None:
    """Tie a guest's connection to the resource that hosts it."""
    name = rsc.meta.get("container")
    if name and rsc.container is None and rsc.kind is Kind.PRIMITIVE:
        container = ws.resource_by_id.get(name)
        if container is not None and container is not rsc:
            rsc.container = container
            container.fillers.append(rsc)


def _op_place(op: etree._Element) -> tuple[str | None, Role]:
    """Operations of a template give way to one's own of the same name and role."""
    role = parse_role(op.get("role"))
    return op.get("name"), Role.UNKNOWN if role in (Role.STARTED, Role.UNPROMOTED) else role


def _expand_template(ws: WorkingSet, element: etree._Element) -> etree._Element | None:
    name = element.get("template")
    if name is None:
        return element
    template = ws.extra["templates"].get(name)
    if template is None:
        ws.warn("no-template", f"'{element.get('id')}' uses template '{name}', which does not exist", level="error")
        return None
    merged = deepcopy(element)
    for key, value in template.attrib.items():
        if key not in ("id", "description"):
            merged.set(key, value)
    own_ops = {_op_place(op) for op in element.iterfind("operations/op")}
    operations = merged.find("operations")
    for child in template:
        if child.tag == "operations":
            kept = deepcopy(child)
            for op in list(kept):
                if _op_place(op) in own_ops:
                    kept.remove(op)
            if operations is None:
                merged.append(kept)
            else:
                for op in list(kept):
                    operations.append(op)
        else:
            merged.append(deepcopy(child))
    ws.templates.setdefault(name, []).append(str(element.get("id")))
    return merged


def unpack_resource(
    ws: WorkingSet, element: etree._Element, parent: Resource | None, number: int | None = None,
    removed: bool = False,
) -> Resource | None:
    """Add the resource that `element` describes, with its children, under `parent` (or at the top)."""
    base_id = element.get("id")
    kind = KIND_OF_TAG.get(str(element.tag))
    if not base_id or kind is None:
        ws.warn("resource-incomplete", f"a <{element.tag}> without an id", level="error")
        return None
    expanded = _expand_template(ws, element) if kind is Kind.PRIMITIVE else element
    if expanded is None:
        return None
    identifier = base_id if number is None else f"{base_id}:{number}"
    rsc = Resource(len(ws.all_resources), kind, identifier, identifier, expanded)
    rsc.parent = parent
    rsc.number = -1 if number is None else number
    rsc.removed = removed
    if kind is Kind.PRIMITIVE:
        rsc.agent_class = expanded.get("class") or ""
        rsc.agent_provider = expanded.get("provider")
        rsc.agent_type = expanded.get("type") or ""
        if rsc.agent_class == "ocf" and not rsc.agent_provider:
            rsc.agent_provider = "heartbeat"
    read_meta(ws, rsc)
    if identifier in ws.resource_by_id:
        ws.warn("resource-twice", f"there is more than one resource '{identifier}'; the later one is ignored",
                level="error")
        return None
    rsc.ops_xml = [op for op in _operations(ws, expanded)]
    if kind is Kind.CLONE and element.tag == "master":
        rsc.meta["promotable"] = "true"
    rsc.promotable = kind is Kind.CLONE and parse_boolean(rsc.meta.get("promotable"))
    _decode(ws, rsc)
    ws.all_resources.append(rsc)
    ws.resource_by_id[identifier] = rsc
    if parent is not None:
        parent.children.append(rsc)
    if ws.symmetric:
        for node in ws.nodes:
            if not node.exclusive:
                rsc.allowed[node.index] = node.base_score
    elif rsc.is_remote_connection and "container" in rsc.meta:
        # a guest's connection goes wherever its host goes
        rsc.allowed = {node.index: 0 for node in ws.nodes if not node.exclusive}
    if parent is None:
        ws.resources.append(rsc)
    if kind is Kind.GROUP:
        _unpack_group(ws, rsc, expanded, number, removed)
    elif kind is Kind.CLONE:
        if not _unpack_clone(ws, rsc, expanded):
            _forget(ws, rsc)
            return None
    elif kind is Kind.BUNDLE:
        from . import bundle_configuration

        if not bundle_configuration.unpack_bundle(ws, rsc, expanded):
            _forget(ws, rsc)
            return None
    if kind is Kind.PRIMITIVE and parent is None and not removed:
        connection = _expand_guests(ws, expanded, parent)
        if connection is not None:
            ws.extra.setdefault("implied", []).append(connection)
    return rsc


def _add_implied(ws: WorkingSet, connection: etree._Element, parent: Resource | None) -> None:
    """The connection to a guest, which its host's remote-node implies."""
    implied = unpack_resource(ws, connection, parent)
    if implied is None:
        return
    node = ws.node_by_name.get(implied.id)
    implied.remote_node = node
    if node is not None:
        node.remote_resource = implied
    implied.inside_group_container = parent is not None


def _forget(ws: WorkingSet, rsc: Resource) -> None:
    ws.resource_by_id.pop(rsc.id, None)
    if rsc in ws.resources:
        ws.resources.remove(rsc)
    if rsc in ws.all_resources:
        ws.all_resources.remove(rsc)


def _operations(ws: WorkingSet, element: etree._Element) -> list[etree._Element]:
    found: list[etree._Element] = []
    for child in element:
        if child.tag == "operations":
            operations = resolve(ws, child)
            if operations is None:
                continue
            for op in operations:
                if op.tag == "op":
                    target = resolve(ws, op)
                    if target is not None:
                        found.append(target)
    return found


def read_meta(ws: WorkingSet, rsc: Resource) -> None:
    """Own meta attributes, then the parent's, then the defaults."""
    meta: dict[str, str] = {}
    given = RuleInput(
        now=ws.now,
        resource_class=rsc.agent_class or None if rsc.kind is Kind.PRIMITIVE else None,
        resource_provider=rsc.agent_provider,
        resource_type=rsc.agent_type or None,
    )
    sets_of(ws, rsc.xml, "meta_attributes").merge(meta, given, ws)
    if rsc.parent is not None:
        for name, value in rsc.parent.meta.items():
            meta.setdefault(name, value)
    if ws.resource_defaults:
        defaults = ws.extra.get("rsc_defaults")
        if defaults is None:
            defaults = ws.extra["rsc_defaults"] = AttributeSets(ws, ws.resource_defaults)
        defaults.merge(meta, given, ws)
    for old, new in META_RENAMED.items():
        if old in meta and new not in meta:
            meta[new] = meta[old]
    rsc.meta = meta


def _decode(ws: WorkingSet, rsc: Resource) -> None:
    """Meta attributes into fields."""
    meta = rsc.meta
    place = rsc.id

    def score(name: str, default: int) -> int:
        value = parse_score(meta.get(name), default)
        if value is None:
            ws.warn("meta-value", f"'{meta[name]}' is not a value of {name} (resource {place})", place)
            return default
        return value

    rsc.priority = score("priority", 0)
    rsc.critical = parse_boolean(meta.get("critical"), True)
    rsc.notify = parse_boolean(meta.get("notify"))
    rsc.is_remote_connection = (
        rsc.kind is Kind.PRIMITIVE and rsc.agent_class == "ocf" and rsc.agent_provider == "pacemaker"
        and rsc.agent_type == "remote"
    )
    if rsc.is_remote_connection and "container" not in meta:
        rsc.migratable = parse_boolean(meta.get("allow-migrate"), True)
    else:
        rsc.migratable = parse_boolean(meta.get("allow-migrate"))
    rsc.managed = parse_boolean(meta.get("is-managed"), True)
    rsc.maintenance = parse_boolean(meta.get("maintenance"))
    if rsc.maintenance or ws.maintenance_mode:
        rsc.managed = False
        rsc.maintenance = True
    top = rsc.top
    if top.kind is Kind.CLONE:
        rsc.unique = parse_boolean(top.meta.get("globally-unique"))
    else:
        rsc.unique = True
    try:
        rsc.multiple_active = MultipleActive(meta.get("multiple-active", "stop_start"))
    except ValueError:
        ws.warn("meta-value", f"'{meta['multiple-active']}' is not a value of multiple-active (resource {place})", place)
    rsc.stickiness = score("resource-stickiness", 0)
    threshold = score("migration-threshold", INFINITY)
    if threshold < 0:
        ws.warn("meta-value", f"migration-threshold of {place} must not be negative", place)
        threshold = INFINITY
    rsc.migration_threshold = threshold
    if rsc.agent_class == "stonith":
        ws.have_fencing_device = True
        rsc.is_fencing_device = True
    _decode_requires(ws, rsc)
    rsc.failure_timeout_ms = max(0, parse_interval_ms(meta.get("failure-timeout"), 0) or 0)
    if rsc.is_remote_connection:
        reconnect = parameters(ws, rsc, None).get("reconnect_interval")
        rsc.remote_reconnect_ms = max(0, parse_interval_ms(reconnect, 0) or 0)
        ws.have_remote_nodes = True
    target = meta.get("target-role")
    if target is not None and target.lower() not in ("started", "default"):
        role = parse_role(target)
        if role is Role.UNKNOWN:
            ws.warn("meta-value", f"'{target}' is not a value of target-role (resource {place})", place)
        rsc.target_role = role
    wanted = target_role(rsc)
    if wanted is not None:
        rsc.next_role = wanted
        rsc.next_role_reason = "target-role"
    sets = sets_of(ws, rsc.xml, "utilization")
    if sets.sets:
        pairs: dict[str, str] = {}
        sets.merge(pairs, RuleInput(now=ws.now), ws)
        for name, text in pairs.items():
            rsc.utilization[name] = int(parse_score(text, 0) or 0)


def target_role(rsc: Resource) -> Role | None:
    """The role that target-role asks for, None when it asks for nothing."""
    text = rsc.meta.get("target-role")
    if text is None or text.lower() in ("started", "default"):
        return None
    role = parse_role(text)
    if role is Role.UNKNOWN:
        return None
    if role > Role.STARTED and (not rsc.top.promotable or role > Role.UNPROMOTED):
        return None
    return role


def _decode_requires(ws: WorkingSet, rsc: Resource) -> None:
    if rsc.kind not in (Kind.PRIMITIVE, Kind.GROUP, Kind.CLONE, Kind.BUNDLE):
        return
    text = rsc.meta.get("requires")
    fencing_default = Requires.FENCING if ws.fencing_enabled else Requires.QUORUM
    if rsc.is_fencing_device:
        if text is None or text.lower() in ("fencing", "unfencing"):
            rsc.requires = Requires.QUORUM
        elif text.lower() == "nothing":
            rsc.requires = Requires.NOTHING
        else:
            rsc.requires = Requires.QUORUM
        provides = rsc.meta.get("provides")
        if provides is not None and provides.lower() == "unfencing":
            rsc.is_unfencing_device = True
            ws.enable_unfencing = True
        return
    if text is None and rsc.is_remote_connection:
        rsc.requires = Requires.QUORUM
        return
    if text is None:
        if ws.enable_unfencing and ws.fencing_enabled:
            rsc.requires = Requires.UNFENCING
        else:
            rsc.requires = fencing_default
        return
    folded = text.lower()
    if folded == "nothing":
        rsc.requires = Requires.NOTHING
    elif folded == "quorum":
        rsc.requires = Requires.QUORUM
    elif folded == "unfencing":
        if not ws.fencing_enabled:
            ws.warn("meta-value", f"requires=unfencing of {rsc.id} needs fencing-enabled; using quorum", rsc.id)
            rsc.requires = Requires.QUORUM
        else:
            rsc.requires = Requires.UNFENCING
    elif folded == "fencing":
        if not ws.fencing_enabled:
            ws.warn("meta-value", f"requires=fencing of {rsc.id} needs fencing-enabled; using quorum", rsc.id)
            rsc.requires = Requires.QUORUM
        else:
            rsc.requires = Requires.FENCING
    else:
        ws.warn("meta-value", f"'{text}' is not a value of requires (resource {rsc.id})", rsc.id)
        rsc.requires = fencing_default


def _unpack_group(ws: WorkingSet, rsc: Resource, element: etree._Element, number: int | None, removed: bool) -> None:
    for child in element:
        if child.tag == "primitive":
            unpack_resource(ws, child, rsc, number, removed)
    if number is None and not removed:
        for member in list(rsc.children):
            connection = _expand_guests(ws, member.xml, rsc)
            if connection is not None:
                _add_implied(ws, connection, rsc)


def _unpack_clone(ws: WorkingSet, rsc: Resource, element: etree._Element) -> bool:
    info = CloneInfo()
    rsc.clone = info
    meta = rsc.meta
    child_xml = next((child for child in element if child.tag in ("primitive", "group")), None)
    if child_xml is None:
        ws.warn("clone-empty", f"{rsc.id} has nothing to clone", rsc.id, level="error")
        return False
    info.child_xml = child_xml
    rsc.promotable = parse_boolean(meta.get("promotable"))

    def number(name: str, default: int) -> int:
        value = parse_score(meta.get(name), default)
        return default if value is None else max(0, value)

    if rsc.promotable:
        info.promoted_max = number("promoted-max", 1)
        info.promoted_node_max = number("promoted-node-max", 1)
        meta.setdefault("promoted-max", "1")
        meta.setdefault("promoted-node-max", "1")
    info.clone_node_max = number("clone-node-max", 1)
    info.clone_max = number("clone-max", max(1, len(ws.nodes)))
    info.clone_min = number("clone-min", 0)
    info.ordered = parse_boolean(meta.get("ordered"))
    info.interleave = parse_boolean(meta.get("interleave"))
    rsc.unique = parse_boolean(meta.get("globally-unique"))
    if rsc.unique and any(primitive.get("class") not in (None, "ocf", "stonith") for primitive in (
        [child_xml] if child_xml.tag == "primitive" else child_xml.iter("primitive")
    )):
        ws.warn("clone-unique", f"{rsc.id} cannot be globally unique: only OCF agents tell instances apart", rsc.id)
        rsc.unique = False
        info.clone_node_max = 1
        info.clone_max = min(info.clone_max, len(ws.nodes))
    if not rsc.unique and info.clone_node_max > 1:
        ws.warn("clone-node-max", f"clone-node-max of the anonymous clone {rsc.id} is taken for 1", rsc.id)
        info.clone_node_max = 1
    meta["clone-max"] = str(info.clone_max)
    meta["clone-node-max"] = str(info.clone_node_max)
    meta["globally-unique"] = "true" if rsc.unique else "false"
    meta["notify"] = "true" if rsc.notify else "false"
    if "resource-stickiness" not in meta:
        meta["resource-stickiness"] = "1"
        rsc.stickiness = 1
    for _ in range(max(1, info.clone_max)):
        if create_instance(ws, rsc) is None:
            return False
    if info.clone_max == 0:
        for child in rsc.children:
            _mark_removed(child)
    return True


def _mark_removed(rsc: Resource) -> None:
    rsc.removed = True
    for child in rsc.children:
        _mark_removed(child)


def create_instance(ws: WorkingSet, clone: Resource) -> Resource | None:
    """The next instance; beyond clone-max it counts as removed."""
    info = clone.clone
    assert info is not None
    number = info.anonymous_numbers_made
    info.anonymous_numbers_made += 1
    assert info.child_xml is not None
    child = unpack_resource(ws, info.child_xml, clone, number, number >= info.clone_max)
    return child


def parameters(ws: WorkingSet, rsc: Resource, node: Node | None) -> dict[str, str]:
    """Instance attributes as they are for `node`."""
    key = -1 if node is None or not rsc.parameters_vary else node.index
    cached = rsc.parameter_cache.get(key)
    if cached is not None:
        return cached
    found: dict[str, str] = {}
    vary = False
    given = RuleInput(
        now=ws.now, node_attributes=node.attributes if node is not None else None,
        resource_class=rsc.agent_class or None, resource_provider=rsc.agent_provider,
        resource_type=rsc.agent_type or None,
    )
    holder: Resource | None = rsc
    while holder is not None:
        sets = sets_of(ws, holder.xml, "instance_attributes")
        vary = vary or sets.has_rules
        sets.merge(found, given, ws)
        holder = holder.parent
    if not vary:
        rsc.parameters_vary = False
        key = -1
    rsc.parameter_cache[key] = found
    return found


def health_scores(ws: WorkingSet) -> None:
    """Sum of the health attributes of every node."""
    base = parse_score(ws.options["node-health-base"], 0) or 0
    for node in ws.nodes:
        total = base
        for name, value in node.attributes.items():
            if name.startswith("#health"):
                part = options.health_score(ws, value)
                if part <= -INFINITY or total <= -INFINITY:
                    total = -INFINITY
                else:
                    total = clamp(total + part)
        node.health = total
