"""The engine on Corosync, as a pure machine: from closed process groups and quorum's callbacks to `model/group` values.

What Corosync gives: an agreed order of messages and changes within a ring. What it leaves open, and what is decided
here:

* Its membership changes stepwise, each node may see other steps, and the quorum service tells of a ring on a stream of
  its own. So after any change the engines *agree*: each freezes its view at the change, waits for the quorum callback
  of the same ring, and multicasts its *standing*. The view begins, for all at the same place of the order, when a
  standing told after the same change, with the same ring and members, has come from everyone.
* Every engine is in the group as long as it runs; whether it has a manager is part of its standing. So all know all
  views of a ring, and a view id (ring sequence, ring's representative, number in the ring) never comes again.
* A node that was frozen may have missed messages, though Corosync lets it rejoin. So who came along (`transitional`)
  is proved: same former view, same number and digest of delivered messages. Everybody else is synchronised anew.
* Corosync may deliver in a new ring what was queued in the former. So each message names its view and counts there only.
* A multicast that was accepted is only queued. So a submission ends when it comes back; in the same ring what has not
  come back by the freeze came back to nobody and is sent again; in a new ring its fate is unknown and said to be.
* Corosync keeps an engine in the group that does not run. Who does not answer is done without, by a message in the
  order, until it is heard again.

The beginning of a view depends on nothing but the group's stream, which is the same for all in a ring.
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
    def __init__(self, node: NodeId, token_ms: int = 1000, first_number: int = 0) -> None:
        """`first_number` for the views of a ring of which nobody knows a former one: above those of a former run."""
        self._node = node
        self._first_number = first_number
        self._hold_ns = 3 * token_ms * MILLISECOND
        self._silent_ns = max(2 * token_ms, 1000) * MILLISECOND
        self._now = 0
        self._effects: list[Effect] = []
        self._hold_until = 0
        self._is_found = False
        self._quorum_ring: Ring | None = None
        self._quorate = False
        self._incarnation = 0  # of the manager that asked to join; 0: none
        self._stalled = False
        self._nudges = 0
        self._refusals = 0
        self.counters = dict.fromkeys(
            ("views", "delivered", "sent", "try_again", "dropped_other_view", "agreements_again", "refused"), 0
        )
        self._forget_group()
        self._forget_manager()

    def _forget_group(self) -> None:
        """A new handle begins: nothing of the former stream counts."""
        self._ring: Ring | None = None
        self._ring_nodes: tuple[int, ...] = ()
        self._members: tuple[int, ...] = ()  # engines in the group
        self._excluded: tuple[int, ...] = ()  # of them, those that do not answer
        self._mark = 0
        self._standings: dict[int, packets.Standing] = {}
        self._latest = NO_VIEW
        self._frozen = True
        self._frozen_since = 0
        self._dirty = False
        self._assemblies: dict[int, _Assembly] = {}
        self._serials: dict[int, int] = {}  # of each sender's last message in this view
        self._sent_serial = 0
        self._control: list[bytes] = []
        self._calling: bytes | None = None  # a multicast that Corosync has not taken yet
        self._calling_control = False
        self._waiting_to_send = False
        self._current: group.View | None = None

    def _forget_manager(self) -> None:
        self.view: group.View | None = None  # the manager's
        self._previous = NO_VIEW
        self._delivered = 0
        self._digest = 0
        self._outgoing = Outgoing()
        self._told_room: int | None = None
        if self._calling is not None and not self._calling_control:
            self._calling = None

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
                self._on_received(node, data)
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
                self._forget_group()
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
                self._leave(tell=False)
                self._stalled = False
                self._incarnation = incarnation or 1
                self._tell_room()
                self._nudge()
            case group.Leave():
                self._leave(tell=True)
            case group.Submit(token=token, payload=payload):
                self._submit(token, payload)
            case group.StatusAsked():
                pass  # the driver knows the links and answers
            case _:
                assert_never(request)

    def _submit(self, token: int, payload: bytes) -> None:
        if not self._incarnation:
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

    def _leave(self, tell: bool, cause: str = "left") -> None:
        """The manager is out of the group from the next view on, and hears nothing more."""
        if not self._incarnation:
            return
        if tell:
            for token in self._outgoing.lose_all():
                self._tell(group.SubmissionLost(token=token, cause=cause))
        self._incarnation = 0
        self._forget_manager()
        self._nudge()

    def _on_lost(self, cause: str) -> None:
        """Nothing of what Corosync said holds any more. The manager joins again on hearing it."""
        self._is_found = False
        self._quorum_ring = None
        self._report("corosync-lost", cause=cause)
        self._end_session(cause)

    def _end_session(self, cause: str) -> None:
        self._forget_group()
        self._effects += (CancelTimer(name="again"), LeaveGroup())
        if self._incarnation:
            self._leave(tell=True, cause="view-change")
            self._tell(group.EngineGone(cause=cause))
        if self._is_found:
            self._effects.append(JoinGroup())

    # ---- changes ------------------------------------------------------------------------------------------------

    def _on_members(self, event: MembersChanged) -> None:
        if self._node not in event.members:
            self._end_session("Corosync took this node's engine out of the group")
            return
        self._members = tuple(sorted(event.members))
        changed = {*event.left, *event.joined}
        self._excluded = tuple(node for node in self._excluded if node not in changed)
        for node in event.left:
            self._standings.pop(node, None)
        self._freeze(f"members {self._members} {sorted(event.left)} {sorted(event.joined)}")

    def _on_ring(self, ring: Ring, nodes: tuple[int, ...]) -> None:
        if ring == self._ring:
            return
        is_first = self._ring is None and self._mark != 0  # told after the joining that the others saw alone
        self._ring = ring
        self._ring_nodes = tuple(sorted(nodes))
        self._standings = {}
        self._excluded = ()
        self._freeze("" if is_first else f"ring {ring.sequence} {ring.node}")

    def _on_quorum(self, event: QuorumChanged, now: int) -> None:
        same = event.ring == self._quorum_ring
        if event.quorate != self._quorate:
            if same and not self._dirty:
                self._nudge()
            self._report("votequorum", quorate=str(event.quorate).lower())
        self._quorum_ring = event.ring
        self._quorate = event.quorate
        self._announce(now)

    def _freeze(self, change: str) -> None:
        """Deliver nothing more in this view, and agree on the next. `change` is the same text for all who see it."""
        if change:
            self._mark = zlib.crc32(change.encode()) | 1 << 32
        if not self._frozen or not self._frozen_since:
            self._frozen_since = self._now
        self._frozen = True
        self._dirty = True

    def _announce(self, now: int) -> None:
        """Tell where this node stands, once quorum has spoken of the same ring."""
        ring = self._ring
        if not self._dirty or ring is None or self._quorum_ring != ring or self._node not in self._members:
            return
        former = self._current.nodes if self._current is not None else ()
        if now < self._hold_until and not set(former) <= set(self._ring_nodes):
            self._effects.append(SetTimer(name="hold", at=self._hold_until))
            return  # we slept: it is we who are late, the others are there
        self._dirty = False
        self._send_control(
            packets.Standing(
                format=packets.FORMAT,
                ring_sequence=ring.sequence,
                ring_node=ring.node,
                mark=self._mark,
                members=self._agreeing,
                previous=self._previous,
                delivered=self._delivered,
                digest=self._digest,
                latest=self._latest,
                first_number=self._first_number,
                quorate=self._quorate,
                incarnation=self._incarnation,
            )
        )
        self._effects.append(SetTimer(name="again", at=now + _AGAIN_NS))

    def _nudge(self, without: tuple[int, ...] = ()) -> None:
        if self._ring is not None:
            self._nudges += 1
            self._send_control(packets.Nudge(self._ring.sequence, self._ring.node, self._nudges, without))

    def _on_timer(self, name: str, now: int) -> None:
        if name == "send":
            self._waiting_to_send = False
        elif name == "hold":
            self._announce(now)
        elif name == "again" and self._frozen:
            # Something was missed, or a member does not answer: once more.
            self.counters["agreements_again"] += 1
            silent: tuple[int, ...] = ()
            if now - self._frozen_since > self._silent_ns:
                silent = tuple(member for member in self._members if member not in self._standings)
            self._nudge(silent)
            self._effects.append(SetTimer(name="again", at=now + _AGAIN_NS))

    def _on_nudge(self, node: int, nudge: packets.Nudge) -> None:
        if self._ring != Ring(nudge.ring_sequence, nudge.ring_node) or not self._members:
            return
        self._excluded = tuple(sorted({*nudge.without} & {*self._members} - {node}))
        if not nudge.without:
            self._standings = {}  # who has not told by the next nudge is silent
        self._freeze(f"nudge {node} {nudge.serial}")
        if self._node in self._excluded:
            self._nudge()  # late, but here

    @property
    def _agreeing(self) -> tuple[int, ...]:
        return tuple(member for member in self._members if member not in self._excluded)

    def _on_standing(self, node: int, standing: packets.Standing) -> None:
        if self._ring is None or Ring(standing.ring_sequence, standing.ring_node) != self._ring:
            return
        if standing.format != packets.FORMAT:
            self._report("version", peer=str(node), format=str(standing.format))
            return
        self._standings[node] = standing
        if self._frozen:
            self._install()

    def _install(self) -> None:
        """If all have told the same, the view begins here."""
        agreeing = self._agreeing
        told = [self._standings[member] for member in agreeing if member in self._standings]
        agreed = [each for each in told if each.mark == self._mark and each.members == agreeing]
        if len(agreed) < len(agreeing) or self._ring is None or self._node not in agreeing:
            return
        mine = self._standings[self._node]
        id = self._next_id(self._ring, agreed)
        if id <= self._latest or id <= self._previous:
            self._end_session(f"Corosync's ring went back from {max(self._latest, self._previous)} to {id}")
            return
        standing_of = dict(zip(agreeing, agreed, strict=True))
        members = tuple(member for member in agreeing if standing_of[member].incarnation)
        self._latest = id
        self._frozen = False
        self._frozen_since = 0
        self._assemblies = {}
        self._serials = {}
        self._sent_serial = 0
        self._current = group.View(
            id=id,
            nodes=tuple(NodeId(node) for node in self._ring_nodes),
            members=tuple(NodeId(node) for node in members),
            transitional=tuple(
                NodeId(node) for node in members if node == self._node or _came_along(standing_of[node], mine)
            ),
            vetoed=not all(each.quorate for each in agreed),
        )
        self.counters["views"] += 1
        self._effects.append(CancelTimer(name="again"))
        if mine.incarnation and mine.incarnation == self._incarnation:
            self._begin_view(self._current)

    def _next_id(self, ring: Ring, agreed: list[packets.Standing]) -> ViewId:
        """The numbers of a ring's views go on from the last that anybody knows."""
        known = [
            each.latest.minor
            for each in agreed
            if (each.latest.counter, each.latest.coordinator) == (ring.sequence, ring.node)
        ]
        number = max(known) + 1 if known else max(each.first_number for each in agreed)
        return ViewId(ring.sequence, ring.node, number)

    def _begin_view(self, view: group.View) -> None:
        """For the manager."""
        if (self._previous.counter, self._previous.coordinator) == (view.id.counter, view.id.coordinator):
            self._outgoing.again()
        else:
            for token in self._outgoing.lose_begun():
                self._tell(group.SubmissionLost(token=token, cause="view-change"))
        if not self._calling_control:
            self._calling = None  # of the former view
        self._previous = view.id
        self._delivered = self._digest = 0
        self.view = view
        self._report("view", id=str(view.id), members=" ".join(str(member) for member in view.members))
        self._tell(group.ViewChanged(view=view))
        self._tell_room()

    # ---- messages -----------------------------------------------------------------------------------------------

    def _on_received(self, node: int, data: bytes) -> None:
        try:
            packet = packets.decode(data)
        except msgspec.DecodeError:
            self._report("garbage", peer=str(node))
            return
        if node in self._excluded:  # it is there again
            self._excluded = tuple(other for other in self._excluded if other != node)
            self._freeze(f"heard {node} {zlib.crc32(data)}")
        match packet:
            case packets.Data(view=view, serial=serial, pieces=pieces):
                self._on_data(node, view, serial, pieces)
            case packets.Standing():
                self._on_standing(node, packet)
            case packets.Nudge():
                self._on_nudge(node, packet)
            case _:
                assert_never(packet)

    def _on_data(self, node: int, view: ViewId, serial: int, pieces: tuple[packets.Piece, ...]) -> None:
        if self.view is None:
            return  # nobody here to tell
        if self._frozen or view != self.view.id or node not in self.view.members:
            self.counters["dropped_other_view"] += 1
            return
        if serial != self._serials.get(node, 0) + 1:
            self._report("gap", peer=str(node), serial=str(serial))
            self._freeze("")
            self._nudge()
            return
        self._serials[node] = serial
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
            self._sent_serial += 1
            data = packets.Data(self.view.id, self._sent_serial, self._outgoing.next_pieces())
            self._calling = packets.encode(data)
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
        if not self._incarnation:
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
