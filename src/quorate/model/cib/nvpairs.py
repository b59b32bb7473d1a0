"""Name-value pairs of a CIB: reading them plainly, and the operations that set or delete one.

The ids are those that crm_attribute and crm_resource generate: the set's, a dash, the name. Sets whose rules decide
whether they apply are the scheduler's business; here a set with a rule is passed over when reading, never when writing.
"""

from __future__ import annotations

import re

import msgspec
from lxml import etree

from quorate.model.options import CLUSTER
from quorate.model.reports import ExitCode, Place, Report

from .document import Cib, CibError, Element
from .operations import Operation, score

BOOTSTRAP = "cib-bootstrap-options"


class PairPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where sets of pairs stand: the section for operations, the path below it as (tag, id), the set's tag and the id
    that a new set gets."""

    section: str
    holders: tuple[tuple[str, str | None], ...] = ()
    set_tag: str
    set_id: str
    uname: str | None = None  # for a node_state that has to be made


def cluster_options_place() -> PairPlace:
    return PairPlace(section="crm_config", set_tag="cluster_property_set", set_id=BOOTSTRAP)


def defaults_place(section: str) -> PairPlace:
    """`section`: rsc_defaults or op_defaults."""
    return PairPlace(section=section, set_tag="meta_attributes", set_id=f"{section}-options")


def node_place(node_id: str, *, utilization: bool = False) -> PairPlace:
    tag, ending = ("utilization", "-utilization") if utilization else ("instance_attributes", "")
    return PairPlace(section="nodes", holders=(("node", node_id),), set_tag=tag, set_id=f"nodes-{node_id}{ending}")


def transient_place(node_id: str, *, uname: str | None = None, utilization: bool = False) -> PairPlace:
    tag, ending = ("utilization", "-utilization") if utilization else ("instance_attributes", "")
    return PairPlace(
        section="status", holders=(("node_state", node_id), ("transient_attributes", node_id)), set_tag=tag,
        set_id=f"status-{node_id}{ending}", uname=uname,
    )  # fmt: skip


def tickets_place() -> PairPlace:
    return PairPlace(
        section="status", holders=(("tickets", None),), set_tag="instance_attributes", set_id="status-tickets"
    )


def resource_place(cib: Cib, resource: str, set_tag: str) -> PairPlace:
    """`set_tag`: meta_attributes, instance_attributes or utilization. CibError when there is no such resource."""
    element = cib.find_id(resource)
    if element is None or element.tag not in ("primitive", "template", "group", "clone", "master", "bundle"):
        raise CibError(
            Report(code="cib-no-resource", message=f"there is no resource {resource!r}", exit_code=ExitCode.NOSUCH,
                   place=Place(id=resource), remedy="`crm_resource --list` names the resources")
        )  # fmt: skip
    return PairPlace(
        section="resources", holders=((str(element.tag), resource),), set_tag=set_tag, set_id=f"{resource}-{set_tag}"
    )


# ---- reading --------------------------------------------------------------------------------------------------------


def get_option(cib: Cib, name: str) -> str | None:
    """A cluster option's text under any of its names, as written; None when it is not set.

    Typed, with the default: `model.options.cluster_option`.
    """
    section = cib.section("crm_config")
    if section is None:
        return None
    sets = ordered_sets(section, "cluster_property_set", BOOTSTRAP)
    option = CLUSTER.get(name)
    for each in (name,) if option is None else option.names:
        if (value := pair_value(sets, each)) is not None:
            return value
    return None


def ordered_sets(holder: Element, set_tag: str, first: str | None = None) -> list[Element]:
    """Sets without rules, in the order in which they decide: `first`, then by falling score, then as they stand."""
    sets = [each for each in holder.iterchildren(set_tag) if each.find("rule") is None]
    return sorted(sets, key=lambda each: (each.get("id") != first, -score(each.get("score") or "0")))


def pair_value(sets: list[Element], name: str) -> str | None:
    for each in sets:
        for pair in each.iterchildren("nvpair"):
            if pair.get("name") == name:
                return pair.get("value")
    return None


def find_pairs(
    cib: Cib, place: PairPlace, name: str | None, *, set_id: str | None = None, pair_id: str | None = None
) -> list[Element]:
    """Every pair at that place with this name (any, if None), or narrowed to a set or to one id."""
    holder = _holder(cib, place)
    if holder is None:
        return []
    return [
        pair
        for each in holder.iterchildren(place.set_tag)
        if set_id is None or each.get("id") == set_id
        for pair in each.iterchildren("nvpair")
        if (name is None or pair.get("name") == name) and (pair_id is None or pair.get("id") == pair_id)
    ]


def values(cib: Cib, place: PairPlace) -> dict[str, str]:
    """All pairs of the place; of those with one name the first counts."""
    found: dict[str, str] = {}
    holder = _holder(cib, place)
    if holder is not None:
        for each in ordered_sets(holder, place.set_tag, BOOTSTRAP):
            for pair in each.iterchildren("nvpair"):
                found.setdefault(pair.get("name", ""), pair.get("value", ""))
    return found


def _holder(cib: Cib, place: PairPlace) -> Element | None:
    holder = cib.section(place.section)
    for tag, id in place.holders:
        if holder is None:
            return None
        if place.section == "resources":
            holder = cib.find_id(str(id))
        else:
            holder = next((child for child in holder.iterchildren(tag) if child.get("id") == id), None)
    return holder


# ---- writing --------------------------------------------------------------------------------------------------------


def set_pair(
    cib: Cib, place: PairPlace, name: str, value: str, *, set_id: str | None = None, pair_id: str | None = None
) -> Operation:
    """The operation that gives `name` this value: at its present place, else in the set `set_id` or the usual one.

    CibError (exit code 109) when several pairs have that name and neither id tells which is meant.
    """
    matches = find_pairs(cib, place, name, set_id=set_id, pair_id=pair_id)
    if len(matches) > 1:
        raise _several(name, matches)
    top, holder = _skeleton(place)
    if matches:
        parent = matches[0].getparent()
        assert parent is not None
        chosen_set, chosen_id = parent.get("id", ""), matches[0].get("id", "")
    else:
        chosen_set = set_id or place.set_id
        chosen_id = pair_id or sanitize_id(f"{chosen_set}-{name}")
    pairs = etree.Element(place.set_tag, id=chosen_set)
    if holder is None or top is None:
        top = pairs
    else:
        holder.append(pairs)
    pair = etree.SubElement(pairs, "nvpair", id=chosen_id)
    pair.set("name", name)
    pair.set("value", value)
    return Operation(kind="modify", section=place.section, xml=etree.tostring(top, encoding="utf-8"), allow_create=True)


def delete_pair(
    cib: Cib, place: PairPlace, name: str, *, set_id: str | None = None, pair_id: str | None = None
) -> Operation | None:
    """The operation that removes the pair; None when there is none. CibError (109) as for `set_pair`."""
    matches = find_pairs(cib, place, name, set_id=set_id, pair_id=pair_id)
    if not matches:
        return None
    if len(matches) > 1:
        raise _several(name, matches)
    pair = etree.Element("nvpair", id=matches[0].get("id", ""))
    pair.set("name", name)
    return Operation(kind="delete", section=place.section, xml=etree.tostring(pair, encoding="utf-8"))


def sanitize_id(text: str) -> str:
    """An id that XML accepts: whatever may not stand in one becomes a dot."""
    safe = re.sub(r"[^\w.-]", ".", text)
    return safe if re.match(r"[^\W\d]", safe) else f"_{safe}"


def _skeleton(place: PairPlace) -> tuple[Element | None, Element | None]:
    """The holders as nested elements for a modify: the outermost and the innermost."""
    top: Element | None = None
    inner: Element | None = None
    for tag, id in place.holders:
        made = etree.Element(tag) if inner is None else etree.SubElement(inner, tag)
        if id is not None:
            made.set("id", id)
        if tag == "node_state" and place.uname is not None:
            made.set("uname", place.uname)
        top, inner = (made if top is None else top), made
    return top, inner


def _several(name: str, matches: list[Element]) -> CibError:
    ids = ", ".join(pair.get("id", "?") for pair in matches)
    return CibError(
        Report(code="cib-several-pairs", message=f"several pairs are named {name!r}: {ids}",
               exit_code=ExitCode.MULTIPLE, place=Place(element="nvpair"), remedy="tell which one by its id or its set")
    )  # fmt: skip
