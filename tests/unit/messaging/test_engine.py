"""One engine, event by event: what does not need a whole cluster to be seen."""

from __future__ import annotations

import pytest

from quorate.core.messaging.configuration import EngineConfiguration
from quorate.core.messaging.effects import Effect, Report, SendPacket, StoreCounter, ToManager
from quorate.core.messaging.engine import HeartbeatEngine
from quorate.core.messaging.events import (
    Event,
    LinkFault,
    LinkTrouble,
    ManagerBack,
    ManagerGone,
    ManagerRequest,
    PacketReceived,
    Started,
    StopRequested,
    TimerFired,
)
from quorate.model import group, wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId, ViewId
from quorate.simulation.group import engine_configuration


class Alone:
    """An engine of a one-node cluster, in its first view after one beat."""

    def __init__(self, nodes: int = 1, **overrides: int) -> None:
        base = engine_configuration(1, nodes, ("lan",), 1000)
        values = {name: getattr(base, name) for name in EngineConfiguration.__dataclass_fields__}
        self.engine = HeartbeatEngine(EngineConfiguration(**{**values, **overrides}))
        self.now = 10 * SECOND
        self.log: list[Effect] = []
        self.give(Started(incarnation=1 << 100 | 77, counter_floor=500))

    def give(self, event: Event, later_ms: int = 0) -> list[Effect]:
        self.now += later_ms * MILLISECOND
        effects = self.engine.handle(event, self.now)
        self.log += effects
        return effects

    def ask(self, request: group.EngineRequest) -> list[group.EngineEvent]:
        return told(self.give(ManagerRequest(request=request)))

    def live(self, seconds: float) -> None:
        for _ in range(int(seconds * 20)):
            self.give(TimerFired(name="beat"), later_ms=50)
            self.give(TimerFired(name="round"))


def told(effects: list[Effect]) -> list[group.EngineEvent]:
    return [effect.event for effect in effects if isinstance(effect, ToManager)]


def test_nothing_happens_before_the_start() -> None:
    engine = HeartbeatEngine(engine_configuration(1, 2, ("lan",), 1000))
    assert engine.handle(TimerFired(name="beat"), 0) == []


def test_a_single_node_cluster_serves_at_once_and_stores_its_counter_first() -> None:
    alone = Alone()
    first = next(effect for effect in alone.log if isinstance(effect, (StoreCounter, Report)) and _is_view(effect))
    assert isinstance(first, StoreCounter) and first.value >= 501
    events = alone.ask(group.Join(incarnation=9))
    view = next(event.view for event in events if isinstance(event, group.ViewChanged))
    assert view == group.View(id=ViewId(501, 1, 1), nodes=(NodeId(1),), members=(NodeId(1),), transitional=(NodeId(1),))
    (delivered,) = alone.ask(group.Submit(token=5, payload=b"hello"))
    assert delivered == group.Delivered(view=view.id, sender=NodeId(1), payload=b"hello", token=5)


def _is_view(effect: StoreCounter | Report) -> bool:
    return isinstance(effect, StoreCounter) or effect.code == "view"


def test_a_large_message_is_put_together_in_one_go() -> None:
    alone = Alone()
    alone.ask(group.Join(incarnation=9))
    payload = bytes(range(256)) * 4000
    (delivered,) = [e for e in alone.ask(group.Submit(token=1, payload=payload)) if isinstance(e, group.Delivered)]
    assert delivered.payload == payload


def test_submissions_without_joining_and_too_long_ones_are_lost() -> None:
    alone = Alone()
    assert alone.ask(group.Submit(token=1, payload=b"")) == [group.SubmissionLost(token=1, cause="left")]
    alone.ask(group.Join(incarnation=9))
    too_long = group.Submit(token=2, payload=bytes(group.MESSAGE_BYTES_MAX + 1))
    assert alone.ask(too_long) == [group.SubmissionLost(token=2, cause="too-long")]


def test_room_shrinks_is_told_and_beyond_twice_the_room_submissions_are_refused() -> None:
    alone = Alone(nodes=2, queue_bytes=10_000)  # no view yet: everything waits
    rooms = [e.room_bytes for e in alone.ask(group.Join(incarnation=9)) if isinstance(e, group.FlowControl)]
    assert rooms == [10_000]
    events = [e for token in range(25) for e in alone.ask(group.Submit(token=token, payload=bytes(1000)))]
    told_rooms = [e.room_bytes for e in events if isinstance(e, group.FlowControl)]
    assert told_rooms[-1] == 0 and sorted(told_rooms, reverse=True) == told_rooms
    lost = [e for e in events if isinstance(e, group.SubmissionLost)]
    assert [(e.token, e.cause) for e in lost] == [(token, "overflow") for token in range(20, 25)]
    alone.live(1.5)
    assert sum(isinstance(e, group.Delivered) for e in told(alone.log)) == 20
    assert [e.room_bytes for e in told(alone.log) if isinstance(e, group.FlowControl)][-1] == 10_000


def test_a_gone_manager_leaves_and_is_told_when_it_is_back() -> None:
    alone = Alone()
    alone.ask(group.Join(incarnation=9))
    assert told(alone.give(ManagerGone(cause="stamp too old"))) == []
    assert alone.ask(group.Submit(token=1, payload=b"x")) == [group.SubmissionLost(token=1, cause="left")]
    (gone,) = told(alone.give(ManagerBack()))
    assert isinstance(gone, group.EngineGone)
    views = [e.view for e in alone.ask(group.Join(incarnation=10)) if isinstance(e, group.ViewChanged)]
    assert [view.id.minor for view in views] == [3]


def test_its_own_pause_is_told_and_reforms_the_view() -> None:
    alone = Alone()
    alone.ask(group.Join(incarnation=9))
    events = told(alone.give(TimerFired(name="beat"), later_ms=1500))
    diagnosis, view = events
    assert diagnosis == group.Diagnosis(code="paused", peer=None, link=None, fields={"gap_ms": "1500"})
    assert isinstance(view, group.ViewChanged) and view.view.id.counter == 502


def test_troubles_below_are_told_once_in_ten_seconds() -> None:
    alone = Alone()
    alone.ask(group.Join(incarnation=9))
    trouble = LinkTrouble(code="wrong-key", peer=None, link="lan", fields=(("from", "10.0.0.9"),))
    assert len(told(alone.give(trouble))) == 1
    assert told(alone.give(trouble)) == []
    assert len(told(alone.give(LinkFault(link="lan", cause="no route to host")))) == 1
    alone.live(11)
    assert len(told(alone.give(trouble))) == 1


def test_packets_of_strangers_and_of_unknown_links_are_void() -> None:
    alone = Alone()
    for peer, link in ((NodeId(7), "lan"), (NodeId(1), "lan"), (NodeId(7), "nowhere")):
        event = PacketReceived(link=link, peer=peer, incarnation=1, packet=wire.GoodBye("x"), size=60)
        assert not [e for e in alone.give(event) if isinstance(e, (SendPacket, ToManager))]


def test_packets_of_another_view_are_void() -> None:
    alone = Alone(nodes=2)
    alone.live(1.5)
    block = wire.Block(2, 1, wire.KIND_MESSAGES, (b"stale",))
    for packet in (
        wire.Ordered((3, 2), 1, 1, 0, (block,)),
        wire.Submitted((3, 1), 1, 0, False, (block,)),
        wire.Ack((3, 1), 9, ((1, 5),)),
        wire.Top((3, 2), 4, 4),
        wire.Fetch((3, 2), ((1, 4),)),
        wire.Filled((3, 2), 1, (block,)),
        wire.Install((3, 2), ((1, 77, 0), (2, 5, 0)), (), ()),
        wire.State((3, 1), 5, (2, 2), 0, (), (), 0, 0),
    ):
        event = PacketReceived(link="lan", peer=NodeId(2), incarnation=5, packet=packet, size=100)
        assert not [e for e in alone.give(event) if isinstance(e, (SendPacket, ToManager))], packet


def test_a_proposal_with_nodes_that_are_not_heard_is_refused() -> None:
    alone = Alone(nodes=2)
    run = (1 << 100 | 77) & wire.RUN_MASK
    packet = wire.Propose((9, 2), ((1, run), (2, 5)))
    effects = alone.give(PacketReceived(link="lan", peer=NodeId(2), incarnation=5, packet=packet, size=100))
    (sent,) = [e.packet for e in effects if isinstance(e, SendPacket)]
    assert isinstance(sent, wire.Refuse) and sent.unheard == (2,)


def test_a_stop_says_good_bye_on_every_link_and_ends_all() -> None:
    alone = Alone(nodes=2)
    sent = [e.packet for e in alone.give(StopRequested(cause="SIGTERM")) if isinstance(e, SendPacket)]
    assert sent == [wire.GoodBye("SIGTERM")] * 3
    assert alone.give(TimerFired(name="beat")) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"token_ms": 100}, "200 to 30000"),
        ({"node": 9}, "not among the configured nodes"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(change: dict[str, int], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Alone(**change)
