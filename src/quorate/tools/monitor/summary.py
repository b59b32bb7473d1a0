"""The head of a status: stack, DC, quorum, times, counts, options, as values."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.core.scheduler.working_set import Kind, Node, Resource

from .status import ClusterStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    stack: str
    pacemaker_running: bool
    dc: Node | None
    dc_version: str
    has_quorum: bool
    last_change: str  # as written in the CIB
    change_user: str
    change_client: str
    change_origin: str
    nodes: int
    instances: int
    disabled: int
    blocked: int


def summarize(status: ClusterStatus) -> Summary:
    ws, root = status.ws, status.cib
    live = status.reply is not None
    dc = ws.dc
    if status.reply is not None:
        dc = ws.node_by_name.get(status.reply.dc or "")
    quorate = status.reply.quorate if status.reply is not None else root.get("have-quorum") in ("1", "true", "yes")
    return Summary(
        stack=(status.reply.engine if status.reply is not None else "") or _option(status, "cluster-infrastructure")
        or "unknown",
        pacemaker_running=live, dc=dc,
        dc_version=_option(status, "dc-version") or (status.reply.version if status.reply is not None else "")
        or "unknown",
        has_quorum=quorate, last_change=root.get("cib-last-written", ""), change_user=root.get("update-user", ""),
        change_client=root.get("update-client", ""), change_origin=root.get("update-origin", ""),
        nodes=len(ws.nodes), instances=ws.resource_instances, disabled=ws.disabled_resources,
        blocked=ws.blocked_resources,
    )


def _option(status: ClusterStatus, name: str) -> str:
    value = status.ws.options_set.get(name)
    if value:
        return value
    for pair in status.cib.iterfind("configuration/crm_config/cluster_property_set/nvpair"):
        if pair.get("name") == name:
            return str(pair.get("value", ""))
    return ""


def count_instances(resources: list[Resource]) -> int:
    """Primitives, without removed ones that are not active."""
    total = 0
    for rsc in resources:
        if rsc.kind is Kind.PRIMITIVE:
            total += 0 if rsc.removed and not rsc.running_on else 1
        else:
            total += count_instances(rsc.children)
    return total
