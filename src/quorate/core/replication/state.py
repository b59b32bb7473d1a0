"""The replicated state: what every synced member holds alike, and its encoding for a snapshot.

Decided here: nothing; this is the value that `apply` changes and everybody else reads. The CIB document carries the
configuration (durable, see the rules of the log) and the status section (volatile); beside it stand what Pacemaker's
format has no place for: boot ids and presence of nodes, pending actions, fencing, fates of requests.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec

from quorate.core.arbitration.conditions import Presence, settled_by
from quorate.model import entries
from quorate.model.cib import Cib
from quorate.model.entries import Position

LOCAL_ATTRIBUTES = ("have-quorum", "dc-uuid")  # written by each node for its readers, not replicated
FATES_MAX = 2_000  # requests whose fate is remembered; older ones answer "not known"
FENCES_MAX = 500  # finished fencing actions kept as history


@dataclass(slots=True, kw_only=True)
class NodeRecord:
    """What is known of one node. `leaving`: its shutdown is committed and the DC has let it go."""

    name: str
    id: int
    presence: Presence = Presence.UNSEEN
    boot_id: str = ""
    incarnation: int = 0
    feature_set: str = ""
    leaving: bool = False


@dataclass(slots=True, kw_only=True)
class FenceState:
    """One fencing request and what came of it. `void`: never begun, or settled by a newer boot id."""

    request: entries.FenceRequest
    result: entries.FenceResult | None = None

    @property
    def is_open(self) -> bool:
        return self.result is None


class _NodeRow(msgspec.Struct, frozen=True, array_like=True):
    name: str
    id: int
    presence: str
    boot_id: str
    incarnation: int
    feature_set: str
    leaving: bool


class _StateRow(msgspec.Struct, frozen=True, array_like=True):
    cib: bytes
    nodes: tuple[_NodeRow, ...]
    fences: tuple[tuple[entries.FenceRequest, entries.FenceResult | None], ...]
    pending: tuple[entries.ActionRequest, ...]
    fates: tuple[tuple[str, int, str], ...]
    forked: str


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_StateRow] = msgspec.msgpack.Decoder(_StateRow)


@dataclass(slots=True, kw_only=True)
class ReplicatedState:
    """`position`: how far the configuration is. `forked`: the named fork by an operator's forced write, "" if none."""

    cib: Cib
    position: Position = field(default_factory=lambda: Position(0, 0))
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    fences: OrderedDict[str, FenceState] = field(default_factory=OrderedDict)
    pending: dict[str, entries.ActionRequest] = field(default_factory=dict)
    fates: OrderedDict[str, tuple[int, str]] = field(default_factory=OrderedDict)
    forked: str = ""

    # ---- reading --------------------------------------------------------------------------------------------

    @property
    def boot_ids(self) -> dict[str, str]:
        return {name: record.boot_id for name, record in sorted(self.nodes.items()) if record.boot_id}

    @property
    def presences(self) -> dict[str, Presence]:
        return {name: record.presence for name, record in sorted(self.nodes.items())}

    @property
    def absent_down(self) -> tuple[str, ...]:
        """Absent nodes that certainly hold nothing, sorted."""
        return tuple(name for name, record in sorted(self.nodes.items()) if settled_by(record.presence) is not None)

    @property
    def shutting_down(self) -> tuple[str, ...]:
        """Nodes with a committed shutdown that have been let go, sorted (those that wait carry the attribute
        `shutdown`)."""
        return tuple(name for name, record in sorted(self.nodes.items()) if record.leaving)

    def record(self, name: str) -> NodeRecord:
        """The record of a node, made if it was never heard of (remote nodes and removed ones have id 0)."""
        found = self.nodes.get(name)
        if found is None:
            found = self.nodes[name] = NodeRecord(name=name, id=0)
        return found

    def presence(self, name: str) -> Presence:
        found = self.nodes.get(name)
        return Presence.UNSEEN if found is None else found.presence

    # ---- bounded tables -------------------------------------------------------------------------------------

    def remember_fate(self, request: str, rc: int, message: str) -> None:
        if not request:
            return
        self.fates[request] = (rc, message)
        while len(self.fates) > FATES_MAX:
            self.fates.popitem(last=False)

    def trim_fences(self) -> None:
        """Forget the oldest finished fencing actions beyond the bound; open ones are never forgotten."""
        excess = len(self.fences) - FENCES_MAX
        if excess <= 0:
            return
        for key in [key for key, fence in self.fences.items() if not fence.is_open][:excess]:
            del self.fences[key]

    # ---- snapshot -------------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """The whole state but its position. Equal states have equal encodings."""
        return _encoder.encode(
            _StateRow(
                cib=self._cib_bytes(),
                nodes=tuple(
                    _NodeRow(r.name, r.id, r.presence.value, r.boot_id, r.incarnation, r.feature_set, r.leaving)
                    for _, r in sorted(self.nodes.items())
                ),
                fences=tuple((f.request, f.result) for f in self.fences.values()),
                pending=tuple(self.pending[key] for key in sorted(self.pending)),
                fates=tuple((request, rc, message) for request, (rc, message) in self.fates.items()),
                forked=self.forked,
            )
        )

    def _cib_bytes(self) -> bytes:
        """The document without the root attributes that are each node's own view of the moment (see
        `LOCAL_ATTRIBUTES`)."""
        root = self.cib.root
        local = {name: value for name in LOCAL_ATTRIBUTES if (value := root.get(name)) is not None}
        for name in local:
            del root.attrib[name]
        data = self.cib.serialize()
        for name, value in local.items():
            root.set(name, value)
        return data

    def digest(self) -> str:
        """Of everything that replicas must hold alike."""
        return hashlib.md5(self.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def decode(cls, data: bytes, position: Position) -> ReplicatedState:
        """Raises msgspec.MsgspecError, ValueError, or CibError for what is not a state."""
        row = _decoder.decode(data)
        state = cls(cib=Cib.parse(row.cib), position=position, forked=row.forked)
        for node in row.nodes:
            state.nodes[node.name] = NodeRecord(
                name=node.name,
                id=node.id,
                presence=Presence(node.presence),
                boot_id=node.boot_id,
                incarnation=node.incarnation,
                feature_set=node.feature_set,
                leaving=node.leaving,
            )
        for request, result in row.fences:
            state.fences[request.id] = FenceState(request=request, result=result)
        state.pending = {request.key: request for request in row.pending}
        state.fates = OrderedDict((request, (rc, message)) for request, rc, message in row.fates)
        return state
