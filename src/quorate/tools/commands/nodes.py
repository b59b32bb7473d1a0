"""Nodes as commands name them: by name or id, cluster nodes and remote ones; listing, removing, shutting down."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from quorate.model.cib import parse_fragment

from ..backends import Backend
from ..failure import CommandFailed, Exit


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """`kind`: "cluster", "remote" or "guest". `configured`: it has an element in the nodes section."""

    id: str
    name: str
    kind: str = "cluster"
    configured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEntry:
    id: int
    name: str
    state: str  # "member" or "lost"


def entries(backend: Backend, *, remote: bool = True) -> list[NodeEntry]:
    """Configured nodes in document order, then remote and guest nodes that only resources define."""
    data = backend.query(section="nodes", pretty=False)
    found: dict[str, NodeEntry] = {}
    for element in parse_fragment(data or b"<nodes/>").iterchildren("node"):
        name = element.get("uname") or element.get("id") or ""
        kind = "remote" if element.get("type") in ("remote", "ping") else "cluster"
        found[name] = NodeEntry(id=element.get("id", name), name=name, kind=kind)
    if remote:
        for name, kind in remote_names(backend).items():
            known = found.get(name)
            found[name] = NodeEntry(id=known.id if known else name, name=name, kind=kind, configured=known is not None)
    return list(found.values())


def remote_names(backend: Backend) -> dict[str, str]:
    """Names of remote and guest nodes by the resources that define them, with their kind."""
    data = backend.query(section="resources", pretty=False)
    names: dict[str, str] = {}
    if data is None:
        return names
    for element in parse_fragment(data).iter("primitive", "bundle"):
        if element.tag == "bundle":
            names |= dict.fromkeys(_bundle_nodes(element), "guest")
        elif element.get("type") == "remote" and element.get("provider") == "pacemaker":
            names[element.get("id", "")] = "remote"
        else:
            for pair in element.iterfind("meta_attributes/nvpair[@name='remote-node']"):
                names[pair.get("value", "")] = "guest"
    return names


def _bundle_nodes(bundle: etree._Element) -> list[str]:
    """A bundle with a resource inside makes one guest node for each replica."""
    container = next((e for e in bundle if e.tag in ("docker", "podman", "rkt")), None)
    if container is None or bundle.find("primitive") is None:
        return []
    text = container.get("replicas") or container.get("promoted-max") or container.get("masters") or "1"
    count = int(text) if text.isdigit() else 1
    return [f"{bundle.get('id')}-{number}" for number in range(count)]


def require(backend: Backend, name: str | None) -> NodeEntry:
    """The node by name (None: this node). CommandFailed(105) for one that nobody knows."""
    wanted = name or backend.local_node()
    configured = entries(backend, remote=False)
    for entry in configured:
        if entry.name == wanted:
            return entry
    folded = [entry for entry in configured if entry.name.lower() == wanted.lower()]
    if len(folded) == 1:
        return folded[0]
    kind = remote_names(backend).get(wanted)
    if kind is not None:
        return NodeEntry(id=wanted, name=wanted, kind=kind, configured=False)
    raise CommandFailed(Exit.NOSUCH, f"Could not map name={wanted} to a UUID")


def members(backend: Backend) -> list[MemberEntry]:
    """All cluster nodes that the cluster knows, by id."""
    status = backend.status(cib=False)
    return [
        MemberEntry(id=n.id, name=n.name, state="member" if n.in_view and n.manager else "lost")
        for n in sorted(status.nodes, key=lambda n: n.id)
    ]


def name_for_id(backend: Backend, number: str) -> str:
    """CommandFailed(68) for an unknown id, (64) for what is no id."""
    if not number.isdigit() or int(number) == 0:
        raise CommandFailed(Exit.USAGE, f"Invalid node ID '{number}'")
    for member in members(backend):
        if member.id == int(number):
            return member.name
    raise CommandFailed(Exit.NOHOST, "Node is not known to cluster")


def remove(backend: Backend, name: str, *, forced: bool = False) -> None:
    backend.request("node-remove", node=name, forced=forced)
