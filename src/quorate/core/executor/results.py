"""What an agent's end means in the history: Pacemaker's op-status, digests, reasons.

Source: Pacemaker Administration, "OCF return codes"; histories of 2.1.5 clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.core.events import AgentExited
from quorate.model.cib.digests import restart_digest
from quorate.model.cib.status import (
    COMPLETE,
    ERROR,
    NOT_INSTALLED,
    NOT_SUPPORTED,
    RC_REFUSED,
    TIMEOUT,
    request_digest,
)
from quorate.model.entries import ActionRequest, ActionResult
from quorate.model.ids import MILLISECOND

from .metadata import NO_FACTS, AgentFacts, spaced
from .queue import Job

OUTPUT_CHARACTERS_MAX = 4000
REASON_CHARACTERS_MAX = 500
OCF_OK, OCF_ERROR, OCF_NOT_INSTALLED, OCF_NOT_RUNNING, OCF_PROMOTED = 0, 1, 5, 7, 8
ACTIVE_CODES = frozenset({0, 8, 190, 191})
# reloads and secrets are looked up in the metadata of classes that have parameters, for these operations
_CLASSES_WITH_PARAMETERS = frozenset({"ocf", "stonith"})
_OPERATIONS_WITH_DIGESTS = frozenset(
    {"start", "monitor", "promote", "demote", "reload", "reload-agent", "migrate_to", "migrate_from"}
)


def needs_metadata(request: ActionRequest) -> bool:
    return request.agent_class in _CLASSES_WITH_PARAMETERS and request.operation in _OPERATIONS_WITH_DIGESTS


def agent_name(request: ActionRequest) -> str:
    """As `LoadMetadata` names it: class[:provider]:type."""
    parts = (request.agent_class, request.provider, request.agent)
    return ":".join(part for part in parts if part)


def outcome(event: AgentExited, request: ActionRequest) -> tuple[int, int, str]:
    """(rc, op-status, exit reason) of an ended action."""
    if event.missing:
        return OCF_NOT_INSTALLED, NOT_INSTALLED, event.reason or f"{agent_name(request)} is not installed here"
    if event.timed_out:
        reason = f"{_subject(request)} did not complete within {_seconds(request.timeout_ms)}"
        if event.alive:
            reason += ", and could not be ended: what it does is unknown"
        return OCF_ERROR, TIMEOUT, reason
    if event.killed:
        return OCF_ERROR, ERROR, event.reason or "the action was ended before it was done"
    if request.operation == "notify":
        return OCF_OK, COMPLETE, ""
    return event.rc, COMPLETE, event.reason


def refused(reason: str) -> tuple[int, int, str]:
    return RC_REFUSED, ERROR, f"not executed: {reason}"


def unsupported(request: ActionRequest) -> tuple[int, int, str]:
    return 3, NOT_SUPPORTED, f"{agent_name(request)} has no action {request.operation}"


def _subject(request: ActionRequest) -> str:
    return "Fence agent" if request.agent_class == "stonith" else "Resource agent"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:g}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job that is over. `outcome`: rc, op-status, reason. Times in wall seconds."""

    request: ActionRequest
    call_id: int
    queue_ms: int
    outcome: tuple[int, int, str]
    started_at: int
    changed_at: int
    execution_ms: int
    output: str = ""


def queue_ms(job: Job) -> int:
    return max(0, (job.begun_at - job.queued_at) // MILLISECOND) if job.begun_at else 0


def action_result(ended: Ended, facts: AgentFacts | None) -> ActionResult:
    """`facts` None: the agent's metadata is not known."""
    request = ended.request
    rc, status, reason = ended.outcome
    facts = facts if facts is not None and needs_metadata(request) else NO_FACTS
    restart = facts.restart if not request.interval_ms else None  # monitors are never reloaded
    return ActionResult(
        key=request.key,
        node=request.node,
        executor=request.executor,
        resource=request.resource,
        agent_class=request.agent_class,
        provider=request.provider,
        agent=request.agent,
        operation=request.operation,
        interval_ms=request.interval_ms,
        rc=rc,
        status=status,
        call_id=ended.call_id,
        reason=reason[:REASON_CHARACTERS_MAX],
        output=ended.output[:OUTPUT_CHARACTERS_MAX],
        started_at=ended.started_at,
        changed_at=ended.changed_at,
        execution_ms=ended.execution_ms,
        queue_ms=ended.queue_ms,
        digest=request_digest(request),
        restart_digest=None if restart is None else restart_digest(request.parameters, restart),
        restart_parameters=None if restart is None else spaced(restart),
        secure_digest=request_digest(request, facts.private) if facts.private else None,
        secure_parameters=spaced(facts.private) if facts.private else None,
        migrate_source=request.meta.get("migrate_source"),
        migrate_target=request.meta.get("migrate_target"),
    )
