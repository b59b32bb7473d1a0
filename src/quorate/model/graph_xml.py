"""A transition graph as Pacemaker's `transition_graph` XML, and back."""

from __future__ import annotations

from lxml import etree

from .graph import Action, ActionKind, Graph, Synapse
from .time import parse_interval_ms

FEATURE_SET = "3.20.0"


def _seconds(ms: int) -> str:
    return f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms"


def to_element(graph: Graph) -> etree._Element:
    root = etree.Element("transition_graph")
    root.set("cluster-delay", _seconds(graph.cluster_delay_ms))
    root.set("fencing-timeout", _seconds(graph.stonith_timeout_ms))
    root.set("failed-stop-offset", graph.failed_stop_offset)
    root.set("failed-start-offset", graph.failed_start_offset)
    if graph.batch_limit:
        root.set("batch-limit", str(graph.batch_limit))
    root.set("transition_id", str(graph.transition_id))
    if graph.migration_limit > 0:
        root.set("migration-limit", str(graph.migration_limit))
    if graph.recheck_at is not None:
        root.set("recheck-by", str(graph.recheck_at))
    if graph.node_pending_timeout_ms:
        root.set("node-pending-timeout", _seconds(graph.node_pending_timeout_ms))
    if graph.shutdown_lock_ms:
        root.set("shutdown-lock-limit", _seconds(graph.shutdown_lock_ms))
    by_id = {action.id: action for synapse in graph.synapses for action in synapse.actions}
    for synapse in graph.synapses:
        element = etree.SubElement(root, "synapse", {"id": str(synapse.id)})
        if synapse.priority:
            element.set("priority", str(synapse.priority))
        actions = etree.SubElement(element, "action_set")
        for action in synapse.actions:
            _action(actions, action, True)
        inputs = etree.SubElement(element, "inputs")
        for number in synapse.inputs:
            found = by_id.get(number)
            if found is not None:
                _action(etree.SubElement(inputs, "trigger"), found, False)
    return root


def _action(parent: etree._Element, action: Action, whole: bool) -> None:
    element = etree.SubElement(parent, action.kind.value)
    element.set("id", str(action.id))
    element.set("operation", action.operation)
    element.set("operation_key", action.key)
    if action.resource_long is not None and action.kind is not ActionKind.CLUSTER and action.resource is not None:
        element.set("internal_operation_key", action.resource_long + action.key[len(action.resource):])
    if action.node is not None:
        element.set("on_node", action.node)
    if action.node_uuid is not None:
        element.set("on_node_uuid", action.node_uuid)
    if action.router is not None and action.router != action.node:
        element.set("router_node", action.router)
    if not whole:
        return
    if action.kind is not ActionKind.PSEUDO and action.resource is not None and action.resource_class is not None:
        primitive = etree.SubElement(element, "primitive", {"id": action.resource})
        if action.resource_long is not None:
            primitive.set("long-id", action.resource_long)
        primitive.set("class", action.resource_class)
        if action.resource_provider is not None:
            primitive.set("provider", action.resource_provider)
        primitive.set("type", action.resource_type or "")
    attributes = etree.SubElement(element, "attributes")
    for name in sorted(action.attributes):
        if name[:1].isdigit():  # not a name in XML
            etree.SubElement(attributes, "param", {"name": name, "value": action.attributes[name]})
        else:
            attributes.set(name, action.attributes[name])
    if action.downed:
        downed = etree.SubElement(element, "downed")
        for node in action.downed:
            etree.SubElement(downed, "node", {"id": node})


def to_bytes(graph: Graph) -> bytes:
    return etree.tostring(to_element(graph), pretty_print=True)


def from_element(root: etree._Element) -> Graph:
    """The graph that `to_element` writes, read back. Raises ValueError on what is not one."""
    if root.tag != "transition_graph":
        raise ValueError(f"<{root.tag}> is not a transition_graph")
    synapses: list[Synapse] = []
    for element in root.iterfind("synapse"):
        actions = tuple(_read(child) for child in element.iterfind("action_set/*"))
        inputs = tuple(int(child.get("id", "-1")) for child in element.iterfind("inputs/trigger/*"))
        synapses.append(Synapse(id=int(element.get("id", "0")), actions=actions, inputs=inputs,
                                priority=int(element.get("priority", "0"))))

    def span(name: str, default: int) -> int:
        found = parse_interval_ms(root.get(name), default)
        return default if found is None else found

    recheck = root.get("recheck-by")
    return Graph(
        synapses=tuple(synapses), transition_id=int(root.get("transition_id", "0")),
        batch_limit=int(root.get("batch-limit", "0")), migration_limit=int(root.get("migration-limit", "-1")),
        cluster_delay_ms=span("cluster-delay", 60_000), stonith_timeout_ms=span("fencing-timeout", 60_000),
        failed_stop_offset=root.get("failed-stop-offset", "INFINITY"),
        failed_start_offset=root.get("failed-start-offset", "INFINITY"),
        recheck_at=int(recheck) if recheck is not None else None,
        node_pending_timeout_ms=span("node-pending-timeout", 0), shutdown_lock_ms=span("shutdown-lock-limit", 0),
    )


def _read(element: etree._Element) -> Action:
    primitive = element.find("primitive")
    attributes = element.find("attributes")
    return Action(
        id=int(element.get("id", "0")), kind=ActionKind(element.tag), operation=element.get("operation", ""),
        key=element.get("operation_key", ""), node=element.get("on_node"), node_uuid=element.get("on_node_uuid"),
        router=element.get("router_node"),
        resource=primitive.get("id") if primitive is not None else None,
        resource_long=primitive.get("long-id") if primitive is not None else None,
        resource_class=primitive.get("class") if primitive is not None else None,
        resource_provider=primitive.get("provider") if primitive is not None else None,
        resource_type=primitive.get("type") if primitive is not None else None,
        attributes=_read_attributes(attributes) if attributes is not None else {},
        downed=tuple(str(node.get("id")) for node in element.iterfind("downed/node")),
    )


def _read_attributes(element: etree._Element) -> dict[str, str]:
    found = {str(name): str(value) for name, value in element.attrib.items()}
    for child in element.iterfind("param"):
        found[child.get("name", "")] = child.get("value", "")
    return found
