"""Digests of operation parameters, as history entries carry them: has the configuration of what ran changed since?"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING

from quorate.model.cib.digests import parameters_digest

from .configuration import parameters
from .operations import operation_settings
from .working_set import Node, Resource, WorkingSet

if TYPE_CHECKING:
    from lxml import etree

    from .actions import Action

_DROPPED = frozenset(("id", "crm_feature_set", "op-digest", "on_node", "on_node_uuid", "pcmk_external_ip"))


class Change(enum.Enum):
    MATCH = 0
    RESTART = 1  # a parameter that needs a restart
    ALL = 2  # some parameter
    UNKNOWN = 3  # the entry has no digest


def digest_of(pairs: Mapping[str, str]) -> str:
    """As the executor records it."""
    return parameters_digest(pairs)


def operation_parameters(ws: WorkingSet, rsc: Resource, node: Node | None, task: str, interval_ms: int) -> dict[str, str]:
    """What counts for an operation's digest: the agent's parameters, and for recurring ones the timeout."""
    settings = operation_settings(ws, rsc, node, task, interval_ms)
    found = {
        name: value for name, value in parameters(ws, rsc, node).items()
        if name not in _DROPPED and not name.startswith("CRM_meta_")
    }
    if rsc.is_remote_connection and found.get("addr") == "#uname" and rsc.container is not None:
        from .assignment import current_node

        host = rsc.container.assigned or current_node(rsc.container)
        if host is not None:
            found["addr"] = host.name
    for name, value in settings.extra.items():
        found.setdefault(name, value)
    if interval_ms:
        found["CRM_meta_timeout"] = str(settings.timeout_ms)
    return found


def compare(ws: WorkingSet, rsc: Resource, node: Node, entry: etree._Element, task: str, interval_ms: int) -> Change:
    """How the entry's digests compare with the configuration of now."""
    recorded = entry.get("op-digest")
    restart = entry.get("op-restart-digest")
    pairs: dict[str, str] | None = None
    if restart is not None:
        pairs = operation_parameters(ws, rsc, node, task, interval_ms)
        names = entry.get("op-force-restart")
        kept = pairs if names is None else {name: value for name, value in pairs.items() if f" {name} " in names}
        if digest_of(kept) != restart:
            return Change.RESTART
    if recorded is None:
        return Change.UNKNOWN
    key = (rsc.parameters_vary, rsc.index, node.index if rsc.parameters_vary else -1, task, interval_ms)
    cache: dict[object, str] = ws.extra.setdefault("digests", {})
    current = cache.get(key)
    if current is None:
        current = digest_of(pairs if pairs is not None else operation_parameters(ws, rsc, node, task, interval_ms))
        cache[key] = current
    if current == recorded:
        return Change.MATCH
    secure = entry.get("op-secure-digest")
    if secure is not None and _sanitized(rsc, entry):
        # a saved CIB whose secrets are masked: what is not secret has to tell
        names = entry.get("op-secure-params") or ""
        pairs = operation_parameters(ws, rsc, node, task, interval_ms)
        pairs.pop("CRM_meta_timeout", None)
        kept = {name: value for name, value in pairs.items() if f" {name} " not in names}
        if secure in (digest_of(kept), digest_of({n: v for n, v in kept.items() if not n.startswith("pcmk_")})):
            return Change.MATCH
    if interval_ms == 0 and operation_settings(ws, rsc, node, task, interval_ms).extra:
        return Change.RESTART
    return Change.ALL


def _sanitized(rsc: Resource, entry: etree._Element) -> bool:
    names = (entry.get("op-secure-params") or "").split()
    found = rsc.parameter_cache.get(-1, {})
    return any(found.get(name) == "****" for name in names) or rsc.parameters_vary


def add_fencing_digests(ws: WorkingSet, action: Action, node: Node) -> None:
    """Unfencing must be repeated when a device's parameters changed: tell the present ones."""
    everything, secure = "", ""
    for rsc in ws.all_resources:
        if not rsc.is_unfencing_device:
            continue
        pairs = parameters(ws, rsc, node)
        agent = rsc.agent_type
        all_digest = digest_of(pairs)
        secure_digest = digest_of({name: value for name, value in pairs.items() if name not in ("passwd", "password")})
        everything += f"{rsc.id}:{agent}:{all_digest},"
        secure += f"{rsc.id}:{agent}:{secure_digest},"
        recorded = node.attributes.get("#digests-all")
        if recorded is None:
            continue
        if f"{rsc.id}:{agent}:{all_digest}" not in recorded.split(",") and (
            node.attributes.get("#digests-secure") is None
            or f"{rsc.id}:{agent}:{secure_digest}" not in node.attributes["#digests-secure"].split(",")
        ):
            ws.extra.setdefault("unfence_again", []).append((rsc, node))
    action.meta["digests_all"] = everything
    action.meta["digests_secure"] = secure
