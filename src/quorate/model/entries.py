"""What the managers of one cluster tell each other in the agreed order.

Two kinds. *Synchronisation* messages (`Hello`, `Snapshot`, `Synced`, `Ack`, `Proceed`, `Part`) establish a common
starting state for
each view and tell how far each member has come. *Entries* change the replicated state: every member applies them in
the agreed order, with the same outcome. An entry is committed by the rule in `core/replication`; side effects
(running an
agent, fencing) happen only then.

All are msgspec values with short tags; `encode` and `decode` are the only codec. Names of nodes, not numbers, stand in
entries, because that is what the CIB knows. Times are wall-clock seconds where they end up in the status section (for
display and failure-timeout), else milliseconds of duration.
"""

from __future__ import annotations

from typing import Union

import msgspec

from .ids import ViewId

# ---- synchronisation --------------------------------------------------------------------------------------------


class Position(msgspec.Struct, frozen=True, array_like=True, order=True):
    """How far a replica is: compared lexicographically; the greatest decides the configuration at a merge.

    `lineage`: the highest epoch whose starting state is known to be durable on a majority of the electorate.
    `index`: number of configuration entries applied in that lineage. A minority's promised epoch never counts.
    """

    lineage: int
    index: int


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The first message of a member in each view.

    `promised`: highest epoch promised on disk. `synced`: it held the state of its last view. `config_digest` and
    `state_digest` tell whether a snapshot is needed. `status`: its own history and transient attributes (XML of its
    node_state element, zlib), as soon as it has any. `settings_digest`: digest of the parts of the configuration file
    that must be equal on all nodes.
    """

    view: ViewId
    node: str
    node_id: int
    boot_id: str
    incarnation: int  # of the manager; a new one means: history unknown, probe
    feature_set: str
    promised: int
    position: Position
    cib_version: tuple[int, int, int]
    config_digest: str
    state_digest: str
    settings_digest: str
    votes: int
    synced: bool
    ever_quorate: bool = False  # since it booted: it has been part of a quorate view (wait_for_all)
    dc: str | None = None  # whom it last knew as DC
    running: tuple[str, ...] = ()  # transition keys of actions it is executing now
    status: bytes | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """The whole replicated state as it stands after the last Hello of `view`: zlib of the state's encoding."""

    view: ViewId
    epoch: int
    position: Position
    state: bytes


class Synced(msgspec.Struct, frozen=True, kw_only=True, tag="synced"):
    """This member holds the view's starting state on disk and has promised `epoch`."""

    view: ViewId
    epoch: int
    node: str
    digest: str


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """This member has received all entries up to `received`, and has those up to `durable` on disk (view-local
    numbers). `checked`/`digest`: digest of the configuration after that many entries, now and then, to find a replica
    that is odd."""

    view: ViewId
    received: int
    durable: int
    checked: int = 0
    digest: str = ""


class Proceed(msgspec.Struct, frozen=True, kw_only=True, tag="proceed"):
    """The deadline for hellos is over: the view starts without those members in `without` that have not spoken by
    now."""

    view: ViewId
    without: tuple[int, ...]  # node ids


class Part(msgspec.Struct, frozen=True, kw_only=True, tag="part"):
    """A piece of one encoded message too long for one datagram of the engine. The parts of one sender come in order."""

    message: int  # sender's own number
    number: int  # 0 .. count-1
    count: int
    data: bytes


# ---- entries ----------------------------------------------------------------------------------------------------


class Change(msgspec.Struct, frozen=True, kw_only=True, tag="change"):
    """One CIB operation (see `model.cib.Operation`, encoded by `model.cib`), requested by a client or the DC."""

    request: str  # id given by the client, for asking what became of it
    origin: str  # node where it was asked
    client: str  # program, for update-client
    user: str
    kind: str
    section: str | None = None
    xpath: str | None = None
    xml: bytes | None = None
    allow_create: bool = False
    forced: bool = False  # without quorum, by the operator: a named fork
    at: int = 0  # wall seconds at the origin, for cib-last-written


class AttributeUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="attribute"):
    """Set (`value`) or delete (None) a transient node attribute. `pattern`: names are a regular expression (delete
    only)."""

    request: str
    node: str
    name: str
    value: str | None
    set_type: str = "instance_attributes"  # or "utilization"
    set_id: str | None = None
    pattern: bool = False
    private: bool = False
    user: str = ""


class ActionRequest(msgspec.Struct, frozen=True, kw_only=True, tag="action"):
    """The DC asks `executor` to run an agent's action for `node` (the same node unless it is remote or a guest).

    `key` is Pacemaker's transition key "ACTION:TRANSITION:TARGETRC:UUID": unique. `parameters` are the agent's by plain
    name; `meta` the CRM_meta_* by name without prefix. `interval_ms` 0: once.
    """

    key: str
    node: str
    executor: str
    resource: str  # id as the status section knows it
    agent_class: str
    provider: str | None
    agent: str
    operation: str
    interval_ms: int
    timeout_ms: int
    target_rc: int
    parameters: dict[str, str]
    meta: dict[str, str] = {}
    start_delay_ms: int = 0
    unfence: bool = False


class ActionCancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Stop a recurring monitor and drop its record from the history."""

    key: str
    node: str
    executor: str
    resource: str
    operation: str
    interval_ms: int


class ActionResult(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """What came of an action, by its executor. Written to the status section by every replica.

    `status` is Pacemaker's op-status: 0 complete, 1 cancelled, 2 timeout, 3 not supported, 4 error, 5 hard error,
    6 fatal error, 7 not installed, 8 not connected, 9 invalid; -1 pending. A recurring monitor reports changes only.
    """

    key: str
    node: str
    executor: str
    resource: str
    agent_class: str
    provider: str | None
    agent: str
    operation: str
    interval_ms: int
    rc: int
    status: int
    call_id: int
    reason: str
    output: str = ""  # bounded, for logs; not kept in the status section
    started_at: int = 0  # wall seconds (last-run)
    changed_at: int = 0  # wall seconds (last-rc-change)
    execution_ms: int = 0
    queue_ms: int = 0
    digest: str = ""
    restart_digest: str | None = None
    restart_parameters: str | None = None  # space separated, as op-force-restart
    secure_digest: str | None = None
    secure_parameters: str | None = None  # as op-secure-params
    migrate_source: str | None = None
    migrate_target: str | None = None


class HistoryCleared(msgspec.Struct, frozen=True, kw_only=True, tag="clear"):
    """Forget operations and failures: cleanup (failures only), refresh (all), delete of a removed resource, fail
    counts.

    None means all. The controller's `lrm_delete` and `clear_failcount`, and crm_resource's cleanup and refresh."""

    request: str
    node: str | None
    resource: str | None
    operation: str | None = None
    interval_ms: int | None = None
    failures_only: bool = False
    failcounts: bool = True
    history: bool = True


class FenceRequest(msgspec.Struct, frozen=True, kw_only=True, tag="fence"):
    """Power a node off or reboot it (or "on" for unfencing), run by `executor` with `devices` in turn until one
    level works.

    Names the target's boot id: a newer authenticated boot id voids it. `cause` is kept for history and explanation."""

    id: str
    target: str
    boot_id: str  # "" unknown (never seen since this cluster started)
    action: str  # reboot | off | on
    origin: str  # node on which it was asked for
    client: str
    executor: str
    devices: tuple[str, ...]
    timeout_ms: int
    delay_ms: int
    cause: str
    at: int  # wall seconds
    attempt: int = 1


class FenceResult(msgspec.Struct, frozen=True, kw_only=True, tag="fenced"):
    """What came of a FenceRequest. `confirmed`: the device, or the operator (`by_hand`), says the target is off."""

    id: str
    target: str
    boot_id: str
    action: str
    executor: str
    device: str
    confirmed: bool
    by_hand: bool = False
    unknown: bool = False  # the executor was lost or timed out: it may have happened, it must not be counted on
    reason: str = ""
    at: int = 0
    void: bool = False  # a newer boot id came first


class ManagerLapsed(msgspec.Struct, frozen=True, kw_only=True, tag="lapsed"):
    """By the DC: a node whose manager is absent has used up its grace; it now counts as lost and will be fenced."""

    node: str
    incarnation: int


class PeerLapsed(msgspec.Struct, frozen=True, kw_only=True, tag="peer-lapsed"):
    """By the DC: an absent node's right has lapsed by the rule named in `cause` (stonith-enabled=false, lease,
    watchdog)."""

    node: str
    boot_id: str
    cause: str


class ShutdownAsked(msgspec.Struct, frozen=True, kw_only=True, tag="shutdown"):
    """The node wants to leave: empty it."""

    node: str
    at: int


class ShutdownDone(msgspec.Struct, frozen=True, kw_only=True, tag="left"):
    """By the DC: the node is empty and may leave. Only this is a clean departure."""

    node: str


class NodeRemoved(msgspec.Struct, frozen=True, kw_only=True, tag="removed"):
    """Forget a node in the status section (crm_node -R)."""

    request: str
    node: str


class Noted(msgspec.Struct, frozen=True, kw_only=True, tag="note"):
    """A request's fate that must be known everywhere but changes nothing else (refused, superseded)."""

    request: str
    rc: int
    message: str


Entry = Union[
    Change, AttributeUpdate, ActionRequest, ActionCancel, ActionResult, HistoryCleared, FenceRequest, FenceResult,
    ManagerLapsed, PeerLapsed, ShutdownAsked, ShutdownDone, NodeRemoved, Noted,
]
ENTRY_TYPES = (
    Change, AttributeUpdate, ActionRequest, ActionCancel, ActionResult, HistoryCleared, FenceRequest, FenceResult,
    ManagerLapsed, PeerLapsed, ShutdownAsked, ShutdownDone, NodeRemoved, Noted,
)
Message = Union[
    Hello, Snapshot, Synced, Ack, Proceed, Part,
    Change, AttributeUpdate, ActionRequest, ActionCancel, ActionResult, HistoryCleared, FenceRequest, FenceResult,
    ManagerLapsed, PeerLapsed, ShutdownAsked, ShutdownDone, NodeRemoved, Noted,
]


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """What travels through the engine: a message and the view it was meant for. In any other view it is void."""

    view: ViewId
    message: Message


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)
_change_decoder: msgspec.msgpack.Decoder[Change] = msgspec.msgpack.Decoder(Change)


def encode(view: ViewId, message: Message) -> bytes:
    return _encoder.encode(Envelope(view, message))


def decode(data: bytes) -> Envelope:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _decoder.decode(data)


def encode_change(change: Change) -> bytes:
    """For the journal."""
    return _encoder.encode(change)


def decode_change(data: bytes) -> Change:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _change_decoder.decode(data)
