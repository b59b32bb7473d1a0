"""Requests and replies on the manager's Unix socket (`RUN_DIR/manager.sock`).

Frames: 4 bytes length, big endian, then one msgpack value. A connection carries any number of requests; replies bear
the request's `serial`. The server checks the peer's credentials (SO_PEERCRED): root, and members of the group haclient;
the tool server, running as root, passes the real user on in `user`. Exit codes are Pacemaker's (`model.reports`).
"""

from __future__ import annotations

from typing import Any, Union

import msgspec

FRAME_BYTES_MAX = 64 * 1024 * 1024


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    serial: int
    user: str = ""  # set by a trusted proxy; empty: the peer's own
    client: str = ""  # program name


class CibQuery(_Request, frozen=True, kw_only=True, tag="cib-query"):
    section: str | None = None
    xpath: str | None = None
    no_children: bool = False


class CibChange(_Request, frozen=True, kw_only=True, tag="cib-change"):
    """A configuration (or status) operation as in `model.cib.Operation`. `request`: client-made id, so that a client
    whose
    answer was lost can ask with `Fate`. `forced`: write without quorum, as a named fork."""

    request: str
    kind: str
    section: str | None = None
    xpath: str | None = None
    xml: bytes | None = None
    allow_create: bool = False
    forced: bool = False


class AttributeSet(_Request, frozen=True, kw_only=True, tag="attribute-set"):
    """Transient attribute. `value` None deletes. "++", "+=N", "value++" are understood. `node` None: this node."""

    request: str
    name: str
    value: str | None
    node: str | None = None
    set_type: str = "instance_attributes"
    set_id: str | None = None
    pattern: bool = False
    private: bool = False
    delay_ms: int = 0  # dampening
    wait: bool = True  # until it is applied here


class AttributeQuery(_Request, frozen=True, kw_only=True, tag="attribute-query"):
    """Reply: `AttributeReply`. `node` None: this node; "" all nodes."""

    name: str
    node: str | None = None


class StatusQuery(_Request, frozen=True, kw_only=True, tag="status"):
    """Everything a monitor shows, in one consistent reply: `StatusReply`."""

    cib: bool = True


class FenceAsked(_Request, frozen=True, kw_only=True, tag="fence"):
    """stonith_admin --fence/--reboot/--unfence. Reply when done or failed, within `timeout_ms`."""

    request: str
    target: str
    action: str
    timeout_ms: int = 120_000
    tolerance_ms: int = 0
    delay_ms: int = 0


class FenceConfirmed(_Request, frozen=True, kw_only=True, tag="confirm"):
    """stonith_admin --confirm: the operator's word that the node is off."""

    request: str
    target: str


class FenceDevices(_Request, frozen=True, kw_only=True, tag="fence-devices"):
    """Registered devices; those that can fence `target` if given. Reply: `Reply.data` = list of names."""

    target: str | None = None


class FenceHistory(_Request, frozen=True, kw_only=True, tag="fence-history"):
    target: str | None = None
    clear: bool = False


class ClearHistory(_Request, frozen=True, kw_only=True, tag="clear-history"):
    """crm_resource --cleanup (failures_only) and --refresh."""

    request: str
    resource: str | None = None
    node: str | None = None
    operation: str | None = None
    interval_ms: int | None = None
    failures_only: bool = True


class ResourceFail(_Request, frozen=True, kw_only=True, tag="fail"):
    """crm_resource --fail: report a failure of the resource on the node as if its monitor had."""

    request: str
    resource: str
    node: str


class NodeRemove(_Request, frozen=True, kw_only=True, tag="node-remove"):
    request: str
    node: str
    forced: bool = False


class Shutdown(_Request, frozen=True, kw_only=True, tag="shutdown"):
    """Empty this node (`node` None) or another and leave cleanly."""

    request: str
    node: str | None = None


class Fate(_Request, frozen=True, kw_only=True, tag="fate"):
    """What became of a request. Reply rc 0 with data {"known": bool, "rc": int, "message": str}."""

    request: str


class WaitIdle(_Request, frozen=True, kw_only=True, tag="wait-idle"):
    """Reply once the DC has nothing left to do (crm_resource --wait), or rc 124 after `timeout_ms`."""

    timeout_ms: int


class Metadata(_Request, frozen=True, kw_only=True, tag="metadata"):
    """An agent's metadata XML (data: bytes), from the executor's cache. agent: "ocf:heartbeat:IPaddr2"."""

    agent: str


class Agents(_Request, frozen=True, kw_only=True, tag="agents"):
    """Lists for crm_resource --list-agents, --list-ocf-providers, --list-standards: data = list of names."""

    standard: str | None = None
    provider: str | None = None
    what: str = "agents"  # agents | providers | standards


class Subscribe(_Request, frozen=True, kw_only=True, tag="subscribe"):
    """From now on `Changed` values are sent on this connection (at most one per 50 ms, coalesced)."""


Request = Union[
    CibQuery,
    CibChange,
    AttributeSet,
    AttributeQuery,
    StatusQuery,
    FenceAsked,
    FenceConfirmed,
    FenceDevices,
    FenceHistory,
    ClearHistory,
    ResourceFail,
    NodeRemove,
    Shutdown,
    Fate,
    WaitIdle,
    Metadata,
    Agents,
    Subscribe,
]


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag="reply"):
    """`rc`: Pacemaker exit code. `message`: one sentence for people when rc is not 0. `data`: as the request says;
    for CibQuery the XML (bytes); for CibChange {"version": [a, e, n]}."""

    serial: int
    rc: int = 0
    message: str = ""
    data: Any = None


class AttributeValue(msgspec.Struct, frozen=True, kw_only=True):
    node: str
    name: str
    value: str


class AttributeReply(msgspec.Struct, frozen=True, kw_only=True, tag="attributes"):
    serial: int
    rc: int = 0
    message: str = ""
    values: tuple[AttributeValue, ...] = ()


class FenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A fencing action, past or pending. state: "pending" | "success" | "failed"; times in wall seconds."""

    id: str
    target: str
    action: str
    origin: str
    client: str
    executor: str
    device: str
    state: str
    reason: str
    cause: str
    began_at: int
    ended_at: int


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    peer: str
    link: str
    kind: str
    address: str
    up: bool


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str
    in_view: bool  # the node is up
    manager: bool  # its manager is a member
    synced: bool
    boot_id: str
    feature_set: str
    votes: int


class StatusReply(msgspec.Struct, frozen=True, kw_only=True, tag="status-reply"):
    """`rights` in {"keep", "fence", "write", "take-over"}; `banners`: sentences that must stand at the top of any
    status
    (fencing switched off, no arbiter, forked configuration, ...)."""

    serial: int
    rc: int = 0
    message: str = ""
    cib: bytes | None = None
    cluster: str = ""
    node: str = ""
    node_id: int = 0
    engine: str = ""
    version: str = ""
    dc: str | None = None
    quorate: bool = False
    votes: int = 0
    expected_votes: int = 0
    rights: tuple[str, ...] = ()
    view: tuple[int, int, int] = (0, 0, 0)
    epoch: int = 0
    nodes: tuple[NodeFacts, ...] = ()
    links: tuple[LinkState, ...] = ()
    fences: tuple[FenceRecord, ...] = ()
    banners: tuple[str, ...] = ()
    controller_state: str = ""  # Pacemaker's names: S_IDLE, S_TRANSITION_ENGINE, S_NOT_DC, ...
    configuration_synced: bool = False


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag="changed"):
    version: tuple[int, int, int]
    view: tuple[int, int, int]
    idle: bool


Answer = Union[Reply, AttributeReply, StatusReply, Changed]

_encoder = msgspec.msgpack.Encoder()
_request_decoder: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_answer_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def encode(value: Request | Answer) -> bytes:
    return _encoder.encode(value)


def decode_request(data: bytes) -> Request:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _request_decoder.decode(data)


def decode_answer(data: bytes) -> Answer:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _answer_decoder.decode(data)
