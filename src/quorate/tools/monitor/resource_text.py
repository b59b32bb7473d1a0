"""The list of resources as text, as crm_mon and crm_resource print it."""

from __future__ import annotations

from collections import Counter

from quorate.core.scheduler.working_set import BundleReplica, Kind, Node, Resource, Role, WorkingSet
from quorate.model.reports import exit_description

from .lines import Lines
from .options import Shown
from .resources import (
    all_managed,
    any_below,
    collective_remarks,
    current_node,
    current_role,
    display_id,
    failed_probe,
    is_active,
    nodes_of,
    primitive_line,
    runs_on_any,
    single_location,
)
from .status import name_key

Names = frozenset[str] | None  # None: no filter


class ResourceText:
    """Writes resources into `lines`. `only_nodes`, `only_resources`: names that pass, None for all. `with_nodes`: say
    where a primitive runs (crm_resource --list does not)."""

    def __init__(
        self,
        ws: WorkingSet,
        lines: Lines,
        shown: Shown,
        *,
        only_nodes: Names = None,
        only_resources: Names = None,
        with_nodes: bool = True,
    ) -> None:
        self.ws = ws
        self.lines = lines
        self.shown = shown
        self.only_nodes = only_nodes
        self.only_resources = only_resources
        self.with_nodes = with_nodes

    # ---- the whole list -----------------------------------------------------------------------------------------

    def write_list(self) -> None:
        """The section; nothing at all when resources were listed by node and inactive ones are not wanted."""
        shown = self.shown
        if shown.by_node:
            if not shown.inactive:
                return
            title, empty = "Inactive Resources", "No inactive resources"
        elif shown.inactive:
            title, empty = "Full List of Resources", "No resources"
        else:
            title, empty = "Active Resources", "No active resources"
        self.lines.section(title)
        if not self.write_items():
            self.lines.item(empty)
        self.lines.end_section()

    def write_items(self) -> bool:
        """Without a title; tells whether there was anything."""
        before = len(self.lines.lines)
        if self.shown.brief and not self.shown.by_node:
            self.brief([r for r in self.ws.resources if r.kind is Kind.PRIMITIVE and self._passes(r)])
        for rsc in self.ws.resources:
            if self._is_listed(rsc):
                self.write(rsc, self.only_resources)
        return len(self.lines.lines) > before

    def _is_listed(self, rsc: Resource) -> bool:
        wholly, partly = is_active(rsc, wholly=True), is_active(rsc, wholly=False)
        if rsc.removed and not wholly:
            return False
        if self.shown.by_node:
            return not wholly
        if self.shown.brief and rsc.kind is Kind.PRIMITIVE:
            return False
        if not partly:
            return self.shown.inactive
        return runs_on_any(rsc, self.only_nodes)

    def _passes(self, rsc: Resource, only: Names = None) -> bool:
        only = self.only_resources if only is None else only
        if only is None:
            return True
        names = {rsc.id, rsc.history_id, display_id(rsc)}
        return bool(names & only) or any(self._passes(child, only) for child in rsc.children)

    def write(self, rsc: Resource, only: Names) -> None:
        if only is not None and not self._passes(rsc, only):
            return
        if rsc.kind is Kind.PRIMITIVE:
            if rsc.meta.get("internal") != "true" or self.shown.detail:  # implied by what is configured
                self._primitive(rsc)
        elif rsc.kind is Kind.GROUP:
            self._group(rsc, only)
        elif rsc.kind is Kind.CLONE:
            self._clone(rsc, only)
        else:
            self._bundle(rsc, only)

    # ---- kinds --------------------------------------------------------------------------------------------------

    def _primitive(self, rsc: Resource) -> None:
        node = (current_node(rsc) or rsc.pending_node or rsc.lock_node) if self.with_nodes else None
        self.lines.item(primitive_line(self.ws, rsc, display_id(rsc), node, with_node=self.with_nodes))

    def _group(self, rsc: Resource, only: Names) -> None:
        inner = None if only is not None and rsc.id in only else only
        inactive = sum(not is_active(child, wholly=True) for child in rsc.children)
        words = []
        partly = is_active(rsc, wholly=False) and inactive
        if partly and not self.shown.inactive:
            words.append(f"{inactive} member{'' if inactive == 1 else 's'} inactive")
        words += collective_remarks(rsc)
        self.lines.begin(f"Resource Group: {rsc.id}{_in_parentheses(words)}:")
        if self.shown.brief:
            self.brief(rsc.children, totals=True)
        else:
            for child in rsc.children:
                if self.shown.inactive or is_active(child, wholly=True):
                    self.write(child, inner)
        self.lines.end()

    def _clone(self, rsc: Resource, only: Names) -> None:
        inner = None if only is not None and (rsc.id in only or rsc.history_id in only) else only
        words = ["promotable"] * rsc.promotable + ["unique"] * rsc.unique + collective_remarks(rsc)
        child_id = _clone_child_id(rsc)
        self.lines.begin(f"Clone Set: {rsc.id} [{child_id}]{_in_parentheses(words)}:")
        promoted: list[Node] = []
        started: list[Node] = []
        for child in rsc.children:
            if inner is not None and not self._passes(child, inner):
                continue
            if self._stands_alone(rsc, child):
                if not is_active(child, wholly=False) or runs_on_any(child, self.only_nodes):
                    self.write(child, inner)
            elif is_active(child, wholly=False):
                location = single_location(child)
                assert location is not None
                (promoted if current_role(child) > Role.UNPROMOTED else started).append(location)
        if not self.shown.detail:
            self._node_list("Promoted", promoted)
            self._node_list("Unpromoted" if rsc.promotable else "Started", started)
            if self.shown.inactive and not rsc.unique:
                self._stopped_lists(rsc, len(promoted) + len(started))
        self.lines.end()

    def _stands_alone(self, clone: Resource, child: Resource) -> bool:
        """Whether an instance gets a line of its own, instead of its node's name in a list."""
        partly = is_active(child, wholly=False)
        if self.shown.detail:
            return True
        if clone.unique:
            return partly or not child.removed
        if child.pending_task is not None and child.pending_task != "Monitoring":
            return True
        if not partly:
            return False
        if any_below(child, "removed") or not all_managed(child) or any_below(child, "failed"):
            return True
        if not is_active(child, wholly=True):
            return True
        location = single_location(child)
        return location is None or (not location.online and location.unclean)

    def _node_list(self, title: str, nodes: list[Node]) -> None:
        names = sorted({n.name for n in nodes if self.only_nodes is None or n.name in self.only_nodes}, key=name_key)
        if names:
            self.lines.item(f"{title}: [ {' '.join(names)} ]")

    def _stopped_lists(self, rsc: Resource, active: int) -> None:
        """Where no instance runs, by reason; only when there are fewer instances than there may be."""
        assert rsc.clone is not None
        if rsc.clone.clone_max <= active:
            return
        running = {node.index for node in nodes_of(rsc)}
        by_reason: dict[str, list[Node]] = {}
        for node in self.ws.nodes:
            if node.index in running or not self._may_be_listed(rsc, node):
                continue
            reason = "Stopped (disabled)" if rsc.target_role is Role.STOPPED else "Stopped"
            probe = next((p for c in rsc.children if (p := failed_probe(self.ws, c, node.name)) is not None), None)
            if probe is not None:
                reason = f"Stopped ({exit_description(probe)})"
            by_reason.setdefault(reason, []).append(node)
        for reason in sorted(by_reason):
            self._node_list(reason, by_reason[reason])

    def _may_be_listed(self, rsc: Resource, node: Node) -> bool:
        if node.is_bundle_node:
            return False
        if not rsc.allowed:
            return True
        return node.index in rsc.allowed

    def _bundle(self, rsc: Resource, only: Names) -> None:
        bundle = rsc.bundle
        assert bundle is not None
        inner = None if only is not None and rsc.id in only else only
        words = ["unique"] * rsc.unique + collective_remarks(rsc)
        kind = "Container bundle set" if len(bundle.replicas) > 1 else "Container bundle"
        self.lines.begin(f"{kind}: {rsc.id} [{bundle.image}]{_in_parentheses(words)}:")
        for replica in bundle.replicas:
            if (
                self.only_nodes is not None
                and replica.container.running_on
                and not any(node.name in self.only_nodes for node in replica.container.running_on)
            ):
                continue
            if self.shown.detail:
                self._replica_detail(replica, len(bundle.replicas), inner)
            else:
                self._replica(replica)
        self.lines.end()

    def _replica_detail(self, replica: BundleReplica, count: int, only: Names) -> None:
        if count > 1:
            self.lines.begin(f"Replica[{replica.offset}]")
        else:
            self.lines.deeper()
        for part in (replica.ip, replica.child, replica.container, replica.remote):
            if part is not None:
                self.write(part, only)
        self.lines.end()

    def _replica(self, replica: BundleReplica) -> None:
        rsc = replica.child or replica.container
        name = display_id(replica.remote) if replica.remote is not None else display_id(replica.container)
        if replica.ip_address:
            name += f" ({replica.ip_address})"
        node = replica.container.running_on[0] if replica.container.running_on and self.with_nodes else None
        self.lines.item(primitive_line(self.ws, rsc, name, node, with_node=self.with_nodes))

    # ---- brief --------------------------------------------------------------------------------------------------

    def brief(self, resources: list[Resource], *, by_node: bool = False, totals: bool = False) -> None:
        """Counts by agent (and node); with `totals`, or when inactive ones are listed, out of how many."""
        totals = totals or (self.shown.inactive and not by_node)
        total: Counter[str] = Counter(r.agent for r in resources)
        active: dict[str, Counter[str]] = {}
        for rsc in resources:
            if rsc.removed and not is_active(rsc, wholly=True):
                total[rsc.agent] -= 1
                continue
            for node in rsc.running_on:
                if node.online or not rsc.managed:
                    active.setdefault(rsc.agent, Counter())[node.name] += 1
        for agent in sorted(total):
            nodes = active.get(agent, Counter())
            for name in sorted(nodes, key=name_key):
                count = f"{nodes[name]}/{total[agent]}" if totals else str(nodes[name])
                self.lines.item(f"{count}\t({agent}):\tActive {'' if by_node else name}")
            if not nodes and not by_node and self.shown.inactive and total[agent] > 0:
                self.lines.item(f"0/{total[agent]}\t({agent}):\tActive")


def _clone_child_id(rsc: Resource) -> str:
    if rsc.clone is not None and rsc.clone.child_xml is not None:
        return str(rsc.clone.child_xml.get("id"))
    return rsc.children[0].history_id if rsc.children else ""


def _in_parentheses(words: list[str]) -> str:
    return f" ({', '.join(words)})" if words else ""
