"""What the Corosync engine's machine hears and what it asks for.

The driver's duties: events of the group (`TotemChanged`, `MembersChanged`, `Received`) in the order in which Corosync
gives them, `Drained` when nothing more waits; quorum's events as they come; each `Multicast` is answered at once by
`Sent`. `JoinGroup` opens a new handle (and tries again until it holds), `LeaveGroup` closes it: nothing of a closed
handle may be handed over any more. When Corosync dies: `Lost`, and nothing until it is there again, then `Found`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from quorate.model import group


@dataclass(frozen=True, slots=True, order=True)
class Ring:
    """Corosync's name for one membership of nodes; the sequence grows."""

    sequence: int
    node: int


# ---- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """Corosync answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Corosync is gone, or threw this client out."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TotemChanged:
    """In the group's stream: from here on messages belong to this ring."""

    ring: Ring
    nodes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersChanged:
    """In the group's stream: nodes whose engine is in the group now. A node in both `left` and `joined` is another
    run."""

    members: tuple[int, ...]
    left: tuple[int, ...] = ()
    joined: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """In the group's stream: a message, this node's own too."""

    node: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Drained:
    """Nothing more of the group's stream waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumChanged:
    """From the quorum service, on a stream of its own: it may come before or after the group's news of the ring."""

    ring: Ring
    nodes: tuple[int, ...]
    quorate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The answer to `Multicast`: queued by Corosync (not delivered yet), or "try again"."""

    accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerRequest:
    request: group.EngineRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerGone:
    """It died, or has shown no sign of life for too long."""

    cause: str


@dataclass(frozen=True, slots=True)
class ManagerBack:
    """One that counted as gone shows life again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """This process, or Corosync under it, did not run for longer than the token."""

    gap_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    name: str


Event = Union[
    Found, Lost, TotemChanged, MembersChanged, Received, Drained, QuorumChanged, Sent, ManagerRequest, ManagerGone,
    ManagerBack, Paused, TimerFired,
]  # fmt: skip


# ---- effects --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JoinGroup:
    pass


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Multicast:
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ToManager:
    event: group.EngineEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    name: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTimer:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """For the engine's log."""

    code: str
    fields: tuple[tuple[str, str], ...] = ()


Effect = Union[JoinGroup, LeaveGroup, Multicast, ToManager, SetTimer, CancelTimer, Report]
