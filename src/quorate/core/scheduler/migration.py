"""Live migration: stop and start replaced by migrate_to and migrate_from."""

from __future__ import annotations

from . import ordering_constraints as oc
from .actions import (
    FIRST_IMPLIES_THEN,
    IF_ON_SAME_NODE_OR_TARGET,
    MIGRATABLE,
    MIGRATION_ABORT,
    ORDERED,
    UNMIGRATABLE_THEN_BLOCKS,
    UNRUNNABLE_FIRST_BLOCKS,
    Action,
    new_action,
    op_key,
    start_action,
    stop_action,
)
from .working_set import Node, Resource, Role, WorkingSet


def can_migrate(ws: WorkingSet, rsc: Resource, current: Node) -> bool:
    if not rsc.migratable or not rsc.managed or rsc.failed or rsc.start_pending:
        return False
    if current.unclean or rsc.assigned is None:
        return False
    target = rsc.assigned
    if target.pending or not (target.online or target.is_guest) or current.shutdown and False:
        return False
    if not current.online:
        return False
    return rsc.next_role >= Role.STARTED


def abort_dangling(ws: WorkingSet, rsc: Resource, node: Node) -> None:
    """A migration that completed leaves its source to be stopped; the start is not done again for it."""
    stop = stop_action(ws, rsc, node, False)
    stop.flags |= MIGRATION_ABORT
    if ws.remove_after_stop:
        from .cleanup import schedule_cleanup

        schedule_cleanup(ws, rsc, node, False)


def _meta(action: Action, source: Node, target: Node) -> None:
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
    if (migrate_to is not None and migrate_from is not None) or (migrate_from is not None and rsc.partial_target is not None):
        start.flags |= MIGRATABLE
        stop.flags |= MIGRATABLE
        start.extra["!migrate"] = "1"
        start.flags |= MIGRATABLE
        migrate_from.extra["!needs"] = "1"
        if rsc.partial_target is not None:
            migrate_from.flags |= 0
            oc.add_ordering(ws, rsc, op_key(rsc.id, "migrate_from"), None, rsc, op_key(rsc.id, "stop"), None,
                            FIRST_IMPLIES_THEN | UNMIGRATABLE_THEN_BLOCKS if False else ORDERED | UNMIGRATABLE)
            _meta(migrate_from, current, target)
            _link(ws, rsc, "migrate_from", "start")
            start.flags |= 0
        else:
            assert migrate_to is not None
            _meta(migrate_to, current, target)
            _meta(migrate_from, current, target)
            migrate_to.flags |= MIGRATABLE
            oc.add_ordering(ws, rsc, op_key(rsc.id, "monitor"), None, rsc, op_key(rsc.id, "migrate_to"), None, ORDERED)
            oc.add_ordering(ws, rsc, op_key(rsc.id, "migrate_to"), None, rsc, op_key(rsc.id, "migrate_from"), None,
                            ORDERED | UNMIGRATABLE)
            oc.add_ordering(ws, rsc, op_key(rsc.id, "migrate_from"), None, rsc, op_key(rsc.id, "stop"), None,
                            ORDERED | UNMIGRATABLE)
            _link(ws, rsc, "migrate_from", "start")
            migrate_from.flags |= 0


UNMIGRATABLE = UNMIGRATABLE_THEN_BLOCKS
IF = IF_ON_SAME_NODE_OR_TARGET | UNRUNNABLE_FIRST_BLOCKS


def _link(ws: WorkingSet, rsc: Resource, first: str, then: str) -> None:
    oc.add_ordering(ws, rsc, op_key(rsc.id, first), None, rsc, op_key(rsc.id, then), None, ORDERED | UNMIGRATABLE)
