"""What can be said of a resource as it stands: active or not, where, in which state, with which remarks.

All read from an unpacked `WorkingSet`; the renderers only arrange it. Source: crm_mon's manual and its output on the
vectors; the rule when an instance of a clone is listed by itself is in `instance_stands_alone`.
"""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from quorate.core.scheduler.working_set import Kind, Node, Resource, Role, WorkingSet
from quorate.model.reports import exit_description

INVALID_PARAMETER, NOT_INSTALLED, NOT_INSTALLED_STATUS = "2", "5", "7"


def display_id(rsc: Resource) -> str:
    """Instances of anonymous clones go by the name without number."""
    return rsc.id if rsc.unique else rsc.xml.get("id") or rsc.history_id


def is_active(rsc: Resource, *, wholly: bool) -> bool:
    """`wholly`: every part of a collective; else any part."""
    if rsc.kind is Kind.PRIMITIVE:
        return any(node.unclean or node.online or not rsc.managed for node in rsc.running_on)
    if rsc.kind is Kind.BUNDLE:
        parts = [is_active(part, wholly=wholly) for part in bundle_parts(rsc)]
        return all(parts) if wholly else any(parts)
    children = [is_active(child, wholly=wholly) for child in rsc.children]
    if not any(children):
        return False
    return all(children) if wholly else True


def is_bundle_connection(rsc: Resource) -> bool:
    """The connection that a bundle implies: not listed with its node."""
    return rsc.is_remote_connection and rsc.parent is not None and rsc.parent.kind is Kind.BUNDLE


def bundle_parts(rsc: Resource) -> Iterator[Resource]:
    assert rsc.bundle is not None
    for replica in rsc.bundle.replicas:
        for part in (replica.child, replica.ip, replica.container, replica.remote):
            if part is not None:
                yield part


def current_role(rsc: Resource) -> Role:
    if rsc.kind is Kind.PRIMITIVE:
        return rsc.role
    roles = [current_role(child) for child in rsc.children]
    return max(roles, default=Role.UNKNOWN)


def nodes_of(rsc: Resource) -> list[Node]:
    """Where it (or any part of it) is active, each node once."""
    if rsc.kind is Kind.PRIMITIVE:
        return list(rsc.running_on)
    found: dict[int, Node] = {}
    parts = bundle_parts(rsc) if rsc.kind is Kind.BUNDLE else iter(rsc.children)
    for part in parts:
        for node in nodes_of(part):
            found.setdefault(node.index, node)
    return list(found.values())


def runs_on_any(rsc: Resource, only: frozenset[str] | None) -> bool:
    return only is None or any(node.name in only for node in nodes_of(rsc))


def current_node(rsc: Resource) -> Node | None:
    """The node a primitive is said to run on: an online one before others, and not the target of a migration."""
    best: Node | None = None
    for node in rsc.running_on:
        if best is None or (not best.online and node.online) or (best.unclean and not node.unclean and node.online):
            best = node
    if rsc.partial_source is not None and rsc.partial_source in rsc.running_on:
        return rsc.partial_source
    return best


def target_role_text(rsc: Resource) -> str | None:
    """As written in the configuration (own, inherited, or default), None when nothing is set."""
    return rsc.meta.get("target-role")


def is_disabled(rsc: Resource) -> bool:
    """The administrator keeps it from running, or from being promoted."""
    if rsc.target_role is Role.STOPPED:
        return True
    return rsc.target_role is Role.UNPROMOTED and rsc.top.promotable


def shown_role(rsc: Resource) -> str:
    role = rsc.role
    if role is Role.STARTED and rsc.top.promotable:
        role = Role.UNPROMOTED
    return role.text


def shown_state(rsc: Resource) -> str:
    """The action under way ("Starting"), else the role."""
    if rsc.pending_task in ("Starting", "Stopping", "Migrating", "Promoting", "Demoting"):
        return rsc.pending_task
    return shown_role(rsc)


def pending_text(rsc: Resource) -> str | None:
    """A pending action that does not show in the state: a recurring monitor's first run."""
    return "Monitoring" if rsc.pending_task == "Monitoring" else None


def masked_probes(ws: WorkingSet) -> dict[str, dict[str, int]]:
    """Probes that say "cannot run here" (agent not installed, parameters do not fit): exit codes by history id and node.
    They are no failures; they are shown beside the resource that is stopped."""
    found = ws.extra.get("masked_probes")
    if found is None:
        found = ws.extra["masked_probes"] = {}
        for state in ws.cib.iterfind("status/node_state"):
            for entry in state.iterfind("lrm/lrm_resources/lrm_resource"):
                for op in entry.iterfind("lrm_rsc_op"):
                    code = masked_code(op)
                    if code is not None:
                        found.setdefault(entry.get("id", ""), {})[state.get("uname", "")] = code
    probes: dict[str, dict[str, int]] = found
    return probes


def masked_code(op: etree._Element) -> int | None:
    """The exit code to show when the operation is such a probe."""
    if op.get("operation") != "monitor" or (op.get("interval-ms") or op.get("interval", "0")) != "0":
        return None
    code, status = op.get("rc-code"), op.get("op-status")
    if code in (INVALID_PARAMETER, NOT_INSTALLED):
        return int(code)
    return int(NOT_INSTALLED) if status == NOT_INSTALLED_STATUS else None


def failed_probe(ws: WorkingSet, rsc: Resource, node: str | None) -> int | None:
    """Exit code of such a probe of a resource that is not running (with `node`: there)."""
    by_node = masked_probes(ws).get(rsc.history_id) or masked_probes(ws).get(display_id(rsc)) or {}
    if node is not None:
        return by_node.get(node)
    return next(iter(by_node.values()), None)


def remarks(rsc: Resource, node: Node | None) -> list[str]:
    """What stands in parentheses behind a primitive's state."""
    words: list[str] = []
    if node is not None and not node.online and node.unclean:
        words.append("UNCLEAN")
    if node is not None and rsc.lock_node is not None and node is rsc.lock_node:
        words.append("LOCKED")
    pending = pending_text(rsc)
    if pending is not None:
        words.append(pending)
    if rsc.target_role is Role.STOPPED:
        words.append("disabled")
    elif rsc.target_role is Role.UNPROMOTED and rsc.top.promotable:
        words.append(f"target-role:{target_role_text(rsc) or 'Unpromoted'}")
    if rsc.blocked:
        words.append("blocked")
    elif rsc.maintenance:
        words.append("maintenance")
    elif not rsc.managed:
        words.append("unmanaged")
    if rsc.failure_ignored:
        words.append("failure ignored")
    return words


def primitive_line(ws: WorkingSet, rsc: Resource, name: str, node: Node | None, *, with_node: bool = True) -> str:
    """`name	(agent):	 State node (remarks)`."""
    text = f"{name}\t({rsc.agent}):\t"
    if rsc.removed:
        text += " ORPHANED"
    if rsc.role > Role.UNPROMOTED and rsc.failed:
        text += f" FAILED {rsc.role.text}"
    elif rsc.failed:
        text += " FAILED"
    else:
        text += f" {shown_state(rsc)}"
    if node is not None and with_node and len(rsc.running_on) < 2:
        text += f" {node.name}"
    probe = failed_probe(ws, rsc, node.name if node else None) if rsc.role is Role.STOPPED else None
    if probe is not None:
        text += f" ({exit_description(probe)}) "
    found = remarks(rsc, node)
    if found:
        text += f" ({', '.join(found)})"
    if with_node and len(rsc.running_on) > 1:
        text += f" [ {' '.join(n.name for n in rsc.running_on)} ]"
    return text


def collective_remarks(rsc: Resource) -> list[str]:
    words: list[str] = []
    if is_disabled(rsc):
        words.append("disabled")
    if rsc.maintenance:
        words.append("maintenance")
    elif not rsc.managed:
        words.append("unmanaged")
    return words


def any_below(rsc: Resource, wanted: str) -> bool:
    """Whether the flag is set on it or on anything in it."""
    return bool(getattr(rsc, wanted)) or any(any_below(child, wanted) for child in rsc.children)


def all_managed(rsc: Resource) -> bool:
    return rsc.managed and all(all_managed(child) for child in rsc.children)


def single_location(rsc: Resource) -> Node | None:
    found = nodes_of(rsc)
    return found[0] if len(found) == 1 else None
