"""The scheduler's contents page: from an unpacked CIB to a transition graph."""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.model.graph import Graph

from . import assignment, locations, utilization
from .actions import demote_action, new_action, stop_action
from .cleanup import clear_fail_count
from .fencing import fence_action, schedule_fencing_and_shutdowns
from .graph_build import build_graph
from .probes import schedule_probes
from .reasons import Reason
from .relations import apply_orderings
from .variants import create_actions, internal_constraints
from .working_set import Message, Node, Resource, WorkingSet


@dataclass(slots=True, kw_only=True)
class Schedule:
    """What was decided. `scores` are crm_simulate's lines when they were asked for."""

    graph: Graph
    scores: list[str]
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    working_set: WorkingSet | None = None


def run(ws: WorkingSet) -> Schedule:
    _early_actions(ws)
    ws.acting = True
    locations.apply_health(ws)
    unpack_constraints(ws)
    apply_node_criteria(ws)
    for rsc in ws.resources:
        internal_constraints(ws, rsc)
    from .parameter_changes import check_history

    check_history(ws)
    assign_resources(ws)
    schedule_actions(ws)
    from .remote import order_connection_actions

    order_connection_actions(ws)
    schedule_fencing_and_shutdowns(ws)
    apply_orderings(ws)
    graph = build_graph(ws)
    return Schedule(
        graph=graph, scores=ws.score_lines or [],
        reasons={rsc.id: rsc.reasons for rsc in ws.all_resources if rsc.reasons}, messages=ws.messages, working_set=ws)


def _early_actions(ws: WorkingSet) -> None:
    """What the status section asked for, as actions, in the order in which it did."""
    for what, rsc, node, detail in ws.early_actions:
        if what == "fence":
            fence_action(ws, node, None, True, detail)
        elif rsc is None:
            continue
        elif what == "stop":
            stop_action(ws, rsc, node, False)
        elif what == "demote":
            demote_action(ws, rsc, node, False)
        elif what == "clear_failcount":
            clear_fail_count(ws, rsc, node, detail)
        else:
            new_action(ws, rsc, detail, what, node, True)


def unpack_constraints(ws: WorkingSet) -> None:
    from .colocation import unpack_colocation
    from .ordering_constraints import unpack_order
    from .tickets import unpack_ticket

    constraints = ws.cib.find("configuration/constraints")
    if constraints is None:
        return
    for element in constraints:
        tag = element.tag
        if tag == "rsc_location":
            locations.unpack_location(ws, element)
        elif tag == "rsc_colocation":
            unpack_colocation(ws, element)
        elif tag == "rsc_order":
            unpack_order(ws, element)
        elif tag == "rsc_ticket":
            unpack_ticket(ws, element)


def apply_node_criteria(ws: WorkingSet) -> None:
    from .shutdown_locks import apply_shutdown_locks

    apply_shutdown_locks(ws)
    locations.apply_locations(ws)
    for rsc in ws.resources:
        locations.apply_stickiness(ws, rsc)
    locations.apply_fail_limits(ws)
    for rsc in ws.resources:
        locations.apply_exclusive_discovery(ws, rsc)


def assign_resources(ws: WorkingSet) -> None:
    utilization.prepare(ws)
    if ws.placement_strategy != "default":
        _sort_resources(ws)
    if ws.have_remote_nodes:
        for rsc in ws.resources:
            if rsc.is_remote_connection:
                assignment.assign(ws, rsc, rsc.partial_target)
    for rsc in ws.resources:
        if not rsc.is_remote_connection:
            assignment.assign(ws, rsc)


def _sort_resources(ws: WorkingSet) -> None:
    """With utilization, what matters more is assigned first."""
    from .colocation import SELECT_THIS_WITH, add_colocated_scores

    order = assignment.sort_nodes(ws, [node.index for node in ws.nodes], None, None)

    def key(rsc: Resource) -> tuple[int, ...]:
        scores = add_colocated_scores(ws, rsc, None, None, None, 1.0, SELECT_THIS_WITH) or rsc.allowed
        current: Node | None = assignment.current_node(rsc)
        here = scores.get(current.index, -1_000_000) if current is not None else -1_000_000
        return (-rsc.priority, -here, *(-scores.get(index, -1_000_000) for index in order))

    ws.resources.sort(key=key)


def schedule_actions(ws: WorkingSet) -> None:
    from .parameter_changes import deferred_checks

    deferred_checks(ws)
    if ws.enable_startup_probes:
        schedule_probes(ws)
    if ws.stop_removed_resources:
        from .parameter_changes import clear_removed_fail_counts

        clear_removed_fail_counts(ws)
    for rsc in ws.resources:
        create_actions(ws, rsc)
