"""What the embedded engine accepts. The driver (host or simulator) makes these; `now` comes beside each.

The driver's duties:
* A packet is given only after header check, source check, seal and `replay.Gatekeeper` have passed it; Challenge and
  ChallengeAnswer stay below the engine.
* Sockets are drained before timers are fired, so that silence is judged after what has arrived was heard.
* Timers fire at or after their time, each once; a timer set again moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from quorate.model import group, wire
from quorate.model.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """First event. `incarnation`: 128 random bits of this run. `counter_floor`: the highest value that `StoreCounter`
    ever stored on this node; if there is none (a new disk), the wall clock's seconds."""

    incarnation: int
    counter_floor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketReceived:
    link: str
    peer: NodeId
    incarnation: int
    packet: wire.Packet
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerRequest:
    request: group.EngineRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerGone:
    """The manager's socket closed, or its stamp is older than its allowance. It leaves the group; the node stays."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerBack:
    """A manager that was reported gone by its stamp stamps again. It is told EngineGone and has to join anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """Sending on a link failed (no route, cable out, device gone). A report: only silence takes a peer away."""

    link: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTrouble:
    """Something refused below the engine (bad seal, replay, foreign cluster, ...): a Diagnosis, rate limited here."""

    code: str
    peer: NodeId | None
    link: str | None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """Orderly end of this engine (SIGTERM): says good-bye. No event may follow; the driver exits after the effects."""

    cause: str


Event = Union[
    Started,
    PacketReceived,
    TimerFired,
    ManagerRequest,
    ManagerGone,
    ManagerBack,
    LinkFault,
    LinkTrouble,
    StopRequested,
]
