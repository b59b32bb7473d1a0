from __future__ import annotations
from .working_set import Resource, WorkingSet
from .actions import Action
def create_pseudo_operations(ws: WorkingSet, rsc: Resource, start: Action, started: Action, stop: Action, stopped: Action) -> None:
    return
def order_after_fencing(ws: WorkingSet, action: Action, rsc: Resource, fencing: Action) -> None:
    return
def create_promotion_operations(ws, clone, promote, promoted, demote, demoted): return
