"""The status of a cluster as one value: the unpacked CIB with the facts that are not in it.

`build` reads a CIB and, when the cluster is live, the manager's `StatusReply`. All renderers draw from here; nothing is
decided, only looked up: which operations a history shows, which failures, bans and fencings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from quorate.core.scheduler import WorkingSet, unpack
from quorate.core.scheduler.scores import parse_score
from quorate.core.scheduler.working_set import Kind, Node, Resource
from quorate.model import protocol
from quorate.model.rules import RuleInput, evaluate_rule

from ..failure import CommandFailed, Exit
from .options import Shown
from .resources import display_id, masked_code

PLAIN_ERRORS = (4, 5, 6)  # op-status "error" by degrees: the exit code says all; shown as completed
HIDDEN_ATTRIBUTES = ("fail-count-", "last-failure-", "shutdown", "terminate", "standby", "#")


@dataclass(slots=True, kw_only=True)
class ClusterStatus:
    """`now`: wall seconds of the look. `reply`: None offline. `node_names`, `resource_names`: the filters' names, None
    for all."""

    ws: WorkingSet
    now: float
    reply: protocol.StatusReply | None = None
    shown: Shown
    node_names: frozenset[str] | None = None
    resource_names: frozenset[str] | None = None

    @property
    def cib(self) -> etree._Element:
        return self.ws.cib

    def shows_node(self, name: str) -> bool:
        return self.node_names is None or name in self.node_names

    def shows_resource(self, rsc: Resource | None, name: str = "") -> bool:
        if self.resource_names is None:
            return True
        current = rsc
        while current is not None:
            if {current.id, current.history_id, display_id(current)} & self.resource_names:
                return True
            current = current.parent
        return name in self.resource_names

    @property
    def banners(self) -> tuple[str, ...]:
        return self.reply.banners if self.reply is not None else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryOperation:
    call: str
    task: str  # "probe" for a monitor without interval
    rc: int
    interval_ms: int
    last_change: int | None
    exec_ms: str | None
    queue_ms: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceHistory:
    """`operations` empty: only the fail count is shown."""

    id: str
    resource: Resource | None
    threshold: int
    fail_count: int
    last_failure: int
    operations: tuple[HistoryOperation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    key: str
    has_key: bool  # older histories only have ids
    resource: str
    task: str
    interval_ms: int
    node: str
    rc: int
    status: int
    call: str
    reason: str
    last_change: int | None
    exec_ms: int | None
    queue_ms: int | None
    raw_reason: str  # as recorded; "none" and "" are no reason
    exec_text: str | None
    queue_text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    id: str
    resource: str
    node: str
    weight: int
    promoted_only: bool


def build(
    cib: etree._Element, now: float, *, reply: protocol.StatusReply | None = None, shown: Shown | None = None
) -> ClusterStatus:
    """CommandFailed(105) when a filter names nothing known."""
    ws = unpack(cib, int(now))
    shown = shown or Shown()
    for facts in reply.nodes if reply is not None else ():
        known = ws.node_by_name.get(facts.name)
        if known is not None and known.feature_set is None and facts.feature_set:
            known.feature_set = facts.feature_set
    return ClusterStatus(
        ws=ws,
        now=now,
        reply=reply,
        shown=shown,
        node_names=_tagged(ws, shown.only_node),
        resource_names=_tagged(ws, shown.only_resource),
    )


def _tagged(ws: WorkingSet, name: str | None) -> frozenset[str] | None:
    """A name stands for itself, a tag for all it is given to."""
    if name is None or name == "*":
        return None
    return frozenset((name, *ws.tags.get(name, ())))


# ---- nodes -----------------------------------------------------------------------------------------------------------


def name_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """For sorting: numbers in names count as numbers, case does not matter."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", name) if part
    )


def sorted_nodes(ws: WorkingSet) -> list[Node]:
    return sorted(ws.nodes, key=lambda node: name_key(node.name))


def shown_nodes(status: ClusterStatus) -> list[Node]:
    return [node for node in sorted_nodes(status.ws) if status.shows_node(node.name)]


def host_of(node: Node) -> str:
    """For a guest node: where its container runs ("" when nowhere)."""
    connection = node.remote_resource
    if connection is None or connection.container is None or not connection.container.running_on:
        return ""
    return connection.container.running_on[0].name


def display_name(node: Node, *, detail: bool) -> str:
    name = node.name
    if detail and node.is_guest:
        name += f"@{host_of(node)}"
    if detail and not node.is_guest and node.id != node.name:
        name += f" ({node.id})"
    return name


def feature_set_of(node: Node) -> str | None:
    """None for remote and guest nodes; a cluster node that does not tell is older than the attribute."""
    if node.is_remote_or_guest:
        return None
    return node.feature_set or "<3.15.1"


def attributes_of(node: Node) -> list[tuple[str, str]]:
    """What a status shows, sorted by name: without internal ones."""
    return sorted((n, v) for n, v in node.attributes.items() if not n.startswith(HIDDEN_ATTRIBUTES))


def expected_pingd(status: ClusterStatus, node: Node, name: str) -> int | None:
    """For an attribute of a ping or pingd resource: the value that full connectivity has."""
    for rsc in status.ws.all_resources:
        if rsc.kind is not Kind.PRIMITIVE or rsc.agent_type not in ("ping", "pingd"):
            continue
        if not any(n is node for n in rsc.running_on):
            continue
        parameters = parameters_of(rsc)
        if parameters.get("name", "pingd") != name:
            continue
        hosts = len(parameters.get("host_list", "").split())
        multiplier = parameters.get("multiplier", "1")
        return hosts * int(multiplier) if multiplier.isdigit() else hosts
    return None


def parameters_of(rsc: Resource) -> dict[str, str]:
    """Instance attributes as written, without rules."""
    found: dict[str, str] = {}
    for pair in rsc.xml.iterfind("instance_attributes/nvpair"):
        found.setdefault(pair.get("name", ""), pair.get("value", ""))
    return found


# ---- histories -------------------------------------------------------------------------------------------------------


def histories(status: ClusterStatus, *, operations: bool) -> Iterator[tuple[Node, list[ResourceHistory]]]:
    """By node in the order of the status section, nodes that are online (those without a history too). Without
    `operations` only what has failed."""
    for state in status.cib.iterfind("status/node_state"):
        node = status.ws.node_by_name.get(state.get("uname", "")) or status.ws.node_by_id.get(state.get("id", ""))
        if node is None or not node.online or not status.shows_node(node.name):
            continue
        found = []
        for entry in state.iterfind("lrm/lrm_resources/lrm_resource"):
            history = _history(status, node, entry, operations)
            if history is not None:
                found.append(history)
        yield node, found


def _history(status: ClusterStatus, node: Node, entry: etree._Element, operations: bool) -> ResourceHistory | None:
    name = entry.get("id", "")
    rsc = find_by_history(status.ws, name, node)
    if not status.shows_resource(rsc, name):
        return None
    shown = tuple(_operations(entry)) if operations else ()
    count, last = fail_count(node, name)
    if operations and not shown or not operations and (count <= 0 or rsc is None):
        return None
    return ResourceHistory(
        id=display_id(rsc) if rsc is not None else name,
        resource=rsc,
        threshold=rsc.migration_threshold if rsc is not None else 0,
        fail_count=count,
        last_failure=last,
        operations=shown,
    )


def find_by_history(ws: WorkingSet, name: str, node: Node | None = None) -> Resource | None:
    found = ws.resource_by_id.get(name)
    candidates = (
        [found]
        if found is not None
        else ws.resource_by_history.get(name)
        or [r for r in ws.all_resources if r.kind is Kind.PRIMITIVE and name in (r.history_id, r.xml.get("id"))]
    )
    if node is not None:
        for rsc in candidates:
            if any(n is node for n in rsc.running_on):
                return rsc
    return candidates[0] if candidates else None


def _operations(entry: etree._Element) -> list[HistoryOperation]:
    found = []
    for xml in entry.iterfind("lrm_rsc_op"):
        task = xml.get("operation", "")
        interval_ms = _number(xml.get("interval-ms") or xml.get("interval")) or 0
        rc = _number(xml.get("rc-code"))
        if task == "monitor" and interval_ms == 0:
            task = "probe"
        if task == "notify" or (task == "probe" and rc == 7):
            continue
        found.append(
            HistoryOperation(
                call=xml.get("call-id", "0"),
                task=task,
                rc=rc if rc is not None else -1,
                interval_ms=interval_ms,
                last_change=_number(xml.get("last-rc-change")),
                exec_ms=xml.get("exec-time"),
                queue_ms=xml.get("queue-time"),
            )
        )
    found.sort(key=lambda op: _number(op.call) or 0)
    return found


def fail_count(node: Node, name: str) -> tuple[int, int]:
    """Sum over operations and the last failure, as node attributes say (expired or not)."""
    total, last = 0, 0
    for key, value in node.attributes.items():
        for prefix in ("fail-count-", "last-failure-"):
            if not key.startswith(prefix):
                continue
            resource = key[len(prefix) :].partition("#")[0]
            if resource != name and resource.partition(":")[0] != name:
                continue
            if prefix == "fail-count-":
                number = 1_000_000 if value in ("INFINITY", "+INFINITY") else _number(value) or 0
                total = min(1_000_000, total + number)
            else:
                last = max(last, _number(value) or 0)
    return total, last


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return None


# ---- failures, bans, fencing -------------------------------------------------------------------------------------------


def failures(status: ClusterStatus) -> list[Failure]:
    found = []
    seen: set[tuple[str, str]] = set()
    for operation in status.ws.failures:
        xml, node = operation.xml, operation.node
        if masked_code(xml) is not None:
            continue
        key = xml.get("operation_key") or operation.key or operation.id
        rsc = find_by_history(status.ws, operation.history_id)
        if not status.shows_node(node.name) or not status.shows_resource(rsc, operation.history_id):
            continue
        if (key, node.name) in seen:
            continue
        seen.add((key, node.name))
        found.append(
            Failure(
                key=key,
                has_key=xml.get("operation_key") is not None,
                resource=_resource_in(key, operation.history_id),
                task=operation.task,
                interval_ms=operation.interval_ms,
                node=node.name,
                rc=operation.rc,
                status=0 if operation.status in PLAIN_ERRORS else operation.status,
                call=xml.get("call-id", "0"),
                reason=operation.exit_reason or "",
                last_change=operation.last_change,
                exec_ms=_number(xml.get("exec-time")),
                queue_ms=_number(xml.get("queue-time")),
                raw_reason=xml.get("exit-reason", "none"),
                exec_text=xml.get("exec-time"),
                queue_text=xml.get("queue-time"),
            )
        )
    return found


def _resource_in(key: str, fallback: str) -> str:
    """The resource of an operation key NAME_TASK_INTERVAL."""
    head, _, interval = key.rpartition("_")
    if not interval.isdigit():
        return fallback
    for task in ("migrate_to", "migrate_from"):
        if head.endswith(f"_{task}"):
            return head[: -len(task) - 1]
    return head.rpartition("_")[0] or fallback


def bans(status: ClusterStatus) -> list[Ban]:
    """Location constraints that keep a resource from a node, the last of the configuration first (as crm_mon does)."""
    found = []
    constraints = status.cib.findall("configuration/constraints/rsc_location")
    for location in reversed(constraints):
        if not location.get("id", "").startswith(status.shown.ban_prefix):
            continue
        for rsc in reversed(located_resources(status.ws, location)):
            if not status.shows_resource(rsc):
                continue
            for id, node, weight, promoted in reversed(list(weights_of(status.ws, location))):
                if weight < 0 and status.shows_node(node.name):
                    found.append(Ban(id=id, resource=rsc.id, node=node.name, weight=weight, promoted_only=promoted))
    return found


def located_resources(ws: WorkingSet, location: etree._Element) -> list[Resource]:
    names = [location.get("rsc")] if location.get("rsc") else []
    names += [ref.get("id") for ref in location.iterfind("resource_set/resource_ref")]
    pattern = location.get("rsc-pattern")
    if pattern:
        negated, expression = pattern.startswith("!"), pattern.lstrip("!")
        names += [r.id for r in ws.resources if (re.search(expression, r.id) is not None) != negated]
    resolved: list[Resource] = []
    for name in names:
        for one in ws.tags.get(name or "", None) or ws.templates.get(name or "", None) or [name or ""]:
            rsc = ws.resource_by_id.get(one)
            if rsc is not None:
                resolved.append(rsc)
    return resolved


def weights_of(ws: WorkingSet, location: etree._Element) -> Iterator[tuple[str, Node, int, bool]]:
    """Nodes with the score that the constraint gives them, by its node or by its rules as they hold now, and the id of
    the constraint or rule."""
    promoted = (location.get("role") or "").lower() in ("master", "promoted")
    if location.get("node"):
        node = ws.node_by_name.get(location.get("node", ""))
        if node is not None:
            yield location.get("id", ""), node, parse_score(location.get("score"), 0) or 0, promoted
        return
    for rule in location.iterfind("rule"):
        weight = parse_score(rule.get("score"), 0) or 0
        role = (rule.get("role") or "").lower() in ("master", "promoted")
        for node in sorted_nodes(ws):
            if evaluate_rule(rule, RuleInput(now=ws.now, node_attributes=_rule_attributes(node))):
                yield rule.get("id", ""), node, weight, role


def _rule_attributes(node: Node) -> dict[str, str]:
    return {
        **node.attributes,
        "#uname": node.name,
        "#id": node.id,
        "#kind": "remote" if node.is_remote_or_guest else "cluster",
    }


def fences(
    status: ClusterStatus,
) -> tuple[list[protocol.FenceRecord], list[protocol.FenceRecord], list[protocol.FenceRecord]]:
    """Failed, pending and successful fencings, newest first; reduced to the latest of each kind below level 3."""
    records = [r for r in (status.reply.fences if status.reply else ()) if status.shows_node(r.target)]
    records.sort(key=lambda r: -(r.ended_at or r.began_at))
    if status.shown.fence_level < 3:
        latest: dict[tuple[str, str, str, str], protocol.FenceRecord] = {}
        for record in records:
            latest.setdefault((record.state, record.target, record.action, record.reason), record)
        records = list(latest.values())
    by_state: dict[str, list[protocol.FenceRecord]] = {"failed": [], "pending": [], "success": []}
    for record in records:
        by_state.setdefault(record.state, []).append(record)
    return by_state["failed"], by_state["pending"], by_state["success"]


def require_known(status: ClusterStatus) -> None:
    """A filter that names nothing is a mistake of the caller."""
    name = status.shown.only_resource
    if (
        name is not None
        and name not in status.ws.resource_by_id
        and name not in status.ws.tags
        and (name not in status.ws.resource_by_history)
    ):
        raise CommandFailed(Exit.NOSUCH, f"Resource '{name}' not found")
