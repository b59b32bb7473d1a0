"""The engine on Corosync, as a pure machine: from closed process groups and quorum's callbacks to `model/group` values.

What Corosync gives: an agreed order of messages and changes within a ring. What it leaves open, and what is decided
here:

* Its membership changes stepwise, each node may see other steps, and the quorum service tells of a ring on a stream of
  its own. So after any change the members *agree*: each freezes its view at the change, waits for the quorum callback
  of the same ring, and multicasts its *standing*. The view begins, for all at the same place of the order, when a
  standing with the same ring, generation and members has come from every member.
* A node that was frozen may have missed messages, though Corosync lets it rejoin. So who came along (`transitional`)
  is proved: same former view, same number and digest of delivered messages. Everybody else is synchronised anew.
* Corosync may deliver in a new ring what was queued in the former. So each message names its view and counts there only.
* A multicast that was accepted is only queued. So a submission ends when it comes back; in the same ring what has not
  come back by the freeze came back to nobody and is sent again; in a new ring its fate is unknown and said to be.

View ids are (ring sequence, ring's representative, generation); within a ring each agreement has the next generation,
and a member tells one standing at most for each. So one id has one content.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

import msgspec

from quorate.core.corosync import packets
from quorate.core.corosync.interface import (
    CancelTimer,
    Drained,
    Effect,
    Event,
    Found,
    JoinGroup,
    LeaveGroup,
    Lost,
    ManagerBack,
    ManagerGone,
    ManagerRequest,
    MembersChanged,
    Multicast,
    Paused,
    QuorumChanged,
    Received,
    Report,
    Ring,
    Sent,
    SetTimer,
    TimerFired,
    ToManager,
    TotemChanged,
)
from quorate.core.corosync.outgoing import Outgoing
from quorate.model import group
from quorate.model.ids import MILLISECOND, NO_VIEW, NodeId, ViewId

ROOM_BYTES = 32 * 1024 * 1024
_BACK_OFF_NS = tuple(int(ms * MILLISECOND) for ms in (0.2, 0.5, 1, 2, 5, 10))
_AGAIN_NS = 500 * MILLISECOND  # an agreement that does not come about is nudged
_CONTROL_MAX = 64


@dataclass(slots=True)
class _Assembly:
    """A long message of which the last piece has not come."""

    number: int
    parts: list[bytes]
    size: int


class CorosyncGroup:
    def __init__(self, node: NodeId, token_ms: int = 1000) -> None:
        self._node = node
        self._hold_ns = 3 * token_ms * MILLISECOND
        self._silent_ns = max(2 * token_ms, 1000) * MILLISECOND
        self._hold_until = 0
        self._now = 0
        self._effects: list[Effect] = []
        self._is_found = False
        self._ring: Ring | None = None
        self._ring_nodes: tuple[int, ...] = ()
        self._quorum_ring: Ring | None = None
        self._quorate = False
        self._incarnation: int | None = None  # of the manager that is in the group
        self._stalled = False
        self._outgoing = Outgoing()
        self._control: list[bytes] = []
        self._calling: bytes | None = None  # a multicast that Corosync has not taken yet
        self._calling_control = False
        self._refusals = 0
        self._waiting_to_send = False
        self._told_room: int | None = None
        self.view: group.View | None = None
        self.counters = dict.fromkeys(
            ("views", "delivered", "sent", "try_again", "dropped_other_view", "agreements_again", "refused"), 0
        )
        self._forget_session()

    def _forget_session(self) -> None:
        self._members: tuple[int, ...] = ()
        self.view = None
        self._frozen = True
        self._dirty = False
        self._announced = -1
        self._highest = -1
        self._standings: dict[int, packets.Standing] = {}
        self._previous = NO_VIEW
        self._delivered = 0
        self._digest = 0
        self._assemblies: dict[int, _Assembly] = {}
        self._excluded: tuple[int, ...] = ()
        self._frozen_since = 0
        self._last_nodes: tuple[int, ...] = ()
        self._outgoing = Outgoing()
        self._control = []
        self._calling = None
        self._ring = None
        self._told_room = None

    @property
    def is_quorate(self) -> bool:
        """Votequorum's opinion of the present ring."""
        return self._quorate

    # ---- events -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: int) -> list[Effect]:
        return self.handle_all((event,), now)

    def handle_all(self, events: Iterable[Event], now: int) -> list[Effect]:
        self._now = now
        for event in events:
            self._dispatch(event, now)
        self._send_next(now)
        effects, self._effects = self._effects, []
        return effects

    def _dispatch(self, event: Event, now: int) -> None:
        match event:
            case Received(node=node, data=data):
                self._on_received(node, data, now)
            case Drained():
                self._announce(now)
            case Sent(accepted=accepted):
                self._on_sent(accepted, now)
            case ManagerRequest(request=request):
                self._on_request(request)
            case MembersChanged():
                self._on_members(event)
            case TotemChanged(ring=ring, nodes=nodes):
                self._on_ring(ring, nodes)
            case QuorumChanged():
                self._on_quorum(event, now)
            case TimerFired(name=name):
                self._on_timer(name, now)
            case Paused(gap_ms=gap_ms):
                self._report("paused", gap_ms=str(gap_ms))
                self._tell(group.Diagnosis(code="paused", peer=None, link=None, fields={"gap_ms": str(gap_ms)}))
                self._hold_until = now + self._hold_ns
            case Found():
                self._is_found = True
                if self._incarnation is not None:
                    self._effects.append(JoinGroup())
            case Lost(cause=cause):
                self._on_lost(cause)
            case ManagerGone(cause=cause):
                self._report("manager-gone", cause=cause)
                self._leave(tell=False)
                self._stalled = True
            case ManagerBack():
                if self._stalled:
                    self._tell(group.EngineGone(cause="the manager stalled and was taken out; join again"))
                self._stalled = False
            case _:
                assert_never(event)

    # ---- the manager --------------------------------------------------------------------------------------------

    def _on_request(self, request: group.EngineRequest) -> None:
        match request:
            case group.Join(incarnation=incarnation):
                if self._incarnation is not None:
                    self._leave(tell=False)
                self._stalled = False
                self._incarnation = incarnation
                if self._is_found:
                    self._effects.append(JoinGroup())
                self._tell_room()
            case group.Leave():
                self._leave(tell=True)
            case group.Submit(token=token, payload=payload):
                self._submit(token, payload)
            case group.StatusAsked():
                pass  # the driver knows the links and answers
            case _:
                assert_never(request)

    def _submit(self, token: int, payload: bytes) -> None:
        if self._incarnation is None:
            self._refuse(token, "left")
        elif len(payload) > group.MESSAGE_BYTES_MAX:
            self._refuse(token, "too-long")
        elif self._outgoing.queued_bytes + len(payload) > 2 * ROOM_BYTES:
            self._refuse(token, "overflow")
        else:
            self._outgoing.put(token, payload)
            self._tell_room()

    def _refuse(self, token: int, cause: str) -> None:
        self.counters["refused"] += 1
        self._tell(group.SubmissionLost(token=token, cause=cause))

    def _leave(self, tell: bool) -> None:
        if self._incarnation is None:
            return
        if tell:
            for token in self._outgoing.lose_all():
                self._tell(group.SubmissionLost(token=token, cause="left"))
        self._incarnation = None
        self._forget_session()
        self._effects.append(CancelTimer(name="again"))
        self._effects.append(LeaveGroup())

    def _on_lost(self, cause: str) -> None:
        """Nothing of what Corosync said holds any more. The manager joins again on hearing it."""
        self._is_found = False
        self._quorum_ring = None
        self._report("corosync-lost", cause=cause)
        self._end_session(cause)

    def _end_session(self, cause: str) -> None:
        if self._incarnation is None:
            return
        for token in self._outgoing.lose_all():
            self._tell(group.SubmissionLost(token=token, cause="view-change"))
        self._leave(tell=False)
        self._tell(group.EngineGone(cause=cause))

    # ---- changes ------------------------------------------------------------------------------------------------

    def _on_members(self, event: MembersChanged) -> None:
        if self._incarnation is None:
            return
        if self._node not in event.members:
            self._end_session("Corosync took this node's engine out of the group")
            return
        self._members = tuple(sorted(event.members))
        self._excluded = tuple(n for n in self._excluded if n not in event.left and n not in event.joined)
        for node in event.left:
            self._standings.pop(node, None)
        self._freeze()

    def _on_ring(self, ring: Ring, nodes: tuple[int, ...]) -> None:
        if self._incarnation is None or ring == self._ring:
            return
        self._ring = ring
        self._excluded = ()
        self._ring_nodes = tuple(sorted(nodes))
        self._standings = {}
        self._announced = self._highest = -1
        self._freeze()

    def _on_quorum(self, event: QuorumChanged, now: int) -> None:
        same = event.ring == self._quorum_ring
        changed = event.quorate != self._quorate
        self._quorum_ring = event.ring
        self._quorate = event.quorate
        if changed:
            self._report("votequorum", quorate=str(event.quorate).lower())
        if same and changed and not self._frozen:
            self._nudge()
        self._announce(now)

    def _freeze(self) -> None:
        """Deliver nothing more in this view, and agree on the next."""
        if not self._frozen or not self._frozen_since:
            self._frozen_since = self._now
        self._frozen = True
        self._dirty = True

    def _announce(self, now: int) -> None:
        """Tell where this node stands, once quorum has spoken of the same ring."""
        ring = self._ring
        if not self._dirty or ring is None or self._quorum_ring != ring or self._node not in self._members:
            return
        if now < self._hold_until and not set(self._last_nodes) <= set(self._ring_nodes):
            self._effects.append(SetTimer(name="hold", at=self._hold_until))
            return  # we slept: it is we who are late, the others are there
        assert self._incarnation is not None
        self._dirty = False
        self._announced = max(self._highest, self._announced + 1)
        standing = packets.Standing(
            format=packets.FORMAT,
            ring_sequence=ring.sequence,
            ring_node=ring.node,
            generation=self._announced,
            members=self._agreeing,
            previous=self._previous,
            delivered=self._delivered,
            digest=self._digest,
            quorate=self._quorate,
            incarnation=self._incarnation,
        )
        self._send_control(standing)
        self._effects.append(SetTimer(name="again", at=now + _AGAIN_NS))

    def _nudge(self, without: tuple[int, ...] = ()) -> None:
        if self._ring is not None:
            self._send_control(packets.Nudge(self._ring.sequence, self._ring.node, without))

    def _on_timer(self, name: str, now: int) -> None:
        if name == "send":
            self._waiting_to_send = False
        elif name == "hold":
            self._announce(now)
        elif name == "again" and self._frozen and self._incarnation is not None:
            # Something was missed, or a member does not answer: once more, in a generation of its own.
            self.counters["agreements_again"] += 1
            silent: tuple[int, ...] = ()
            if now - self._frozen_since > self._silent_ns:
                silent = tuple(member for member in self._members if not self._has_told(member))
            self._nudge(silent)
            self._effects.append(SetTimer(name="again", at=now + _AGAIN_NS))

    def _has_told(self, member: int) -> bool:
        standing = self._standings.get(member)
        return standing is not None and standing.generation >= self._announced

    def _on_nudge(self, node: int, nudge: packets.Nudge) -> None:
        if self._ring != Ring(nudge.ring_sequence, nudge.ring_node) or not self._members:
            return
        self._excluded = tuple(sorted(other for other in nudge.without if other != node))
        self._freeze()
        if self._node in self._excluded:
            self._nudge()  # late, but here

    def _heard(self, node: int) -> None:
        """A member that was done without is there again."""
        if node in self._excluded:
            self._excluded = tuple(other for other in self._excluded if other != node)
            self._freeze()

    @property
    def _agreeing(self) -> tuple[int, ...]:
        return tuple(member for member in self._members if member not in self._excluded)

    def _on_standing(self, node: int, standing: packets.Standing) -> None:
        if self._ring is None or Ring(standing.ring_sequence, standing.ring_node) != self._ring:
            return
        if standing.format != packets.FORMAT:
            self._report("version", peer=str(node), format=str(standing.format))
            return
        self._highest = max(self._highest, standing.generation)
        self._standings[node] = standing
        if standing.generation > self._announced:
            self._freeze()
        elif self._frozen and not self._dirty:
            self._install()

    def _install(self) -> None:
        """If all have told the same, the view begins here."""
        members = self._agreeing
        told = [self._standings.get(member) for member in members]
        complete = [
            each for each in told if each is not None and each.generation == self._announced and each.members == members
        ]
        if len(complete) < len(members) or self._node not in members or self._ring is None:
            return
        mine = self._standings[self._node]
        id = ViewId(self._ring.sequence, self._ring.node, self._announced)
        if id <= self._previous:
            self._end_session(f"Corosync's ring went back from {self._previous} to {id}")
            return
        transitional = tuple(
            NodeId(member)
            for member, each in zip(members, complete, strict=True)
            if member == self._node or _came_along(each, mine)
        )
        if (self._previous.counter, self._previous.coordinator) == (id.counter, id.coordinator):
            self._outgoing.again()
        else:
            for token in self._outgoing.lose_begun():
                self._tell(group.SubmissionLost(token=token, cause="view-change"))
        if not self._calling_control:
            self._calling = None  # of the former view
        self._assemblies = {}
        self._previous = id
        self._delivered = self._digest = 0
        self._frozen = False
        self._frozen_since = 0
        self._last_nodes = self._ring_nodes
        self.counters["views"] += 1
        self.view = group.View(
            id=id,
            nodes=tuple(NodeId(node) for node in self._ring_nodes),
            members=tuple(NodeId(node) for node in members),
            transitional=transitional,
        )
        self._effects.append(CancelTimer(name="again"))
        self._report("view", id=str(id), members=" ".join(str(m) for m in members))
        self._tell(group.ViewChanged(view=self.view))
        self._tell_room()

    # ---- messages -----------------------------------------------------------------------------------------------

    def _on_received(self, node: int, data: bytes, now: int) -> None:
        if self._incarnation is None:
            return
        try:
            packet = packets.decode(data)
        except msgspec.DecodeError:
            self._report("garbage", peer=str(node))
            return
        self._heard(node)
        match packet:
            case packets.Data(view=view, pieces=pieces):
                self._on_data(node, view, pieces)
            case packets.Standing():
                self._on_standing(node, packet)
            case packets.Nudge():
                self._on_nudge(node, packet)
            case _:
                assert_never(packet)

    def _on_data(self, node: int, view: ViewId, pieces: tuple[packets.Piece, ...]) -> None:
        if self._frozen or self.view is None or view != self.view.id or node not in self._members:
            self.counters["dropped_other_view"] += 1
            return
        if node == self._node:
            self._outgoing.came_back()
        for piece in pieces:
            payload = self._assembled(node, piece)
            if payload is None:
                continue
            token = self._outgoing.delivered(piece.number) if node == self._node else None
            self._delivered += 1
            self._digest = zlib.crc32(b"%d %d %d" % (node, piece.number, len(payload)), self._digest)
            self.counters["delivered"] += 1
            self._tell(group.Delivered(view=view, sender=NodeId(node), payload=payload, token=token))
        if node == self._node:
            self._tell_room()

    def _assembled(self, node: int, piece: packets.Piece) -> bytes | None:
        """The whole message if this was its last piece."""
        assembly = self._assemblies.get(node)
        if assembly is None or assembly.number != piece.number:
            if piece.is_last:
                self._assemblies.pop(node, None)
                return piece.payload
            assembly = self._assemblies[node] = _Assembly(piece.number, [], 0)
        assembly.parts.append(piece.payload)
        assembly.size += len(piece.payload)
        if assembly.size > group.MESSAGE_BYTES_MAX:
            del self._assemblies[node]
            self._report("garbage", peer=str(node))
            return None
        if not piece.is_last:
            return None
        del self._assemblies[node]
        return b"".join(assembly.parts)

    # ---- sending ------------------------------------------------------------------------------------------------

    def _send_control(self, packet: packets.Packet) -> None:
        if len(self._control) < _CONTROL_MAX:
            self._control.append(packets.encode(packet))

    def _send_next(self, now: int) -> None:
        """One multicast at a time; the answer asks for the next."""
        if self._waiting_to_send or not self._members:
            return
        if self._calling is not None:
            pass  # Corosync did not take it the last time
        elif self._control:
            self._calling = self._control.pop(0)
            self._calling_control = True
        elif not self._frozen and self.view is not None and self._outgoing.may_send:
            self._calling = packets.encode(packets.Data(self.view.id, self._outgoing.next_pieces()))
            self._calling_control = False
        if self._calling is not None:
            self._effects.append(Multicast(data=self._calling))

    def _on_sent(self, accepted: bool, now: int) -> None:
        if self._calling is None:
            return
        if accepted:
            self.counters["sent"] += 1
            self._refusals = 0
            self._calling = None
            return
        self.counters["try_again"] += 1
        self._waiting_to_send = True
        pause = _BACK_OFF_NS[min(self._refusals, len(_BACK_OFF_NS) - 1)]
        self._refusals += 1
        self._effects.append(SetTimer(name="send", at=now + pause))

    def _tell_room(self) -> None:
        if self._incarnation is None:
            return
        room = max(0, ROOM_BYTES - self._outgoing.queued_bytes)
        told = self._told_room
        if told is None or (room == 0) != (told == 0) or abs(room - told) * 4 >= ROOM_BYTES:
            self._told_room = room
            self._tell(group.FlowControl(room_bytes=room))

    # ---- effects ------------------------------------------------------------------------------------------------

    def _tell(self, event: group.EngineEvent) -> None:
        self._effects.append(ToManager(event=event))

    def _report(self, code: str, **fields: str) -> None:
        self._effects.append(Report(code=code, fields=tuple(sorted(fields.items()))))


def _came_along(other: packets.Standing, mine: packets.Standing) -> bool:
    """In the same view before, with the same messages."""
    return (
        mine.previous != NO_VIEW
        and other.previous == mine.previous
        and other.delivered == mine.delivered
        and other.digest == mine.digest
    )
