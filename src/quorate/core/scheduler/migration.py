"""Live migration: stop and start give way to migrate_to and migrate_from."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import (
    IF_FIRST_UNMIGRATABLE,
    MIGRATABLE,
    MIGRATION_ABORT,
    ORDERED,
    PSEUDO,
    UNMIGRATABLE_THEN_BLOCKS,
    Action,
    new_action,
    op_key,
    start_action,
    stop_action,
)
from .working_set import Node, Resource, WorkingSet


def can_migrate(ws: WorkingSet, rsc: Resource, current: Node) -> bool:
    if not rsc.migratable or not rsc.managed or rsc.failed or rsc.start_pending:
        return False
    return not current.unclean and rsc.assigned is not None and not rsc.assigned.unclean


def abort_dangling(ws: WorkingSet, rsc: Resource, node: Node) -> None:
    """A migration that completed leaves its source to be stopped; that stop starts nothing."""
    stop = stop_action(ws, rsc, node, False)
    stop.flags |= MIGRATION_ABORT
    if ws.remove_after_stop:
        from .cleanup import schedule_cleanup

        schedule_cleanup(ws, rsc, node, False)


def _describe(action: Action, source: Node, target: Node) -> None:
    action.meta["migrate_source"] = source.name
    action.meta["migrate_target"] = target.name


def create_migration(ws: WorkingSet, rsc: Resource, current: Node) -> None:
    target = rsc.assigned
    assert target is not None
    start = start_action(ws, rsc, target, True)
    stop = stop_action(ws, rsc, current, True)
    migrate_to: Action | None = None
    if rsc.partial_target is None:
        migrate_to = new_action(ws, rsc, op_key(rsc.id, "migrate_to"), "migrate_to", current, True)
    migrate_from = new_action(ws, rsc, op_key(rsc.id, "migrate_from"), "migrate_from", target, True)
    start.flags |= MIGRATABLE | PSEUDO
    stop.flags |= MIGRATABLE
    migrate_from.flags |= MIGRATABLE
    gated = ORDERED | UNMIGRATABLE_THEN_BLOCKS
    if migrate_to is not None:
        migrate_to.flags |= MIGRATABLE
        oc.order_tasks(ws, rsc, "monitor", rsc, "migrate_to", ORDERED)
        oc.order_tasks(ws, rsc, "migrate_to", rsc, "migrate_from", gated)
    oc.order_tasks(ws, rsc, "migrate_from", rsc, "stop", gated)
    oc.order_tasks(ws, rsc, "migrate_from", rsc, "start", gated | IF_FIRST_UNMIGRATABLE)
    if migrate_to is not None:
        _describe(migrate_to, current, target)
        if not rsc.is_remote_connection:
            migrate_to.meta["record-pending"] = "true"
    _describe(migrate_from, current, target)
