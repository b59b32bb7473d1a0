"""Node attributes, cluster options and defaults: find, set, delete (crm_attribute's meaning).

Permanent ones are nvpairs in the configuration; transient ones go through the cluster's attribute log when there is a
cluster, and stand in the status section of an offline CIB. Decided here: in which set and under which id a new value is
stored. Measured on crm_attribute of Pacemaker 2.1.5; deviation: defaults need no node there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from quorate.model.cib import parse_fragment

from ..backends import Backend
from ..failure import CommandFailed, Exit
from . import nodes

OPTION_SECTIONS = ("crm_config", "rsc_defaults", "op_defaults")
SECTIONS = (*OPTION_SECTIONS, "nodes", "status", "tickets")
BOOTSTRAP_SET = "cib-bootstrap-options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which attributes are meant. `node`: name; needed for the sections nodes and status. `pattern`: a regular
    expression that must match at the name's beginning; without name and pattern, all."""

    section: str
    node: str | None = None
    name: str | None = None
    pattern: str | None = None
    set_id: str | None = None
    pair_id: str | None = None
    utilization: bool = False

    def matches(self, name: str) -> bool:
        if self.pattern is not None:
            try:
                return re.match(self.pattern, name) is not None
            except re.error as error:
                raise CommandFailed(Exit.USAGE, f"{self.pattern!r} is not a regular expression: {error}") from None
        return self.name is None or name == self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    name: str
    value: str
    id: str | None = None
    set_id: str | None = None
    host: str | None = None


def promotion_score_name(resource: str) -> str:
    """The transient attribute that holds the promotion score of a resource. Source: pcmk__promotion_score_name."""
    return f"master-{resource}"


def find(backend: Backend, selection: Selection) -> list[Found]:
    """All matches in document order. CommandFailed(105) when the node is unknown."""
    if selection.section == "status" and backend.live and not selection.utilization:
        return _find_transient(backend, selection)
    return list(_pairs(backend, selection))


def _find_transient(backend: Backend, selection: Selection) -> list[Found]:
    if selection.name is not None and selection.pair_id is None and selection.set_id is None:
        values = backend.attributes(selection.name, node=selection.node)
        return [Found(name=v.name, value=v.value, host=v.node) for v in values]
    return list(_pairs(backend, selection))


def set_value(backend: Backend, selection: Selection, value: str) -> None:
    """Set one attribute, or all that a pattern finds. CommandFailed(109) with the candidates when several match."""
    if selection.pattern is not None:
        for found in list(_pairs(backend, selection)):
            set_value(
                backend,
                Selection(
                    section=selection.section,
                    node=selection.node,
                    name=found.name,
                    pair_id=found.id,
                    set_id=found.set_id,
                    utilization=selection.utilization,
                ),
                value,
            )
        return
    _require_name(selection)
    if selection.section == "status" and backend.live:
        backend.set_attribute(
            str(selection.name),
            value,
            node=selection.node,
            set_type="utilization" if selection.utilization else "instance_attributes",
            set_id=selection.set_id,
        )
        return
    existing = _only(list(_pairs(backend, selection)))
    if existing is None and selection.pair_id is not None and selection.name is None:
        raise CommandFailed(Exit.NOSUCH, f"There is no attribute with the id {selection.pair_id}")
    update = _update_document(backend, selection, existing, value)
    section = "status" if selection.section in ("status", "tickets") else selection.section
    backend.change("modify", section=section, xml=etree.tostring(update), allow_create=True)


def _require_name(selection: Selection) -> None:
    if not selection.name and not selection.pair_id and not selection.pattern:
        raise CommandFailed(Exit.USAGE, "Give the attribute's name with --name")


def delete(backend: Backend, selection: Selection) -> Found | None:
    """What was deleted, None when there was nothing. CommandFailed(109) when several match."""
    if selection.section == "status" and backend.live:
        _require_name(selection)
        backend.set_attribute(
            str(selection.name or selection.pattern),
            None,
            node=selection.node,
            set_type="utilization" if selection.utilization else "instance_attributes",
            pattern=selection.pattern is not None,
        )
        return None
    _require_name(selection)
    if selection.pattern is not None:
        for match in list(_pairs(backend, selection)):
            _remove(backend, selection.section, match)
        return None
    existing = _only(list(_pairs(backend, selection)))
    if existing is not None:
        _remove(backend, selection.section, existing)
    return existing


def _remove(backend: Backend, section: str, found: Found) -> None:
    pair = etree.Element("nvpair", id=found.id or "")
    backend.change(
        "delete", section="status" if section in ("status", "tickets") else section, xml=etree.tostring(pair)
    )


class SeveralMatch(CommandFailed):
    def __init__(self, matches: list[Found]) -> None:
        lines = [f"Multiple attributes match name={matches[0].name}"]
        lines += [f"  Value: {m.value} \t(id={m.id})" for m in matches]
        super().__init__(
            Exit.MULTIPLE,
            "Please choose from one of the matches below and supply the 'id' with --attr-id",
            output="\n".join(lines) + "\n",
        )


def _only(matches: list[Found]) -> Found | None:
    if len(matches) > 1:
        raise SeveralMatch(matches)
    return matches[0] if matches else None


# ---- in the document -----------------------------------------------------------------------------------------------


def _sets(backend: Backend, selection: Selection) -> Iterator[etree._Element]:
    section = selection.section
    if section in OPTION_SECTIONS:
        data = backend.query(section=section, pretty=False)
        if data is not None:
            tags = ("cluster_property_set",) if section == "crm_config" else ("meta_attributes",)
            yield from (e for e in parse_fragment(data) if e.tag in tags)
        return
    set_tag = "utilization" if selection.utilization else "instance_attributes"
    if section == "tickets":
        data = backend.query(xpath="/cib/status/tickets", pretty=False)
        if data is not None:
            yield from parse_fragment(data).iter(set_tag)
        return
    node = nodes.require(backend, selection.node)
    if section == "nodes":
        data = backend.query(section="nodes", pretty=False)
        for element in parse_fragment(data or b"<nodes/>").iterchildren("node"):
            if element.get("id") == node.id:
                yield from element.iterchildren(set_tag)
        return
    data = backend.query(section="status", pretty=False)
    for element in parse_fragment(data or b"<status/>").iterchildren("node_state"):
        if element.get("id") == node.id or element.get("uname") == node.name:
            for transient in element.iterchildren("transient_attributes"):
                yield from transient.iterchildren(set_tag)


def _pairs(backend: Backend, selection: Selection) -> Iterator[Found]:
    for holder in _sets(backend, selection):
        if selection.set_id is not None and holder.get("id") != selection.set_id:
            continue
        for pair in holder.iterchildren("nvpair"):
            name = pair.get("name", "")
            if selection.pair_id is not None and pair.get("id") != selection.pair_id:
                continue
            if selection.pair_id is not None and selection.name is None or selection.matches(name):
                yield Found(name=name, value=pair.get("value", ""), id=pair.get("id"), set_id=holder.get("id"))


def _update_document(backend: Backend, selection: Selection, existing: Found | None, value: str) -> etree._Element:
    """The fragment that, merged into its section, sets the value."""
    section = selection.section
    set_tag = "utilization" if selection.utilization else "instance_attributes"
    if section in OPTION_SECTIONS:
        root = etree.Element(section)
        default_set = BOOTSTRAP_SET if section == "crm_config" else f"{section}-options"
        parent, set_tag = root, "cluster_property_set" if section == "crm_config" else "meta_attributes"
    elif section == "tickets":
        root = etree.Element("status")
        parent, default_set = etree.SubElement(root, "tickets"), "status-tickets"
    else:
        node = nodes.require(backend, selection.node)
        default_set = f"{section}-{node.id}" + ("-utilization" if selection.utilization else "")
        if section == "nodes":
            root = etree.Element("nodes")
            parent = etree.SubElement(root, "node", id=node.id)
            if not node.configured:  # a remote node gets an entry of its own with its first attribute
                parent.set("type", "remote")
                parent.set("uname", node.name)
        else:
            root = etree.Element("status")
            state = etree.SubElement(root, "node_state", id=node.id)
            state.set("uname", node.name)
            parent = etree.SubElement(state, "transient_attributes", id=node.id)
    set_id = (existing.set_id if existing else None) or selection.set_id or default_set
    holder = etree.SubElement(parent, set_tag, id=set_id)
    name = selection.name or (existing.name if existing else "")
    pair_id = (existing.id if existing else None) or selection.pair_id or xml_id(f"{set_id}-{name}")
    pair = etree.SubElement(holder, "nvpair", id=pair_id)
    pair.set("name", name)
    pair.set("value", value)
    return root


def xml_id(text: str) -> str:
    """Characters that an XML id may not hold become dots. Source: pcmk__xe_set_id as crm_attribute shows it."""
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", ".", text)
    return cleaned if re.match(r"[A-Za-z_]", cleaned) else f"_{cleaned}"
