"""The small protocol of the four variants: one table row each."""

from __future__ import annotations

from . import clone, group, primitive
from .actions import OPTIONAL, PSEUDO, RUNNABLE, Action, find_action
from .working_set import Kind, Node, Resource, WorkingSet


def internal_constraints(ws: WorkingSet, rsc: Resource) -> None:
    """Relations and colocations that the resource's own structure implies."""
    if rsc.kind is Kind.PRIMITIVE:
        primitive.internal_constraints(ws, rsc)
    elif rsc.kind is Kind.GROUP:
        group.internal_constraints(ws, rsc)
    elif rsc.kind is Kind.CLONE:
        clone.internal_constraints(ws, rsc)
    else:
        from . import bundle

        bundle.internal_constraints(ws, rsc)


def create_actions(ws: WorkingSet, rsc: Resource) -> None:
    """Every action that the decision for the resource needs."""
    if rsc.kind is Kind.PRIMITIVE:
        primitive.create_actions(ws, rsc)
    elif rsc.kind is Kind.GROUP:
        group.create_actions(ws, rsc)
    elif rsc.kind is Kind.CLONE:
        clone.create_actions(ws, rsc)
    else:
        from . import bundle

        bundle.create_actions(ws, rsc)


def assigned_nodes(rsc: Resource) -> list[Node]:
    if rsc.kind is Kind.PRIMITIVE:
        return [rsc.assigned] if rsc.assigned is not None else []
    found: list[Node] = []
    for child in rsc.children:
        for node in assigned_nodes(child):
            if node not in found:
                found.append(node)
    return found


def action_flags(rsc: Resource, action: Action, node: Node | None) -> int:
    """Flags of a collective's action, as those of its members make them."""
    if rsc.kind is Kind.PRIMITIVE:
        return action.flags
    if rsc.kind is Kind.GROUP:
        return _group_flags(rsc, action, node)
    if rsc.kind is Kind.CLONE:
        return collective_flags(rsc.children, action, node)
    from . import bundle

    return bundle.action_flags(rsc, action, node)


_STARTED_TASK = {"running": "start", "stopped": "stop", "promoted": "promote", "demoted": "demote"}


def original_task(action: Action) -> str:
    """The members' task that a collective's action stands for; notifications stand for what they announce."""
    task = action.task
    if task in ("notify", "notified"):
        from .actions import split_key

        _, name, _ = split_key(action.key)
        task = name.rpartition("_")[2]
    return _STARTED_TASK.get(task, task)


def _group_flags(group_rsc: Resource, action: Action, node: Node | None) -> int:
    flags = OPTIONAL | RUNNABLE | PSEUDO
    task = original_task(action)
    for member in group_rsc.children:
        found = find_action(member, None, task, node)
        if found is not None:
            member_flags = action_flags(member, found, node)
            if flags & OPTIONAL and not member_flags & OPTIONAL:
                flags &= ~OPTIONAL
                action.flags &= ~OPTIONAL
            if task != action.task and flags & RUNNABLE and not member_flags & RUNNABLE:
                flags &= ~RUNNABLE
                action.flags &= ~RUNNABLE
        elif task not in ("stop", "demote"):
            flags &= ~RUNNABLE
    return flags


def collective_flags(instances: list[Resource], action: Action, node: Node | None) -> int:
    flags = OPTIONAL | RUNNABLE | PSEUDO
    task = original_task(action)
    any_runnable = False
    for instance in instances:
        found = find_action(instance, None, task, node if instance.kind is Kind.PRIMITIVE else None)
        if found is None:
            continue
        instance_flags = action_flags(instance, found, node)
        if flags & OPTIONAL and not instance_flags & OPTIONAL:
            flags &= ~OPTIONAL
            action.flags &= ~OPTIONAL
        if instance_flags & RUNNABLE:
            any_runnable = True
    if not any_runnable:
        flags &= ~RUNNABLE
        if node is None:
            action.flags &= ~RUNNABLE
    return flags
