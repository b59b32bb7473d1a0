"""Moving resources by constraints: prefer a node, ban one, and take both back (crm_resource --move, --ban, --clear).

The constraints bear Pacemaker's ids, cli-prefer-RSC and cli-ban-RSC-on-NODE; a lifetime becomes a rule with a date.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from quorate.core.scheduler import WorkingSet
from quorate.core.scheduler.working_set import Kind, Resource, Role
from quorate.model.cib import parse_fragment
from quorate.model.rules import RuleInput, evaluate_rule
from quorate.model.time import add_duration, parse_duration

from ..backends import Backend
from ..failure import CommandFailed, Exit
from ..monitor.resources import nodes_of
from ..monitor.words import iso


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """A ban that was made, to be warned of."""

    id: str
    resource: str
    node: str
    promoted: bool


def lifetime_end(text: str | None, now: float) -> int | None:
    """Wall seconds at which an ISO 8601 duration from now ends."""
    if text is None:
        return None
    try:
        return add_duration(int(now), parse_duration(text))
    except ValueError as error:
        raise CommandFailed(
            Exit.USAGE, f"--lifetime {text!r} is not an ISO 8601 duration such as PT2H: {error}"
        ) from None


def require_node(ws: WorkingSet, name: str) -> None:
    if name not in ws.node_by_name:
        raise CommandFailed(Exit.NOSUCH, f"Node '{name}' not found")


def _promoted_or_all(rsc: Resource, promoted: bool) -> list[str]:
    """Where it is active (as promoted)."""
    if not promoted:
        return [node.name for node in nodes_of(rsc)]
    return [node.name for child in rsc.children for node in child.running_on if child.role is Role.PROMOTED]


def move(
    backend: Backend,
    ws: WorkingSet,
    rsc: Resource,
    node: str,
    *,
    promoted: bool = False,
    until: int | None = None,
    force: bool = False,
) -> Ban | None:
    """Prefer `node`. With `force` also ban where it runs now, even if that is `node`'s equal."""
    require_node(ws, node)
    if promoted and not rsc.promotable:
        if rsc.parent is not None and rsc.parent.promotable:
            rsc = rsc.parent
        else:
            promoted = False  # as the peer: the option means nothing for it
    current = _promoted_or_all(rsc, promoted or rsc.promotable)
    if len(current) == 1 and current[0] == node and not force:
        raise CommandFailed(Exit.EXISTS, f"{rsc.id} is already active on {node}: Requested item already exists")
    _drop(backend, rsc.id, prefer=True, banned=(node,), ws=ws)
    location = _location(f"cli-prefer-{rsc.id}", rsc.id, promoted)
    if until is None:
        location.set("node", node)
        location.set("score", "INFINITY")
    else:
        rule = etree.SubElement(location, "rule", id=f"cli-prefer-rule-{rsc.id}", score="INFINITY")
        rule.set("boolean-op", "and")
        _expression(rule, f"cli-prefer-expr-{rsc.id}", node)
        _end(rule, f"cli-prefer-lifetime-end-{rsc.id}", until)
    backend.change("modify", section="constraints", xml=_wrapped(location), allow_create=True)
    if force and len(current) == 1 and current[0] != node:
        return ban(backend, ws, rsc, current[0], promoted=promoted, until=until)
    return None


def move_away(
    backend: Backend, ws: WorkingSet, rsc: Resource, *, promoted: bool = False, until: int | None = None
) -> Ban:
    """Ban the one node on which it runs. CommandFailed(64) when there is not exactly one."""
    current = _promoted_or_all(rsc, promoted)
    if len(current) != 1 and rsc.kind is Kind.CLONE and rsc.promotable and not promoted:
        current = _promoted_or_all(rsc, True)
    if len(current) != 1:
        raise CommandFailed(
            Exit.USAGE,
            f"Resource '{rsc.id}' not moved: active in {len(current)} locations"
            f"{' (promoted in ' + str(len(_promoted_or_all(rsc, True))) + ')' if rsc.promotable else ''}.\n"
            f"To prevent '{rsc.id}' from running on a specific location, specify a node.",
        )
    return ban(backend, ws, rsc, current[0], promoted=promoted, until=until)


def ban(
    backend: Backend, ws: WorkingSet, rsc: Resource, node: str, *, promoted: bool = False, until: int | None = None
) -> Ban:
    require_node(ws, node)
    id = f"cli-ban-{rsc.id}-on-{node}"
    location = _location(id, rsc.id, promoted)
    if until is None:
        location.set("node", node)
        location.set("score", "-INFINITY")
    else:
        rule = etree.SubElement(location, "rule", id=f"{id}-rule", score="-INFINITY")
        rule.set("boolean-op", "and")
        _expression(rule, f"{id}-expr", node)
        _end(rule, f"{id}-lifetime", until)
    backend.change("modify", section="constraints", xml=_wrapped(location), allow_create=True)
    return Ban(id=id, resource=rsc.id, node=node, promoted=promoted)


def clear(
    backend: Backend,
    ws: WorkingSet,
    resource: str,
    *,
    node: str | None = None,
    force: bool = False,
    expired: bool = False,
) -> list[str]:
    """Ids of the constraints that were removed."""
    constraints = _constraints(backend)
    ids: list[str] = []
    for location in constraints.iterfind("rsc_location"):
        id = str(location.get("id", ""))
        is_prefer, is_ban = id == f"cli-prefer-{resource}", id.startswith(f"cli-ban-{resource}-on-")
        if not is_prefer and not is_ban:
            continue
        if expired:
            if _has_expired(location, ws.now):
                ids.append(id)
        elif node is None or _names(location, node) or (is_prefer and force):
            ids.append(id)
    for id in ids:
        backend.change("delete", section="constraints", xml=etree.tostring(etree.Element("rsc_location", id=id)))
    return ids


def _drop(backend: Backend, resource: str, *, prefer: bool, banned: tuple[str, ...], ws: WorkingSet) -> None:
    """Before a new preference: an old one, and a ban of the node that is now wanted."""
    present = {str(e.get("id")) for e in _constraints(backend).iterfind("rsc_location")}
    wanted = [f"cli-prefer-{resource}"] * prefer + [f"cli-ban-{resource}-on-{node}" for node in banned]
    for id in wanted:
        if id in present:
            backend.change("delete", section="constraints", xml=etree.tostring(etree.Element("rsc_location", id=id)))


def _constraints(backend: Backend) -> etree._Element:
    return parse_fragment(backend.query(section="constraints", pretty=False) or b"<constraints/>")


def _names(location: etree._Element, node: str) -> bool:
    if location.get("node") == node:
        return True
    return any(e.get("attribute") == "#uname" and e.get("value") == node for e in location.iter("expression"))


def _has_expired(location: etree._Element, now: int) -> bool:
    """Its rule has an end, and that is past."""
    for rule in location.iterfind("rule"):
        for date in rule.iterfind("date_expression"):
            end = date.get("end")
            if end is not None and date.get("operation") == "lt":
                alone = etree.Element("rule", id="r")
                alone.append(parse_fragment(etree.tostring(date)))
                return not evaluate_rule(alone, RuleInput(now=now))
    return False


def _location(id: str, resource: str, promoted: bool) -> etree._Element:
    element = etree.Element("rsc_location", id=id)
    element.set("rsc", resource)
    element.set("role", "Promoted" if promoted else "Started")
    return element


def _expression(rule: etree._Element, id: str, node: str) -> None:
    expression = etree.SubElement(rule, "expression", id=id, attribute="#uname")
    expression.set("operation", "eq")
    expression.set("value", node)
    expression.set("type", "string")


def _end(rule: etree._Element, id: str, until: int) -> None:
    date = etree.SubElement(rule, "date_expression", id=id, operation="lt")
    date.set("end", iso(until))


def _wrapped(location: etree._Element) -> bytes:
    root = etree.Element("constraints")
    root.append(location)
    data: bytes = etree.tostring(root)
    return data
