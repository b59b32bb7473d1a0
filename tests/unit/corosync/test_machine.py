"""The machine alone, step by step: when a view begins, and what becomes of submissions."""

from __future__ import annotations

from quorate.core.corosync import packets
from quorate.core.corosync.interface import (
    Drained,
    Effect,
    Event,
    Found,
    JoinGroup,
    Lost,
    ManagerRequest,
    MembersChanged,
    Multicast,
    Paused,
    QuorumChanged,
    Received,
    Ring,
    Sent,
    TimerFired,
    ToManager,
    TotemChanged,
)
from quorate.core.corosync.machine import CorosyncGroup
from quorate.core.corosync.outgoing import MESSAGE_BYTES, Outgoing
from quorate.model import group
from quorate.model.ids import SECOND, NodeId, ViewId

RING = Ring(8, 1)


class One:
    """Node 1 alone on a Corosync that sends back what it is given."""

    def __init__(self) -> None:
        self.machine = CorosyncGroup(NodeId(1))
        self.now = 0
        self.told: list[group.EngineEvent] = []
        self.sent: list[bytes] = []
        self.takes = True
        self.does(Found())

    def does(self, *events: Event) -> list[Effect]:
        effects: list[Effect] = []
        waiting = list(events)
        while waiting:
            for effect in self.machine.handle(waiting.pop(0), self.now):
                effects.append(effect)
                if isinstance(effect, ToManager):
                    self.told.append(effect.event)
                elif isinstance(effect, Multicast):
                    if self.takes:
                        self.sent.append(effect.data)
                    waiting.append(Sent(accepted=self.takes))
        return effects

    def back(self) -> None:
        """Everything sent comes back."""
        while self.sent:
            self.does(Received(node=1, data=self.sent.pop(0)))
            self.does(Drained())

    def joins(self, *nodes: int) -> None:
        self.does(ManagerRequest(request=group.Join(incarnation=5)))
        self.does(MembersChanged(members=(1,), joined=(1,)), TotemChanged(ring=RING, nodes=nodes or (1,)), Drained())

    def views(self) -> list[group.View]:
        return [event.view for event in self.told if isinstance(event, group.ViewChanged)]

    def lost(self) -> list[tuple[int, str]]:
        return [(event.token, event.cause) for event in self.told if isinstance(event, group.SubmissionLost)]


def quorum(ring: Ring = RING) -> QuorumChanged:
    return QuorumChanged(ring=ring, nodes=(1,), quorate=True)


def test_no_view_before_quorum_has_spoken_of_the_ring() -> None:
    one = One()
    one.joins()
    one.back()
    one.does(quorum(Ring(4, 1)))
    one.back()
    assert one.views() == []
    one.does(quorum())
    one.back()
    assert [view.id for view in one.views()] == [ViewId(8, 1, 0)]
    assert one.views()[0].members == (1,) and one.views()[0].transitional == (1,)


def test_a_view_waits_for_the_standing_of_every_engine() -> None:
    one = One()
    one.joins(1, 2)
    one.does(quorum())
    one.does(MembersChanged(members=(1, 2), joined=(2,)), Drained())
    one.back()
    assert one.views() == []


def test_queued_is_not_delivered() -> None:
    one = One()
    one.joins()
    one.does(quorum())
    one.back()
    one.does(ManagerRequest(request=group.Submit(token=1, payload=b"x")))
    assert one.sent and not any(isinstance(event, group.Delivered) for event in one.told)
    one.back()
    assert [event.token for event in one.told if isinstance(event, group.Delivered)] == [1]


def test_in_a_new_ring_the_fate_of_what_was_sent_is_unknown_and_the_rest_goes_on() -> None:
    one = One()
    one.joins()
    one.does(quorum())
    one.back()
    one.does(ManagerRequest(request=group.Submit(token=1, payload=b"sent")))
    former = one.sent.pop()
    one.does(TotemChanged(ring=Ring(12, 1), nodes=(1,)))
    one.does(ManagerRequest(request=group.Submit(token=2, payload=b"waits")))
    one.does(Received(node=1, data=former))  # Corosync sent it in the new ring
    one.does(quorum(Ring(12, 1)))
    one.back()
    assert one.lost() == [(1, "view-change")]
    assert [event.payload for event in one.told if isinstance(event, group.Delivered)] == [b"waits"]


def test_in_the_same_ring_it_is_sent_again() -> None:
    one = One()
    one.joins()
    one.does(quorum())
    one.back()
    one.does(ManagerRequest(request=group.Submit(token=1, payload=b"x")))
    former = one.sent.pop()
    one.does(MembersChanged(members=(1, 2), joined=(2,)), Received(node=1, data=former))
    one.does(MembersChanged(members=(1,), left=(2,)), Drained())
    one.back()
    assert one.lost() == [] and one.views()[-1].id.minor == one.views()[-2].id.minor + 1
    assert [event.token for event in one.told if isinstance(event, group.Delivered)] == [1]


def test_try_again_is_tried_again_later_and_longer() -> None:
    one = One()
    one.takes = False
    one.joins()
    waits = []
    for effects in (one.does(quorum()), one.does(TimerFired(name="send")), one.does(TimerFired(name="send"))):
        waits += [effect.at for effect in effects if type(effect).__name__ == "SetTimer" and effect.name == "send"]  # type: ignore[union-attr]
    assert waits == sorted(waits) and len(set(waits)) == 3
    one.takes = True
    one.does(TimerFired(name="send"))
    one.back()
    assert one.views()


def test_corosyncs_death_is_told_and_begins_anew() -> None:
    one = One()
    one.joins()
    one.does(quorum())
    one.back()
    one.does(ManagerRequest(request=group.Submit(token=1, payload=b"x")))
    one.does(Lost(cause="gone"))
    assert one.lost() == [(1, "view-change")] and isinstance(one.told[-1], group.EngineGone)
    one.does(ManagerRequest(request=group.Submit(token=2, payload=b"y")))
    assert one.lost()[-1] == (2, "left")
    assert any(isinstance(effect, JoinGroup) for effect in one.does(Found()))


def test_who_slept_does_not_believe_that_the_others_are_gone() -> None:
    one = One()
    one.joins(1, 2)
    one.does(quorum())
    one.back()
    assert one.views()[-1].nodes == (1, 2)
    one.now = 9 * SECOND
    one.does(Paused(gap_ms=5000), TotemChanged(ring=Ring(12, 1), nodes=(1,)), quorum(Ring(12, 1)))
    one.back()
    assert len(one.views()) == 1
    one.now += 3 * SECOND
    one.does(TimerFired(name="hold"))
    one.back()
    assert one.views()[-1].nodes == (1,)


def test_a_gap_in_the_stream_is_noticed() -> None:
    one = One()
    one.joins()
    one.does(quorum())
    one.back()
    view = one.views()[-1].id
    lost = packets.encode(packets.Data(view, 2, (packets.Piece(2, True, b"second"),)))
    one.does(Received(node=1, data=lost), Drained())
    one.back()
    assert not any(isinstance(event, group.Delivered) for event in one.told)
    assert one.views()[-1].id > view


def test_garbage_is_survived() -> None:
    one = One()
    one.joins()
    one.does(quorum(), Received(node=7, data=b"\xff\x00nonsense"))
    one.back()
    assert one.views()


def test_long_submissions_are_cut_and_small_ones_travel_together() -> None:
    outgoing = Outgoing()
    outgoing.put(1, bytes(3 * MESSAGE_BYTES))
    for token in range(2, 30):
        outgoing.put(token, b"small")
    messages = []
    while outgoing.may_send:
        messages.append(outgoing.next_pieces())
        outgoing.came_back()
    assert all(sum(len(piece.payload) for piece in message) <= MESSAGE_BYTES for message in messages)
    assert (
        sum(len(piece.payload) for message in messages for piece in message if piece.number == 1) == 3 * MESSAGE_BYTES
    )
    assert len(messages) <= 5
    assert outgoing.lose_begun() == list(range(1, 30)) and outgoing.queued_bytes == 0


def test_votequorums_no_is_a_veto_in_the_view() -> None:
    one = One()
    one.joins()
    one.does(quorum())
    one.back()
    assert not one.views()[-1].vetoed
    one.does(QuorumChanged(ring=RING, nodes=(1,), quorate=False))
    one.back()
    assert one.views()[-1].vetoed
    one.does(quorum())
    one.back()
    assert not one.views()[-1].vetoed and len(one.views()) == 3
