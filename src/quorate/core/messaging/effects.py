"""What the embedded engine asks for. The driver carries effects out in list order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Union

from quorate.model import group, wire
from quorate.model.ids import NodeId


class Priority(IntEnum):
    """Order on a slow link; lower goes first."""

    BEAT = 0
    CONTROL = 1
    NORMAL = 2
    BULK = 3


@dataclass(frozen=True, slots=True)
class SendPacket:
    """One packet to some peers over one link: encode and seal once, send to each. Losing it is allowed. Pacing of
    slow links has been done; the driver sends at once and drops (reporting LinkFault) what the system refuses."""

    link: str
    peers: tuple[NodeId, ...]
    packet: wire.Packet
    priority: Priority


@dataclass(frozen=True, slots=True)
class SetTimer:
    name: str
    at: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    name: str


@dataclass(frozen=True, slots=True)
class ToManager:
    event: group.EngineEvent


@dataclass(frozen=True, slots=True)
class StoreCounter:
    """Make this number durable before the effects behind it: no view counter of a later run may be at or below it.
    Asked for once in about a thousand views."""

    value: int


@dataclass(frozen=True, slots=True)
class Report:
    """For the engine's own log."""

    code: str
    fields: tuple[tuple[str, str], ...] = ()


Effect = Union[SendPacket, SetTimer, CancelTimer, ToManager, StoreCounter, Report]
