"""What a graph's action is in the log: the entry that asks for it.

Decided here: the translation only. The attributes of a graph's action hold the agent's parameters by plain name and
CRM_meta_* values; the log keeps the two apart.
"""

from __future__ import annotations

from quorate.core.replication.state import ReplicatedState
from quorate.model import entries
from quorate.model.graph import Action

from .transition import executor_of, integer, target_rc

META_PREFIX = "CRM_meta_"
TIMEOUT_MS_DEFAULT = 20_000


def operation_identity(request: entries.ActionRequest) -> tuple[str, str, str, str, int]:
    """What makes two requests the same operation, whoever asked."""
    return (request.executor, request.node, request.resource, request.operation, request.interval_ms)


def needs_takeover(action: Action) -> bool:
    """Whether it brings to life what an absent node may still hold; fence devices are free of that."""
    return action.operation in ("start", "promote", "migrate_from") and action.resource_class != "stonith"


def is_cancel(action: Action) -> bool:
    return action.operation == "cancel"


def is_delete(action: Action) -> bool:
    return action.operation in ("delete", "lrm_delete")


def action_request(action: Action, key: str) -> entries.ActionRequest:
    meta = {
        name.removeprefix(META_PREFIX): value
        for name, value in action.attributes.items()
        if name.startswith(META_PREFIX)
    }
    parameters = {name: value for name, value in action.attributes.items() if not name.startswith(META_PREFIX)}
    return entries.ActionRequest(
        key=key,
        node=action.node or "",
        executor=executor_of(action),
        resource=action.resource or "",
        agent_class=action.resource_class or "",
        provider=action.resource_provider,
        agent=action.resource_type or "",
        operation=action.operation,
        interval_ms=integer(meta.get("interval"), 0),
        timeout_ms=integer(meta.get("timeout"), TIMEOUT_MS_DEFAULT),
        target_rc=target_rc(action),
        parameters=parameters,
        meta=meta,
        start_delay_ms=integer(meta.get("start_delay"), 0),
    )


def cancel_request(action: Action, key: str) -> entries.ActionCancel:
    return entries.ActionCancel(
        key=key,
        node=action.node or "",
        executor=executor_of(action),
        resource=action.resource or "",
        operation=action.attributes.get("CRM_meta_operation", "monitor"),
        interval_ms=integer(action.attributes.get("CRM_meta_interval"), 0),
    )


def history_request(action: Action, key: str) -> entries.HistoryCleared:
    """`delete` forgets a resource that is no longer configured here, `clear_failcount` its fail counts only."""
    delete = is_delete(action)
    return entries.HistoryCleared(
        request=key, node=action.node, resource=action.resource, failcounts=not delete, history=delete
    )


def lost_result(request: entries.ActionRequest, wall: int) -> entries.ActionResult:
    """The DC's word for an action whose executor never answered: a timeout, so that the scheduler recovers from it."""
    return entries.ActionResult(
        key=request.key,
        node=request.node,
        executor=request.executor,
        resource=request.resource,
        agent_class=request.agent_class,
        provider=request.provider,
        agent=request.agent,
        operation=request.operation,
        interval_ms=request.interval_ms,
        rc=1,
        status=2,
        call_id=-1,
        reason=f"{request.executor} gave no answer",
        started_at=wall,
        changed_at=wall,
        execution_ms=request.timeout_ms,
        migrate_source=request.meta.get("migrate_source"),
        migrate_target=request.meta.get("migrate_target"),
    )


def fence_cause(action: Action, state: ReplicatedState) -> str:
    """Why the graph fences this node, in words for the history."""
    given = action.attributes.get("CRM_meta_reason") or action.attributes.get("reason")
    if given:
        return given
    presence = state.presence(action.node or "").value
    return {
        "lost": "the node is gone without a word",
        "unseen": "the node was never seen since the cluster started",
        "graced": "the node's manager is gone",
        "joining": "the node did not finish joining",
        "online": "a resource on it could not be stopped or demanded it",
    }.get(presence, "the scheduler asked for it")
