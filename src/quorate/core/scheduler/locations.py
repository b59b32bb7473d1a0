"""Location constraints: unpacking, and applying them to the scores of nodes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quorate.model.rules import RuleInput, evaluate_rule

from .attributes import resolve
from .configuration import parameters, parse_role
from .options import parse_boolean
from .reasons import Cause, Reason
from .scores import INFINITY, add_scores, parse_score
from .working_set import Discovery, Kind, Node, Resource, Role, WorkingSet

if TYPE_CHECKING:
    from lxml import etree


@dataclass(slots=True, eq=False, kw_only=True)
class Location:
    id: str
    rsc: Resource
    role: Role = Role.UNKNOWN
    discovery: Discovery = Discovery.ALWAYS
    scores: dict[int, int] = field(default_factory=dict)  # node index -> score


def expand_reference(ws: WorkingSet, name: str) -> list[str] | None:
    """Resource ids behind the name of a resource, tag or template; None when it names nothing."""
    if name in ws.resource_by_id and ws.resource_by_id[name].number < 0:
        return [name]
    if name in ws.templates:
        return list(ws.templates[name])
    if name in ws.tags:
        found: list[str] = []
        for member in ws.tags[name]:
            if member in ws.tags or member in ws.templates:
                found += expand_reference(ws, member) or []
            else:
                found.append(member)
        return found
    return None


def find_resource(ws: WorkingSet, name: str | None) -> Resource | None:
    """A resource as constraints name it: an instance of a clone stands for ... its clone."""
    if name is None:
        return None
    rsc = ws.resource_by_id.get(name)
    if rsc is None:
        first = ws.resource_by_id.get(f"{name}:0")
        if first is None:
            return None
        rsc = first
    while rsc.parent is not None:
        clone = rsc.enclosing_clone
        if clone is None:
            break
        rsc = clone
    if rsc.parent is not None and rsc.parent.kind is Kind.BUNDLE:
        return rsc.parent
    return rsc


def unpack_location(ws: WorkingSet, element: etree._Element) -> None:
    place = element.get("id") or ""
    sets = [child for child in element if child.tag == "resource_set"]
    if sets:
        for child in sets:
            found = resolve(ws, child)
            if found is not None:
                _location_set(ws, element, found)
        return
    pattern = element.get("rsc-pattern")
    if pattern is not None:
        invert = pattern.startswith("!")
        try:
            expression = re.compile(pattern[1:] if invert else pattern)
        except re.error as error:
            ws.warn("location-pattern", f"location constraint '{place}': '{pattern}' is not a pattern ({error})", place,
                    "error")
            return
        for rsc in list(ws.resources):
            match = expression.search(rsc.id)
            if bool(match) != invert:
                unpack_single(ws, element, rsc, None, match)
        return
    name = element.get("rsc")
    if name is None:
        return
    names = expand_reference(ws, name)
    if names is None:
        only = find_resource(ws, name)
        if only is None:
            ws.warn("constraint-resource", f"location constraint '{place}' names resource '{name}', which does not exist",
                    place)
            return
        unpack_single(ws, element, only, None, None)
        return
    for member in names:
        chosen = find_resource(ws, member)
        if chosen is None:
            ws.warn("constraint-resource", f"location constraint '{place}' names resource '{member}', which does not "
                    "exist", place)
            continue
        unpack_single(ws, element, chosen, None, None)


def _location_set(ws: WorkingSet, element: etree._Element, members: etree._Element) -> None:
    role = members.get("role")
    score = members.get("score")
    for reference in members:
        if reference.tag != "resource_ref":
            continue
        for name in expand_reference(ws, reference.get("id") or "") or [reference.get("id") or ""]:
            rsc = find_resource(ws, name)
            if rsc is None:
                ws.warn("constraint-resource", f"location constraint '{element.get('id')}' names resource '{name}', "
                        "which does not exist", element.get("id"))
                continue
            unpack_single(ws, element, rsc, role, None, score)


def _discovery(ws: WorkingSet, element: etree._Element) -> Discovery:
    text = element.get("resource-discovery", "always")
    try:
        return Discovery[text.upper()]
    except KeyError:
        ws.warn("discovery", f"'{text}' is not a value of resource-discovery", element.get("id"))
        return Discovery.ALWAYS


def unpack_single(
    ws: WorkingSet, element: etree._Element, rsc: Resource, role_text: str | None, match: re.Match[str] | None,
    set_score: str | None = None,
) -> None:
    place = element.get("id") or ""
    discovery = _discovery(ws, element)
    node_name = element.get("node")
    score_text = element.get("score", set_score)
    if node_name is not None:
        score = parse_score(score_text, 0)
        node = ws.node_by_name.get(node_name)
        if node is None:
            ws.warn("constraint-node", f"location constraint '{place}' names node '{node_name}', which does not exist",
                    place)
            return
        if score is None:
            ws.warn("score", f"location constraint '{place}': '{score_text}' is not a score", place, "error")
            return
        location = add_location(ws, place, rsc, discovery)
        location.scores[node.index] = score
        location.role = _role(ws, role_text or element.get("role"), place)
        return
    for child in element:
        if child.tag != "rule":
            continue
        rule = resolve(ws, child)
        if rule is not None:
            _rule_location(ws, place, rsc, rule, discovery, role_text or element.get("role"), match)


def _role(ws: WorkingSet, text: str | None, place: str) -> Role:
    if text is None:
        return Role.UNKNOWN
    role = parse_role(text)
    if role is Role.UNKNOWN:
        ws.warn("role", f"constraint '{place}': '{text}' is not a role", place, "error")
    return Role.UNKNOWN if role is Role.STARTED else role


def _rule_location(
    ws: WorkingSet, place: str, rsc: Resource, rule: etree._Element, discovery: Discovery, role_text: str | None,
    match: re.Match[str] | None,
) -> None:
    location = add_location(ws, place, rsc, discovery)
    location.role = _role(ws, rule.get("role") or role_text, place)
    attribute = rule.get("score-attribute")
    fixed = parse_score(rule.get("score"), 0)
    for node in ws.nodes:
        given = RuleInput(
            now=ws.now, node_attributes=node.attributes, match=match, meta=rsc.meta,
            parameters=parameters(ws, rsc, node), resource_class=rsc.agent_class or None,
            resource_provider=rsc.agent_provider, resource_type=rsc.agent_type or None,
        )
        holds = evaluate_rule(rule, given)
        ws.recheck(given.next_change)
        if not holds:
            continue
        if attribute is not None:
            name = _expand(attribute, match)
            score = parse_score(node.attributes.get(name), 0)
        else:
            score = fixed
        if score is None:
            continue
        location.scores[node.index] = score


def _expand(text: str, match: re.Match[str] | None) -> str:
    if match is None:
        return text
    return re.sub(r"%(\d)", lambda m: match[int(m[1])] or "" if int(m[1]) <= (match.re.groups or 0) else "", text)


def add_location(ws: WorkingSet, place: str, rsc: Resource, discovery: Discovery = Discovery.ALWAYS) -> Location:
    location = Location(id=place, rsc=rsc, discovery=discovery)
    if discovery is Discovery.EXCLUSIVE:
        rsc.exclusive_discovery = True
    ws.locations.append(location)
    rsc.locations.append(location)
    return location


# ---- applying ---------------------------------------------------------------------------------------------------


def apply_locations(ws: WorkingSet) -> None:
    for location in ws.locations:
        apply_location(location.rsc, location, location.scores)


def apply_location(rsc: Resource, location: Location, scores: dict[int, int]) -> None:
    """Applies to the resource itself and to what it contains, as its variant wants it."""
    _apply_here(rsc, location, scores)
    if rsc.kind is Kind.GROUP:
        first = True
        zeroed = {index: 0 for index in scores}
        for member in rsc.children:
            apply_location(member, location, scores if first else zeroed)
            first = False
    elif rsc.kind is Kind.CLONE:
        for child in rsc.children:
            apply_location(child, location, scores)
    elif rsc.kind is Kind.BUNDLE:
        from .bundle import apply_location_to_bundle

        apply_location_to_bundle(rsc, location, scores)


def _apply_here(rsc: Resource, location: Location, scores: dict[int, int]) -> None:
    if location.role > Role.STARTED and location.role is not rsc.next_role:
        return
    if location.role is Role.STOPPED and rsc.next_role is not Role.STOPPED:
        return
    allowed = rsc.allowed
    for index, score in scores.items():
        present = allowed.get(index)
        allowed[index] = score if present is None else add_scores(present, score)
        if location.discovery is not Discovery.ALWAYS and (
            rsc.discovery.get(index, Discovery.ALWAYS) < location.discovery
        ):
            rsc.discovery[index] = location.discovery
        if score:
            rsc.reasons.append(Reason(Cause.LOCATION, location.id, index, score))


def apply_health(ws: WorkingSet) -> None:
    """Health is a location of every resource."""
    from .configuration import health_scores

    strategy = ws.options["node-health-strategy"]
    if strategy == "none":
        return
    health_scores(ws)
    for node in ws.nodes:
        if node.health == 0:
            continue
        for rsc in ws.resources:
            constrain = True
            if node.health < 0:
                constrain = not parse_boolean(rsc.meta.get("allow-unhealthy-nodes"))
            if constrain:
                location = add_location(ws, strategy, rsc)
                location.scores[node.index] = node.health


def apply_stickiness(ws: WorkingSet, rsc: Resource) -> None:
    from .history import adjust

    if rsc.children:
        for child in rsc.children:
            apply_stickiness(ws, child)
        return
    if rsc.kind is not Kind.PRIMITIVE or not rsc.managed or rsc.stickiness < 1 or len(rsc.running_on) != 1:
        return
    node = rsc.running_on[0]
    if not ws.symmetric and node.index not in rsc.allowed:
        return
    adjust(rsc, node, rsc.stickiness)
    rsc.reasons.append(Reason(Cause.STICKINESS, None, node.index, rsc.stickiness))


def apply_exclusive_discovery(ws: WorkingSet, rsc: Resource) -> None:
    """With resource-discovery=exclusive only the nodes of such constraints are left."""
    if not (rsc.exclusive_discovery or rsc.top.exclusive_discovery):
        return
    for child in rsc.children:
        apply_exclusive_discovery(ws, child)
    for index in rsc.allowed:
        if rsc.discovery.get(index, Discovery.ALWAYS) is not Discovery.EXCLUSIVE:
            rsc.allowed[index] = -INFINITY


def apply_fail_limits(ws: WorkingSet) -> None:
    """Nodes where a resource failed too often are forbidden to it."""
    from .failcounts import threshold_reached
    from .history import adjust

    counted: list[Node] = [node for node in ws.nodes if any(name.startswith("fail-count-") for name in node.attributes)]
    if not counted:
        return
    for rsc in ws.all_resources:
        if rsc.children or rsc.kind is not Kind.PRIMITIVE:
            continue
        for node in counted:
            subject = threshold_reached(ws, rsc, node)
            if subject is not None:
                adjust(subject, node, -INFINITY)
                subject.reasons.append(Reason(Cause.FAIL_COUNT, rsc.id, node.index, -INFINITY))
