"""The interface of an engine: what a group layer tells the manager and what the manager asks of it.

Engines (the embedded `heartbeat`, Corosync later) speak exactly these values; the daemon carries them over a local
socket (`encode`/`decode`), the simulator hands them over directly. The contract, tested by one suite for all engines:

* `ViewChanged` ids grow at each node; every view contains the node itself; one id has one content.
* `Delivered` messages come in one agreed order; a message is delivered in the view in which its sender was a member, at
  most once, first-in first-out for each sender. Members that go together from one view to the next (`transitional`)
  have delivered the same messages in the former.
* `members` are the nodes whose manager has joined; only they receive `Delivered`. A manager's joining and leaving takes
  its place in the agreed order, as a `ViewChanged` with the next `minor`.
* Each `Submit` ends in exactly one of: `Delivered` to the submitter (with its token) or `SubmissionLost`. Submissions
  are never refused below the bound given by the last `FlowControl`; above it they are answered by `SubmissionLost`
  with cause "overflow".
* A message is at most `MESSAGE_BYTES_MAX`; a longer one is the submitter's error.
"""

from __future__ import annotations

from typing import Union

import msgspec

from .ids import NodeId, ViewId

MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One group view as seen by one node. All tuples are sorted by node id.

    `nodes`: up, by heartbeats heard both ways. `members`: of these, whose manager has joined. `transitional`: of
    `members`, those which came with this node from its previous view and delivered the same messages there. `vetoed`:
    the engine has a quorum of its own (Corosync's) which says no; its yes counts for nothing.
    """

    id: ViewId
    nodes: tuple[NodeId, ...]
    members: tuple[NodeId, ...]
    transitional: tuple[NodeId, ...]
    vetoed: bool = False


# ---- engine -> manager ------------------------------------------------------------------------------------------


class ViewChanged(msgspec.Struct, frozen=True, kw_only=True, tag="view"):
    view: View


class Delivered(msgspec.Struct, frozen=True, kw_only=True, tag="delivered"):
    """A message in agreed order. `token` is the submitter's own number when this node sent it, else None."""

    view: ViewId
    sender: NodeId
    payload: bytes
    token: int | None = None


class SubmissionLost(msgspec.Struct, frozen=True, kw_only=True, tag="lost"):
    """The fate of a submission is unknown (view change) or it was not accepted (cause "overflow", "left")."""

    token: int
    cause: str


class LinkChanged(msgspec.Struct, frozen=True, kw_only=True, tag="link"):
    """A heartbeat path to a peer went up or down: a report, not a membership change."""

    peer: NodeId
    link: str
    up: bool
    cause: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, tag="diagnosis"):
    """Something about the wire that explains trouble: code and fields, rate limited by the engine.

    Codes: "wrong-key", "foreign-cluster", "replay", "one-way", "version", "duplicate-id", "garbage",
    "address-mismatch",
    "paused" (fields: gap_ms), "send-error".
    """

    code: str
    peer: NodeId | None
    link: str | None
    fields: dict[str, str]


class FlowControl(msgspec.Struct, frozen=True, kw_only=True, tag="flow"):
    """The number of bytes the engine will still queue; 0 means TRY_AGAIN until the next report."""

    room_bytes: int


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    peer: NodeId
    link: str
    up: bool
    kind: str  # "udp" | "serial" | "multicast" | ...
    address: str
    received: int  # packets
    lost: int
    rtt_us: int | None


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True, tag="status"):
    """Answer to `StatusAsked`: facts for crm_mon and corosync-cfgtool-like output."""

    engine: str
    node: NodeId
    token_ms: int
    view: View | None
    links: tuple[LinkStatus, ...]
    counters: dict[str, int]


class EngineGone(msgspec.Struct, frozen=True, kw_only=True, tag="gone"):
    """The engine itself died (made by the driver). Until a new view comes this node has no right but to stop."""

    cause: str


EngineEvent = Union[ViewChanged, Delivered, SubmissionLost, LinkChanged, Diagnosis, FlowControl, EngineStatus, EngineGone]


# ---- manager -> engine ------------------------------------------------------------------------------------------


class Join(msgspec.Struct, frozen=True, kw_only=True, tag="join"):
    """The manager is ready: become a member. `incarnation` is the manager's random number for this run."""

    incarnation: int


class Leave(msgspec.Struct, frozen=True, kw_only=True, tag="leave"):
    """The manager leaves the group; the node stays up. An engine's goodbye is not a clean departure of the node."""


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag="submit"):
    """Multicast to all members, the sender included. `bulk` traffic yields to the rest."""

    token: int
    payload: bytes
    bulk: bool = False


class StatusAsked(msgspec.Struct, frozen=True, kw_only=True, tag="status-asked"):
    pass


EngineRequest = Union[Join, Leave, Submit, StatusAsked]

_encoder = msgspec.msgpack.Encoder()
_event_decoder: msgspec.msgpack.Decoder[EngineEvent] = msgspec.msgpack.Decoder(EngineEvent)
_request_decoder: msgspec.msgpack.Decoder[EngineRequest] = msgspec.msgpack.Decoder(EngineRequest)


def encode(message: EngineEvent | EngineRequest) -> bytes:
    return _encoder.encode(message)


def decode_event(data: bytes) -> EngineEvent:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _event_decoder.decode(data)


def decode_request(data: bytes) -> EngineRequest:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _request_decoder.decode(data)
