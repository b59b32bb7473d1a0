"""The head of a status: stack, DC, quorum, times, counts, options, as values."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.core.scheduler.working_set import Kind, Node, Resource, Role

from .resources import bundle_parts, is_disabled
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
    counts = _Counts()
    for rsc in ws.resources:
        counts.add(rsc)
    return Summary(
        stack=(status.reply.engine if status.reply is not None else "")
        or _option(status, "cluster-infrastructure")
        or "unknown",
        pacemaker_running=live,
        dc=dc,
        dc_version=_option(status, "dc-version")
        or (status.reply.version if status.reply is not None else "")
        or "unknown",
        has_quorum=quorate,
        last_change=root.get("cib-last-written", ""),
        change_user=root.get("update-user", ""),
        change_client=root.get("update-client", ""),
        change_origin=root.get("update-origin", ""),
        nodes=len(ws.nodes),
        instances=counts.instances,
        disabled=counts.disabled,
        blocked=counts.blocked,
    )


def _option(status: ClusterStatus, name: str) -> str:
    value = status.ws.options_set.get(name)
    if value:
        return value
    for pair in status.cib.iterfind("configuration/crm_config/cluster_property_set/nvpair"):
        if pair.get("name") == name:
            return str(pair.get("value", ""))
    return ""


@dataclass(slots=True)
class _Counts:
    instances: int = 0
    disabled: int = 0
    blocked: int = 0

    def add(self, rsc: Resource) -> None:
        """Primitives, without removed ones that are not active."""
        parts = list(bundle_parts(rsc)) if rsc.kind is Kind.BUNDLE else rsc.children
        if rsc.kind is not Kind.PRIMITIVE:
            for part in parts:
                self.add(part)
        elif not rsc.removed or rsc.role > Role.STOPPED:
            self.instances += 1
            self.disabled += is_disabled(rsc)
            self.blocked += rsc.blocked
