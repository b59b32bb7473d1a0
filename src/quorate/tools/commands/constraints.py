"""Which constraints bear on a resource: locations, and colocations in both directions (crm_resource --constraints)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lxml import etree

from quorate.core.scheduler import WorkingSet
from quorate.core.scheduler.scores import parse_score, score_text
from quorate.core.scheduler.working_set import Resource

from ..monitor.status import located_resources, weights_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    id: str
    resource: str
    node: str
    score: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A colocation. `dependent` goes where `primary` is."""

    id: str
    dependent: str
    primary: str
    score: str
    dependent_role: str | None = None
    primary_role: str | None = None
    node_attribute: str | None = None


@dataclass(slots=True, kw_only=True)
class Tree:
    """What bears on `resource`: its places, and for each colocated resource the link with what bears on that one.
    `follows`: the resource is the dependent in `links`."""

    resource: str
    places: list[Place] = field(default_factory=list)
    dependents: list[tuple[Link, Tree]] = field(default_factory=list)
    primaries: list[tuple[Link, Tree]] = field(default_factory=list)


def outermost(rsc: Resource) -> Resource:
    return rsc.top_with_bundle


def tree(ws: WorkingSet, rsc: Resource, *, recursive: bool) -> Tree:
    links = list(all_links(ws))
    root = Tree(resource=rsc.id, places=places(ws, rsc.id))
    root.dependents = _follow(ws, links, rsc.id, True, recursive, {rsc.id})
    root.primaries = _follow(ws, links, rsc.id, False, recursive, {rsc.id})
    return root


def _follow(
    ws: WorkingSet, links: list[Link], name: str, dependents: bool, recursive: bool, seen: set[str]
) -> list[tuple[Link, Tree]]:
    found = []
    for link in links:
        here, there = (link.primary, link.dependent) if dependents else (link.dependent, link.primary)
        if here != name or there in seen:
            continue
        below = Tree(resource=there, places=places(ws, there))
        if recursive:
            further = _follow(ws, links, there, dependents, True, seen | {there})
            if dependents:
                below.dependents = further
            else:
                below.primaries = further
        found.append((link, below))
    return found


def places(ws: WorkingSet, name: str) -> list[Place]:
    """Location constraints of a resource by node, as they hold now."""
    found = []
    for location in reversed(ws.cib.findall("configuration/constraints/rsc_location")):  # as the peer lists them
        if not any(rsc.id == name for rsc in located_resources(ws, location)):
            continue
        for id, node, weight, _ in reversed(list(weights_of(ws, location))):
            found.append(Place(id=id, resource=name, node=node.name, score=score_text(weight)))
    return found


def all_links(ws: WorkingSet) -> Iterator[Link]:
    """Colocations in the order of the configuration; a set's members follow each other."""
    for constraint in ws.cib.iterfind("configuration/constraints/rsc_colocation"):
        id, score = constraint.get("id", ""), score_text(parse_score(constraint.get("score"), 1_000_000) or 0)
        if constraint.get("rsc") and constraint.get("with-rsc"):
            for dependent in _named(ws, constraint.get("rsc", "")):
                for primary in _named(ws, constraint.get("with-rsc", "")):
                    yield Link(
                        id=id,
                        dependent=dependent,
                        primary=primary,
                        score=score,
                        dependent_role=_role(constraint.get("rsc-role")),
                        primary_role=_role(constraint.get("with-rsc-role")),
                        node_attribute=constraint.get("node-attribute"),
                    )
            continue
        sets = constraint.findall("resource_set")
        for group in sets:
            yield from _set_links(ws, id, score, group)
        for left, right in zip(sets, sets[1:], strict=False):
            for dependent in _members(ws, left):
                for primary in _members(ws, right):
                    yield Link(
                        id=id,
                        dependent=dependent,
                        primary=primary,
                        score=score,
                        dependent_role=_role(left.get("role")),
                        primary_role=_role(right.get("role")),
                    )


def _set_links(ws: WorkingSet, id: str, score: str, group: etree._Element) -> Iterator[Link]:
    if group.get("sequential") == "false":
        return
    members = _members(ws, group)
    for earlier, later in zip(members, members[1:], strict=False):
        yield Link(
            id=id,
            dependent=later,
            primary=earlier,
            score=group.get("score") or score,
            dependent_role=_role(group.get("role")),
            primary_role=_role(group.get("role")),
        )


def _members(ws: WorkingSet, group: etree._Element) -> list[str]:
    return [name for ref in group.iterfind("resource_ref") for name in _named(ws, ref.get("id", ""))]


def _named(ws: WorkingSet, name: str) -> list[str]:
    return ws.tags.get(name) or ws.templates.get(name) or [name]


def _role(text: str | None) -> str | None:
    if text is None:
        return None
    role = {"master": "Promoted", "slave": "Unpromoted"}.get(text.lower(), text.capitalize())
    return None if role == "Started" else role
