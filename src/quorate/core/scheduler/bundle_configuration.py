"""Bundles: the resources that the <bundle> element implies (addresses, containers, connections, the clone inside)."""

from __future__ import annotations

import ipaddress
from copy import deepcopy
from typing import TYPE_CHECKING

from .configuration import add_node, remote_connection_xml, unpack_resource
from .options import parse_boolean
from .scores import parse_score
from .working_set import BundleInfo, BundleReplica, Discovery, NodeKind, Resource, WorkingSet

if TYPE_CHECKING:
    from lxml import etree

REMOTE_PORT = "3121"
BUNDLE_NODE_SCORE = 500
UNAME = "#uname"  # stands for the node that hosts the container
AGENTS = ("docker", "podman", "rkt")


def unpack_bundle(ws: WorkingSet, bundle: Resource, element: etree._Element) -> bool:
    container = next((child for child in element if child.tag in AGENTS), None)
    if container is None or not container.get("image"):
        ws.warn("bundle-container", f"bundle {bundle.id} needs a container with an image", bundle.id, "error")
        return False
    info = BundleInfo(agent=str(container.tag), image=str(container.get("image")))
    bundle.bundle = info
    promoted_text = container.get("promoted-max") or container.get("masters")
    info.promoted_max = max(0, parse_score(promoted_text, 0) or 0)
    default = info.promoted_max if info.promoted_max > 0 else 1
    info.replicas_max = parse_score(container.get("replicas"), default) or default
    info.replicas_per_host = max(1, parse_score(container.get("replicas-per-host"), 1) or 1)
    bundle.unique = info.replicas_per_host > 1
    for name, value in container.attrib.items():
        info.settings[str(name)] = str(value)
    network = element.find("network")
    address: str | None = None
    if network is not None:
        address = network.get("ip-range-start")
        info.control_port = network.get("control-port")
        info.add_host = parse_boolean(network.get("add-host"), True)
        for name, value in network.attrib.items():
            info.settings["network:" + str(name)] = str(value)
        for mapping in network:
            if mapping.tag == "port-mapping":
                info.ports.append({str(k): str(v) for k, v in mapping.attrib.items()})
    storage = element.find("storage")
    if storage is not None:
        for mapping in storage:
            if mapping.tag == "storage-mapping":
                info.mounts.append({str(k): str(v) for k, v in mapping.attrib.items()})
    primitive = element.find("primitive")
    if primitive is not None:
        if not address and not info.control_port:
            ws.warn("bundle-network", f"bundle {bundle.id}: the primitive inside needs ip-range-start or control-port",
                    bundle.id, "error")
            return False
        _add_clone(ws, bundle, info, primitive)
        info.mounts.append({"source-dir": "/etc/pacemaker/authkey", "target-dir": "/etc/pacemaker/authkey"})
        info.mounts.append({"source-dir-root": "/var/log/pacemaker/bundles", "target-dir": "/var/log"})
        port = info.control_port or REMOTE_PORT
        info.ports.append({"port": port})
        info.attribute_target = bundle.meta.get("container-attribute-target")
    _add_replicas(ws, bundle, info, address)
    return True


def _pairs(parent: etree._Element, tag: str, identifier: str, pairs: dict[str, str]) -> None:
    from lxml import etree

    block = etree.SubElement(parent, tag, {"id": identifier})
    for name, value in pairs.items():
        etree.SubElement(block, "nvpair", {"id": f"{identifier}-{name}", "name": name, "value": value})


def _add_clone(ws: WorkingSet, bundle: Resource, info: BundleInfo, primitive: etree._Element) -> None:
    from lxml import etree

    suffix = "master" if info.promoted_max else "clone"
    clone = etree.Element("clone", {"id": f"{bundle.id}-{suffix}"})
    meta = {
        "ordered": "true", "clone-max": str(info.replicas_max), "clone-node-max": str(info.replicas_per_host),
        "globally-unique": "true" if info.replicas_per_host > 1 else "false",
    }
    if info.promoted_max:
        meta["promotable"] = "true"
        meta["promoted-max"] = str(info.promoted_max)
    _pairs(clone, "meta_attributes", f"{bundle.id}-{suffix}-meta", meta)
    clone.append(deepcopy(primitive))
    child = unpack_resource(ws, clone, bundle)
    info.child = child


def _add_replicas(ws: WorkingSet, bundle: Resource, info: BundleInfo, address: str | None) -> None:
    addresses: list[str | None] = [None] * info.replicas_max
    host_options = ""
    if address:
        try:
            start = ipaddress.ip_address(address)
            addresses = [str(start + offset) for offset in range(info.replicas_max)]
        except ValueError:
            ws.warn("bundle-address", f"bundle {bundle.id}: '{address}' is not an address", bundle.id, "error")
        if info.add_host:
            host_options = "".join(
                f" --add-host={bundle.id}-{offset}:{ip}" for offset, ip in enumerate(addresses) if ip is not None)
    children = sorted(info.child.children, key=lambda child: child.number) if info.child is not None else []
    for offset in range(info.replicas_max):
        ip: Resource | None = None
        at = addresses[offset]
        if at is not None:
            ip = _address(ws, bundle, info, at)
        container = _container(ws, bundle, info, offset, at, host_options)
        if container is None:
            continue
        replica = BundleReplica(offset=offset, ip=ip, container=container, ip_address=at)
        info.replicas.append(replica)
        if info.child is not None and offset < len(children):
            replica.child = children[offset]
            if at is not None:
                replica.child.meta["external-ip"] = at
            _connection(ws, bundle, info, replica)
    for replica in info.replicas:
        if replica.remote is not None:
            replica.remote.container = replica.container
            if replica.remote not in replica.container.fillers:
                replica.container.fillers.append(replica.remote)


def _monitored(parent: etree._Element, name: str) -> None:
    from lxml import etree

    operations = etree.SubElement(parent, "operations")
    etree.SubElement(operations, "op", {"id": f"{name}-monitor-60s", "name": "monitor", "interval": "60s"})


def _address(ws: WorkingSet, bundle: Resource, info: BundleInfo, address: str) -> Resource | None:
    from lxml import etree

    name = f"{bundle.id}-ip-{address}".replace(":", "-")
    primitive = etree.Element("primitive", {"id": name, "class": "ocf", "provider": "heartbeat", "type": "IPaddr2"})
    pairs = {"ip": address}
    interface = info.settings.get("network:host-interface")
    if interface:
        pairs["nic"] = interface
    pairs["cidr_netmask"] = info.settings.get("network:host-netmask") or "32"
    _pairs(primitive, "instance_attributes", f"{name}-attributes", pairs)
    _monitored(primitive, name)
    return unpack_resource(ws, primitive, bundle)


def _container(
    ws: WorkingSet, bundle: Resource, info: BundleInfo, offset: int, address: str | None, host_options: str,
) -> Resource | None:
    from lxml import etree

    name = f"{bundle.id}-{info.agent}-{offset}"
    primitive = etree.Element("primitive", {"id": name, "class": "ocf", "provider": "heartbeat", "type": info.agent})
    mounts: list[str] = []
    options = " --restart=no" if info.agent == "docker" else ""
    if address is not None:
        options += f" -h {bundle.id}-{offset}"
    options += " -e PCMK_stderr=1"
    network = info.settings.get("network")
    if network:
        options += f" --net={network}"
    options += f" -e PCMK_remote_port={info.control_port or REMOTE_PORT}"
    for mount in info.mounts:
        root = mount.get("source-dir-root")
        source = f"{root}/{bundle.id}-{offset}" if root is not None else mount.get("source-dir", "")
        if root is not None:
            mounts.append(source)
        options += f" -v {source}:{mount.get('target-dir', '')}"
        if mount.get("options"):
            options += f":{mount['options']}"
    for port in info.ports:
        outer, inner = port.get("port") or port.get("range", ""), port.get("internal-port") or port.get("port") or (
            port.get("range", ""))
        if address is not None:
            options += f" -p {address}:{outer}:{inner}"
        elif network != "host":
            options += f" -p {outer}:{inner}"
    if info.settings.get("options"):
        options += f" {info.settings['options']}"
    options += f" {host_options}" if host_options else " "
    pairs = {
        "image": info.image, "allow_pull": "true", "force_kill": "false", "reuse": "false", "run_opts": options,
        "mount_points": ",".join(mounts), "monitor_cmd": "/bin/true",
    }
    command = info.settings.get("run-command")
    if info.child is not None:
        pairs["run_cmd"] = command or "/usr/sbin/pacemaker-remoted"
    elif command:
        pairs["run_cmd"] = command
    _pairs(primitive, "instance_attributes", f"{name}-attributes", pairs)
    _monitored(primitive, name)
    container = unpack_resource(ws, primitive, bundle)
    if container is not None:
        container.use_container_ip = True
        if info.replicas_per_host > 1:
            container.unique = True
        container.number = -1
    return container


def _connection(ws: WorkingSet, bundle: Resource, info: BundleInfo, replica: BundleReplica) -> None:
    name = f"{bundle.id}-{replica.offset}"
    if name in ws.resource_by_id:
        name = f"{bundle.id}-remote-{replica.offset}"
    xml = remote_connection_xml(
        name, replica.container.id, None, None, None, replica.ip_address or UNAME, info.control_port or REMOTE_PORT)
    node = ws.node_by_name.get(name)
    if node is None:
        node = add_node(ws, name, name, NodeKind.REMOTE)
    node.exclusive = True
    for rsc in ws.all_resources:
        if node.index in rsc.allowed:
            rsc.allowed[node.index] = -1_000_000
            rsc.discovery[node.index] = Discovery.NEVER
    replica.node = node
    child = replica.child
    assert child is not None
    child.allowed = {node.index: BUNDLE_NODE_SCORE}
    child.discovery = {node.index: Discovery.EXCLUSIVE}
    if child.parent is not None:
        child.parent.allowed[node.index] = -1_000_000
    remote = unpack_resource(ws, xml, bundle)
    if remote is None:
        return
    remote.allowed.pop(node.index, None)
    for index in list(remote.allowed):
        if ws.nodes[index].is_remote_or_guest:
            remote.allowed[index] = -1_000_000
    remote.remote_node = node
    node.remote_resource = remote
    node.attributes["#kind"] = "container"
    replica.remote = remote
    ws.have_remote_nodes = True
