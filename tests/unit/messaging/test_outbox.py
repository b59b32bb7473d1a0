"""Ways to peers, and the pacing of slow links."""

from __future__ import annotations

from quorate.core.membership.links import FailureDetector
from quorate.core.messaging.effects import CancelTimer, Priority, SendPacket, SetTimer
from quorate.core.messaging.outbox import BURST_BYTES, PACED_PACKETS_MAX, Outbox
from quorate.model import wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId
from quorate.simulation.group import engine_configuration

PEER = NodeId(2)


def outbox(*links: str) -> tuple[Outbox, FailureDetector]:
    configuration = engine_configuration(1, 2, links, 1000)
    detector = FailureDetector(configuration)
    return Outbox(configuration, detector), detector


def ack(number: int) -> wire.Ack:
    return wire.Ack((1, 1), number, ())


def test_control_goes_by_all_links_data_by_the_best() -> None:
    subject, _ = outbox("lan", "ring")
    subject.control((PEER,), ack(1))
    subject.data((PEER,), ack(2))
    assert [(e.link, e.packet) for e in subject.take(0) if isinstance(e, SendPacket)] == [
        ("lan", ack(1)),
        ("ring", ack(1)),
        ("lan", ack(2)),
    ]


def test_large_control_spares_the_slow_link_beside_a_quick_one() -> None:
    subject, detector = outbox("lan", "serial0")
    large = wire.GoodBye("x" * 600)
    for at in (0, 1, 2):
        for link in ("lan", "serial0"):
            detector.heard(PEER, link, 1, True, at)
    subject.control((PEER,), large)
    assert [e.link for e in subject.take(0) if isinstance(e, SendPacket)] == ["lan"]
    detector.peers[PEER].links["lan"].up = False
    subject.control((PEER,), large)
    assert {e.link for e in subject.take(0) if isinstance(e, SendPacket)} == {"lan", "serial0"}


def test_a_slow_link_sends_no_faster_than_it_can_and_in_order_of_priority() -> None:
    subject, _ = outbox("serial0")
    for number in range(40):
        subject.data((PEER,), wire.Filled((1, number), 1, (wire.Block(1, 1, 1, (bytes(200),)),)))
    subject.send("serial0", (PEER,), wire.Top((1, 1), 1, 1), Priority.CONTROL)
    now, sent, order = 0, 0, []
    while now < SECOND:
        timers = []
        for effect in subject.take(now):
            if isinstance(effect, SendPacket):
                sent += wire.sealed_bytes(effect.packet)
                order.append(effect.priority)
            elif isinstance(effect, SetTimer):
                timers.append(effect.at)
        if not timers:
            break
        subject.timer_fired("pace:serial0")
        now = timers[-1]
    assert sent <= 11_500 + BURST_BYTES + 300
    assert sum(order.count(p) for p in Priority) == 41 and order[0] is Priority.CONTROL


def test_only_the_newest_beat_waits_and_the_queue_is_bounded() -> None:
    subject, _ = outbox("serial0")
    for number in range(100):
        subject.data((PEER,), wire.Filled((1, number), 1, (wire.Block(1, 1, 1, (bytes(200),)),)))
    assert subject.dropped == 100 - PACED_PACKETS_MAX
    for number in range(5):
        subject.send("serial0", (PEER,), ack(number), Priority.BEAT)
    first = next(e for e in subject.take(0) if isinstance(e, SendPacket))
    assert first.packet == ack(4)


def test_timers_are_set_once() -> None:
    subject, _ = outbox("lan")
    subject.set_timer("beat", MILLISECOND)
    subject.set_timer("beat", MILLISECOND)
    subject.set_timer("beat", 2 * MILLISECOND)
    subject.cancel_timer("beat")
    subject.cancel_timer("beat")
    assert subject.take(0) == [SetTimer("beat", MILLISECOND), SetTimer("beat", 2 * MILLISECOND), CancelTimer("beat")]
