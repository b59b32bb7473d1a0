"""The work of one resource on one node: a queue of single actions and its recurring ones.

Decided here: nothing but the order. One action at a time; single ones in the order of the log, recurring ones take
their place in the same queue when they are due.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from quorate.model.entries import ActionRequest

Name = tuple[str, str]  # target node, resource


@dataclass(slots=True, kw_only=True)
class Recurring:
    """A monitor that comes back. `reported`: what the log has of it. `changed_at`: wall seconds of the last change."""

    request: ActionRequest
    call_id: int
    reported: tuple[int, int, str] | None = None
    last: tuple[int, int] | None = None
    changed_at: int = 0
    waiting: bool = False  # a job of it stands in the queue or runs

    @property
    def slot(self) -> tuple[str, int]:
        return (self.request.operation, self.request.interval_ms)


@dataclass(slots=True, kw_only=True)
class Job:
    """One run. `local`: asked for by this executor itself, not by the log."""

    request: ActionRequest
    call_id: int
    queued_at: int
    run: str = ""  # key of its RunAgent
    begun_at: int = 0
    recurring: Recurring | None = None
    local: bool = False
    given_up: bool = False  # cancelled while it ran: its result is of no interest


@dataclass(slots=True, kw_only=True)
class Instance:
    name: Name
    jobs: deque[Job] = field(default_factory=deque)
    current: Job | None = None
    recurring: dict[tuple[str, int], Recurring] = field(default_factory=dict)

    @property
    def is_idle(self) -> bool:
        return self.current is None and not self.jobs and not self.recurring
