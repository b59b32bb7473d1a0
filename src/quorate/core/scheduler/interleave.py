"""Interleaved ordering of two clones: each instance waits only for its neighbour on the same node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .actions import Action, find_action, order
from .bundle import inside
from .clone import find_compatible_instance, is_interleaved
from .variants import action_flags, original_task
from .working_set import Kind, Node, Resource, Role, WorkingSet

if TYPE_CHECKING:
    from .relations import _Updater


def instances_of(rsc: Resource) -> list[Resource]:
    if rsc.kind is Kind.BUNDLE and rsc.bundle is not None:
        return [replica.container for replica in rsc.bundle.replicas]
    return rsc.children


def can_interleave(first: Action, then: Action) -> bool:
    if first.rsc is None or then.rsc is None or first.rsc is then.rsc:
        return False
    collective = (Kind.CLONE, Kind.BUNDLE)
    if first.rsc.kind not in collective or then.rsc.kind not in collective:
        return False
    stopping = first.task.startswith(("stop", "demot")) or original_task(first) in ("stop", "demote")
    decisive = first.rsc if stopping else then.rsc
    return is_interleaved(decisive)


def update_interleaved(
    updater: _Updater, first: Action, then: Action, node: Node | None, mask: int, kind: int,
) -> int:
    ws = updater.ws
    assert first.rsc is not None and then.rsc is not None
    current = original_task(then) in ("stop", "demote") and (
        first.key.endswith(("_stopped_0", "_demoted_0", "_stop_0", "_demote_0")))
    changed = 0
    for then_instance in instances_of(then.rsc):
        first_instance = find_compatible_instance(ws, then_instance, first.rsc, Role.UNKNOWN, current)
        if first_instance is None:
            if _unassign_if_mandatory(updater, first, then, then_instance, kind, current):
                changed |= 2
            continue
        first_action = _instance_action(first, first_instance, None, True)
        then_action = _instance_action(then, then_instance, node, False)
        if first_action is None or then_action is None:
            continue
        if order(first_action, then_action, kind):
            changed |= 3
        first_flags = action_flags(first_instance, first_action, None)
        result = updater.apply(then_instance, first_action, then_action, node, first_flags, mask, kind)
        if result & 2:
            changed |= 2
            updater.push(then_action)
            for after in then_action.after:
                updater.push(after.action)
        if result & 1:
            changed |= 1
            updater.push(first_action)
            for after in first_action.after:
                updater.push(after.action)
    return changed


def _instance_action(action: Action, instance: Resource, node: Node | None, is_first: bool) -> Action | None:
    """The instance's part of a collective's action; for bundles that of the container or of what runs inside."""
    task = original_task(action)
    rsc = instance
    if instance.parent is not None and instance.parent.kind is Kind.BUNDLE:
        inner = inside(instance)
        if inner is not None and (task != "stop" if is_first else task in ("promote", "demote")):
            rsc, node = inner, None
    if rsc.children and is_first:
        done = {"start": "running", "stop": "stopped", "promote": "promoted", "demote": "demoted"}.get(task, task)
        found = find_action(rsc, None, done, None)
        if found is not None:
            return found
    return find_action(rsc, None, task, node)


def _unassign_if_mandatory(
    updater: _Updater, first: Action, then: Action, instance: Resource, kind: int, current: bool,
) -> bool:
    """An instance without a neighbour to wait for cannot start."""
    from .actions import FIRST_IMPLIES_THEN, UNRUNNABLE_FIRST_BLOCKS
    from .clone import place_all

    if current:
        return False
    if not kind & (UNRUNNABLE_FIRST_BLOCKS | FIRST_IMPLIES_THEN):
        return False
    ws: WorkingSet = updater.ws
    from . import assignment

    before = _assigned_anywhere(instance)
    if instance.kind is Kind.PRIMITIVE:
        if instance.assigned is None and not instance.provisional:
            return False
        assignment.place(ws, instance, None, True, True)
    else:
        if not before:
            return False
        place_all(ws, instance)
    for action in _all_actions(instance):
        updater.push(action)
        for after in action.after:
            updater.push(after.action)
    return before


def _assigned_anywhere(rsc: Resource) -> bool:
    return rsc.assigned is not None or any(_assigned_anywhere(child) for child in rsc.children)


def _all_actions(rsc: Resource) -> list[Action]:
    found = list(rsc.actions)
    for child in rsc.children:
        found += _all_actions(child)
    return found


