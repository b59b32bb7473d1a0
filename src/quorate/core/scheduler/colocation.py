"""Colocation constraints: unpacking, who is colocated with whom, and what that does to scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .actions import IF_REQUIRED_ON_SAME_NODE
from .attributes import resolve
from .configuration import parse_role
from .locations import expand_reference, find_resource
from .options import parse_boolean
from .ordering_constraints import order_tasks, set_resources
from .reasons import Cause, Reason
from .scores import INFINITY, add_scores, parse_score
from .working_set import Kind, Node, Resource, Role, WorkingSet

if TYPE_CHECKING:
    from lxml import etree

# how scores of others are gathered
SELECT_ACTIVE = 1
SELECT_NONNEGATIVE = 2
SELECT_THIS_WITH = 4
FILTERED = -100 * INFINITY  # a node that a positive-only merge took out


@dataclass(slots=True, eq=False)
class Colocation:
    id: str
    dependent: Resource
    primary: Resource
    score: int
    dependent_role: Role = Role.UNKNOWN
    primary_role: Role = Role.UNKNOWN
    node_attribute: str = "#uname"
    influence: bool = True
    explicit: bool = True

    @property
    def mandatory(self) -> bool:
        return self.score >= INFINITY or self.score <= -INFINITY


def _rank(rsc: Resource) -> tuple[int, int, int]:
    return (-rsc.priority, -int(rsc.kind), 0 if rsc.kind is Kind.CLONE and rsc.promotable else 1)


def sort_this_with(found: list[Colocation]) -> list[Colocation]:
    return sorted(found, key=lambda c: (*_rank(c.primary), c.id))


def sort_with_this(found: list[Colocation]) -> list[Colocation]:
    return sorted(found, key=lambda c: (*_rank(c.dependent), c.id))


def add_colocation(
    ws: WorkingSet, identifier: str, dependent: Resource, primary: Resource, score: int,
    dependent_role: Role = Role.UNKNOWN, primary_role: Role = Role.UNKNOWN, attribute: str | None = None,
    influence: bool = True, explicit: bool = False,
) -> None:
    if score == 0 or dependent is primary:
        return
    constraint = Colocation(
        identifier, dependent, primary, score,
        Role.UNKNOWN if dependent_role is Role.STARTED else dependent_role,
        Role.UNKNOWN if primary_role is Role.STARTED else primary_role, attribute or "#uname", influence, explicit)
    ws.colocations.append(constraint)
    dependent.this_with.append(constraint)
    primary.with_this.append(constraint)
    if score <= -INFINITY:
        _keep_apart(ws, dependent, constraint.dependent_role, primary, constraint.primary_role)
        _keep_apart(ws, primary, constraint.primary_role, dependent, constraint.dependent_role)


def _keep_apart(ws: WorkingSet, first: Resource, first_role: Role, then: Resource, then_role: Role) -> None:
    """What must never share a node leaves it before the other comes."""
    leaving = ["demote"] if first_role is Role.PROMOTED else ["stop"]
    if first_role is Role.UNPROMOTED:
        leaving.append("promote")
    coming = ["promote"] if then_role is Role.PROMOTED else ["start"]
    if then_role is Role.UNPROMOTED:
        coming.append("demote")
    for one in leaving:
        for two in coming:
            order_tasks(ws, first, one, then, two, IF_REQUIRED_ON_SAME_NODE)


# ---- unpacking --------------------------------------------------------------------------------------------------


def _influence(ws: WorkingSet, element: etree._Element, dependent: Resource, members: etree._Element | None = None) -> bool:
    text = element.get("influence")
    if text is not None:
        return parse_boolean(text, True)
    return dependent.critical


def _role(ws: WorkingSet, text: str | None, place: str | None) -> Role:
    if text is None:
        return Role.UNKNOWN
    role = parse_role(text)
    if role is Role.UNKNOWN:
        ws.warn("role", f"constraint '{place}': '{text}' is not a role", place, "error")
    return role


def unpack_colocation(ws: WorkingSet, element: etree._Element) -> None:
    place = element.get("id") or ""
    sets = [resolve(ws, child) for child in element if child.tag == "resource_set"]
    members = [found for found in sets if found is not None]
    score = parse_score(element.get("score"), 0)
    if score is None:
        ws.warn("score", f"colocation constraint '{place}': '{element.get('score')}' is not a score", place, "error")
        return
    if members:
        previous: etree._Element | None = None
        for member in members:
            _within_set(ws, member, element, score)
            if previous is not None:
                _between_sets(ws, previous, member, element, score)
            previous = member
        return
    dependents = _names(ws, element, "rsc")
    primaries = _names(ws, element, "with-rsc")
    if dependents is None or primaries is None:
        return
    for one in dependents:
        for two in primaries:
            _single(ws, element, one, two, score)


def _names(ws: WorkingSet, element: etree._Element, side: str) -> list[str] | None:
    name = element.get(side)
    if name is None:
        ws.warn("colocation-incomplete", f"colocation constraint '{element.get('id')}' has no '{side}'",
                element.get("id"), "error")
        return None
    names = expand_reference(ws, name)
    if names is None:
        if find_resource(ws, name) is None:
            ws.warn("constraint-resource", f"colocation constraint '{element.get('id')}' names resource '{name}', which "
                    "does not exist", element.get("id"))
            return None
        return [name]
    return names


def _single(ws: WorkingSet, element: etree._Element, one: str, two: str, score: int) -> None:
    place = element.get("id") or ""
    dependent, primary = find_resource(ws, one), find_resource(ws, two)
    if dependent is None or primary is None:
        return
    dependent_role = _role(ws, element.get("rsc-role"), place)
    primary_role = _role(ws, element.get("with-rsc-role"), place)
    if parse_boolean(element.get("symmetrical")):
        ws.warn("colocation-symmetrical", f"colocation constraint '{place}': symmetrical is ignored", place)
    add_colocation(ws, place, dependent, primary, score, dependent_role, primary_role, element.get("node-attribute"),
                   _influence(ws, element, dependent), True)


def _set_score(ws: WorkingSet, members: etree._Element, score: int) -> int:
    own = parse_score(members.get("score"), score)
    return score if own is None else own


def _within_set(ws: WorkingSet, members: etree._Element, element: etree._Element, score: int) -> None:
    place = members.get("id") or ""
    resources = set_resources(ws, members, element)
    if resources is None:
        return
    local = _set_score(ws, members, score)
    role = _role(ws, members.get("role"), place)
    ordering = members.get("ordering", "group")
    if local == 0:
        return
    if local > 0 and parse_boolean(members.get("sequential"), True):
        previous: Resource | None = None
        for rsc in resources:
            if previous is not None:
                dependent, primary = (rsc, previous) if ordering == "group" else (previous, rsc)
                add_colocation(ws, place, dependent, primary, local, role, role, None,
                               _influence(ws, element, rsc), True)
            previous = rsc
    elif local < 0:
        # anti-colocated with every earlier one
        for position, rsc in enumerate(resources):
            for other in resources[:position]:
                add_colocation(ws, place, rsc, other, local, role, role, None, _influence(ws, element, rsc), True)


def _between_sets(
    ws: WorkingSet, first: etree._Element, second: etree._Element, element: etree._Element, score: int,
) -> None:
    """The first listed set depends on the second."""
    place = element.get("id") or ""
    dependents = set_resources(ws, first, element)
    primaries = set_resources(ws, second, element)
    if not dependents or not primaries or score == 0:
        return
    dependent_role = _role(ws, first.get("role"), place)
    primary_role = _role(ws, second.get("role"), place)
    first_sequential = parse_boolean(first.get("sequential"), True)
    second_sequential = parse_boolean(second.get("sequential"), True)
    if first_sequential:
        dependents = dependents[:1]
    if second_sequential:
        primaries = primaries[-1:]
    for dependent in dependents:
        for primary in primaries:
            add_colocation(ws, place, dependent, primary, score, dependent_role, primary_role, None,
                           _influence(ws, element, dependent), True)


# ---- who is colocated -------------------------------------------------------------------------------------------


def this_with(rsc: Resource) -> list[Colocation]:
    """Every constraint by which `rsc` depends on another, its collectives' included, most important first."""
    if rsc.this_with_cache is None:
        found: list[Colocation] = []
        _gather_this_with(rsc, rsc, found)
        rsc.this_with_cache = sort_this_with(found)
    return rsc.this_with_cache


def with_this(rsc: Resource) -> list[Colocation]:
    if rsc.with_this_cache is None:
        found: list[Colocation] = []
        _gather_with_this(rsc, rsc, found)
        rsc.with_this_cache = sort_with_this(found)
    return rsc.with_this_cache


def _add(found: list[Colocation], more: list[Colocation]) -> None:
    found.extend(more)


def _gather_this_with(rsc: Resource, origin: Resource, found: list[Colocation]) -> None:
    if rsc.kind is Kind.PRIMITIVE:
        if rsc is origin:
            _add(found, rsc.this_with)
            if rsc.parent is not None:
                _gather_this_with(rsc.parent, origin, found)
        else:
            _add(found, [c for c in rsc.this_with if c.explicit])
    elif rsc.kind is Kind.GROUP:
        if not rsc.children:
            return
        if origin is rsc or origin is rsc.children[0]:
            _add(found, rsc.this_with)
            if rsc.parent is not None:
                _gather_this_with(rsc.parent, origin, found)
            for member in rsc.children:
                if member is not origin:
                    _gather_this_with(member, origin, found)
            return
        for member in rsc.children:
            if member is origin:
                break
            if not member.managed:
                _add(found, [c for c in rsc.this_with if c.score >= INFINITY])
                break
    elif rsc.kind is Kind.CLONE:
        _add(found, rsc.this_with)
        if rsc.parent is not None:
            _gather_this_with(rsc.parent, origin, found)
    else:
        from .bundle import bundle_this_with

        _add(found, bundle_this_with(rsc, origin))


def _gather_with_this(rsc: Resource, origin: Resource, found: list[Colocation]) -> None:
    if rsc.kind is Kind.PRIMITIVE:
        if rsc is origin:
            _add(found, rsc.with_this)
            if rsc.parent is not None:
                _gather_with_this(rsc.parent, origin, found)
        else:
            _add(found, [c for c in rsc.with_this if c.explicit])
    elif rsc.kind is Kind.GROUP:
        if not rsc.children or (origin is not rsc and origin is not rsc.children[-1]):
            return
        _add(found, rsc.with_this)
        if rsc.parent is not None:
            _gather_with_this(rsc.parent, origin, found)
        for member in rsc.children:
            if member is not origin:
                _gather_with_this(member, origin, found)
    elif rsc.kind is Kind.CLONE:
        _add(found, rsc.with_this)
        if rsc.parent is not None:
            _gather_with_this(rsc.parent, origin, found)
    else:
        from .bundle import bundle_with_this

        _add(found, bundle_with_this(rsc, origin))


def has_influence(constraint: Colocation, rsc: Resource | None = None) -> bool:
    """Whether the dependent's wishes count for the primary's place."""
    subject = constraint.primary if rsc is None else rsc
    if (
        constraint.dependent.is_remote_connection and constraint.dependent.container is not None
        and constraint.dependent.is_bundled and not constraint.dependent.failed and len(subject.running_on) == 1
    ):
        return False
    return constraint.influence or not subject.running_on


# ---- effects on scores ------------------------------------------------------------------------------------------


def node_available(node: Node, score: int | None = None) -> bool:
    """Whether the node may take resources; with a score, whether that is not negative too."""
    if not node.online or node.shutdown or node.unclean or node.standby or node.maintenance:
        return False
    return score is None or score >= 0


def any_available(ws: WorkingSet, allowed: dict[int, int]) -> bool:
    nodes = ws.nodes
    for index, score in allowed.items():
        if score >= 0 and node_available(nodes[index]):
            return True
    return False


def attribute_of(node: Node, name: str, rsc: Resource | None = None) -> str | None:
    if name == "#uname":
        return node.name
    if rsc is not None and node.is_guest and rsc.meta.get("container-attribute-target") == "host":
        connection = node.remote_resource
        if connection is not None and connection.container is not None:
            container = connection.container
            host = container.assigned if not rsc.provisional else (
                container.running_on[0] if container.running_on else None)
            return host.attributes.get(name) if host is not None else None
    return node.attributes.get(name)


class Effect:
    NOTHING, LOCATION, ROLE = range(3)


def role_resource(rsc: Resource) -> Resource:
    """Roles of a bundle's container are those of what runs inside."""
    bundle = rsc.top_with_bundle
    if bundle.kind is Kind.BUNDLE and bundle.bundle is not None and rsc is not bundle:
        for replica in bundle.bundle.replicas:
            if replica.container is rsc and replica.child is not None:
                return replica.child
    return rsc


def effect_of(dependent: Resource, primary: Resource, constraint: Colocation, preview: bool = False) -> int:
    if not preview and primary.provisional:
        return Effect.NOTHING
    role_dependent, role_primary = role_resource(dependent), role_resource(primary)
    if (
        constraint.dependent_role >= Role.UNPROMOTED and role_dependent.parent is not None
        and role_dependent.top.promotable and not role_dependent.provisional
    ):
        return Effect.ROLE
    if not preview and not dependent.provisional:
        return Effect.NOTHING
    if constraint.dependent_role is not Role.UNKNOWN and constraint.dependent_role is not role_dependent.next_role:
        return Effect.NOTHING
    if constraint.primary_role is not Role.UNKNOWN and constraint.primary_role is not role_primary.next_role:
        return Effect.NOTHING
    return Effect.LOCATION


def apply_to_scores(ws: WorkingSet, dependent: Resource, primary: Resource, constraint: Colocation) -> None:
    """Move the dependent's scores towards (or away from) where the primary was assigned."""
    name = constraint.node_attribute
    score = constraint.score
    target = primary.assigned
    value: str | None = None
    if target is not None:
        value = attribute_of(target, name, primary)
    elif score < 0:
        return
    work = dict(dependent.allowed)
    for index in work:
        if target is None:
            work[index] = add_scores(work[index], -score)
            continue
        if attribute_of(ws.nodes[index], name, dependent) == value:
            if score < INFINITY:
                work[index] = add_scores(work[index], score)
        elif score >= INFINITY:
            work[index] = add_scores(work[index], -INFINITY)
    if score >= INFINITY or score <= -INFINITY or any_available(ws, work):
        dependent.allowed = work
        dependent.reasons.append(Reason(Cause.COLOCATION, constraint, -1, score))


def apply_to_priority(dependent: Resource, primary: Resource, constraint: Colocation) -> None:
    """A colocation by role moves the dependent's chance of promotion."""
    if primary.assigned is None or dependent.assigned is None:
        return
    name = constraint.node_attribute
    mine = attribute_of(dependent.assigned, name, dependent)
    theirs = attribute_of(primary.assigned, name, primary)
    role_primary = role_resource(primary)
    role_dependent = role_resource(dependent)
    if mine != theirs:
        if constraint.score >= INFINITY and constraint.dependent_role is Role.PROMOTED:
            _set_chance(role_dependent, -INFINITY)
        return
    if constraint.primary_role is not Role.UNKNOWN and constraint.primary_role is not role_primary.next_role:
        return
    score = constraint.score
    if constraint.dependent_role is Role.UNPROMOTED:
        score = -score
    _set_chance(role_dependent, add_scores(score, role_dependent.priority))


def _set_chance(instance: Resource, priority: int) -> None:
    """A member of a cloned group speaks for its group."""
    instance.priority = priority
    if instance.parent is not None and instance.parent.kind is Kind.GROUP:
        instance.parent.priority = priority


def _round(value: float) -> int:
    return int(value - 0.5) if value < 0 else int(value + 0.5)


def _best_matching(ws: WorkingSet, rsc: Resource, name: str, value: str | None, constraint: Colocation | None) -> int:
    best = -INFINITY
    for index, score in allowed_for(ws, rsc, constraint).items():
        node = ws.nodes[index]
        if score > best and node_available(node) and attribute_of(node, name, rsc) == value:
            best = score
    return best


def allowed_for(ws: WorkingSet, rsc: Resource, constraint: Colocation | None) -> dict[int, int]:
    """The dependent's scores as they count for the constraint: locations of the promoted role included."""
    if constraint is None or rsc is not constraint.dependent or constraint.dependent_role is not Role.PROMOTED:
        return rsc.allowed
    extra = [location for location in rsc.locations if location.role is Role.PROMOTED]
    if not extra:
        return rsc.allowed
    work = dict(rsc.allowed)
    for location in extra:
        for index, score in location.scores.items():
            if index in work:
                work[index] = add_scores(work[index], score)
    return work


def merge_scores(
    ws: WorkingSet, work: dict[int, int], source: Resource, target: Resource, constraint: Colocation | None,
    factor: float, nonnegative: bool,
) -> None:
    """Add the source's scores, scaled, to `work`, matching nodes by the constraint's attribute."""
    name = constraint.node_attribute if constraint is not None else "#uname"
    by_name = name == "#uname"
    nodes = ws.nodes
    allowed = allowed_for(ws, source, constraint)
    cache: dict[str | None, int] = {}
    for index, weight in work.items():
        node = nodes[index]
        if by_name:
            score = allowed.get(index, -INFINITY)
            if score > -INFINITY and not node_available(node):
                score = -INFINITY
        else:
            value = attribute_of(node, name, target)
            if value not in cache:
                cache[value] = _best_matching(ws, source, name, value, constraint)
            score = cache[value]
        if factor < 0 and -INFINITY < score < 0:
            continue
        if weight == FILTERED:
            continue
        exact = factor * score
        delta = _round(exact)
        if delta == 0 and score != 0:
            if factor > 0.0:
                delta = 1
            elif factor < 0.0:
                delta = -1
        total = add_scores(max(-INFINITY, min(INFINITY, delta)), weight)
        if nonnegative and total < 0 and weight > 0:
            work[index] = FILTERED
            continue
        if nonnegative and total < 0 and weight == 0:
            continue
        work[index] = total


def add_colocated_scores(
    ws: WorkingSet, source: Resource, target: Resource | None, nodes: dict[int, int] | None,
    constraint: Colocation | None, factor: float, flags: int,
) -> dict[int, int] | None:
    """Scores in `nodes` with those of `source` and of what is colocated with it added. None leaves `nodes` as it was."""
    if source.kind is Kind.GROUP:
        return _add_group_scores(ws, source, target, nodes, constraint, factor, flags)
    if source.merging:
        return nodes
    source.merging = True
    try:
        if nodes is None:
            work = dict(source.allowed)
            if target is None:
                target = source
        else:
            assert target is not None
            work = dict(nodes)
            merge_scores(ws, work, source, target, constraint, factor, bool(flags & SELECT_NONNEGATIVE))
        if any_available(ws, work):
            for other_constraint in this_with(source) if flags & SELECT_THIS_WITH else with_this(source):
                other = other_constraint.primary if flags & SELECT_THIS_WITH else other_constraint.dependent
                if not flags & SELECT_THIS_WITH and not has_influence(other_constraint):
                    continue
                other_factor = factor * other_constraint.score / INFINITY
                merged = add_colocated_scores(ws, other, target, work, other_constraint, other_factor,
                                              flags | SELECT_ACTIVE)
                if merged is not None:
                    work = merged
        elif flags & SELECT_ACTIVE:
            return nodes
        if flags & SELECT_NONNEGATIVE:
            for index, score in work.items():
                if score == FILTERED:
                    work[index] = 1
        return work
    finally:
        source.merging = False


def _add_group_scores(
    ws: WorkingSet, source: Resource, target: Resource | None, nodes: dict[int, int] | None,
    constraint: Colocation | None, factor: float, flags: int,
) -> dict[int, int] | None:
    if source.merging or not source.children:
        return nodes
    source.merging = True
    try:
        member = source.children[-1] if flags & SELECT_THIS_WITH else source.children[0]
        return add_colocated_scores(ws, member, target, nodes, constraint, factor, flags)
    finally:
        source.merging = False


def add_dependent_scores(ws: WorkingSet, constraint: Colocation, target: Resource) -> None:
    """The wishes of a dependent count, attenuated, for what it depends on."""
    if not has_influence(constraint):
        return
    factor = constraint.score / INFINITY
    flags = SELECT_ACTIVE | (SELECT_NONNEGATIVE if target.kind is Kind.CLONE else 0)
    merged = add_colocated_scores(ws, constraint.dependent, target, target.allowed, constraint, factor, flags)
    if merged is not None:
        target.allowed = merged
