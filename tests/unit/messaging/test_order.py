"""The log of one view and the coordinator's numbering."""

from __future__ import annotations

from quorate.core.messaging.order import OrderLog, Sequencer
from quorate.model.wire import KIND_MESSAGES, Block


def block(sender: int, start: int = 1) -> Block:
    return Block(sender, start, KIND_MESSAGES, (b"x",))


def numbered(sequencer: Sequencer) -> list[tuple[int, int]]:
    """(sender, start) in the order of numbers."""
    taken = []
    while (next_block := sequencer.next_block()) is not None:
        taken.append((next_block.sender, next_block.start))
    return taken


def test_log_delivers_without_gaps_and_frees_what_is_stable() -> None:
    log = OrderLog((1, 1))
    for number in (1, 2, 4, 5, 7):
        assert log.add(number, block(1, number))
    assert not log.add(2, block(1, 2)) and not log.add(4, block(1, 4))
    assert (log.received, log.beyond(), log.missing(9)) == (2, [4, 5, 7], ((3, 3), (6, 6), (8, 9)))
    assert [log.next_block().start for _ in range(2)] == [1, 2]  # type: ignore[union-attr]
    assert log.next_block() is None
    log.add(3, block(1, 3))
    assert log.received == 5
    log.free(4)
    assert sorted(log.blocks) == [3, 4, 5, 7], "freed only what is delivered"


def test_log_stops_at_the_cut() -> None:
    log = OrderLog((1, 1))
    for number in (1, 2, 3):
        log.add(number, block(1, number))
    assert log.next_block(2) and log.next_block(2)
    assert log.next_block(2) is None


def test_senders_take_turns_and_bulk_yields() -> None:
    sequencer = Sequencer((1, 2, 3), 256, 64)
    sequencer.submit(1, 1, [block(1, n) for n in (1, 2)], bulk=True)
    sequencer.submit(2, 1, [block(2, n) for n in (1, 2)], bulk=False)
    sequencer.submit(3, 1, [block(3, n) for n in (1, 2)], bulk=False)
    assert numbered(sequencer) == [(2, 1), (3, 1), (2, 2), (3, 2), (1, 1), (1, 2)]


def test_a_stream_is_taken_in_its_order_whatever_arrives_first() -> None:
    sequencer = Sequencer((1, 2), 256, 64)
    sequencer.submit(2, 3, [block(2, 30)], bulk=False)
    sequencer.submit(2, 2, [block(2, 20), block(2, 30)], bulk=False)
    assert numbered(sequencer) == []
    sequencer.submit(2, 1, [block(2, 10)], bulk=False)
    sequencer.submit(2, 1, [block(2, 10)], bulk=False)
    assert numbered(sequencer) == [(2, 10), (2, 20), (2, 30)]


def test_the_window_stops_numbering_until_the_slowest_has_acknowledged() -> None:
    sequencer = Sequencer((1, 2, 3), 4, 64)
    sequencer.submit(1, 1, [block(1, n) for n in range(1, 11)], bulk=False)
    assert len(numbered(sequencer)) == 4
    sequencer.acknowledge(1, 4, 0)
    sequencer.acknowledge(2, 4, 0)
    assert sequencer.stable == 0 and sequencer.behind() == (3,)
    sequencer.acknowledge(3, 2, 0)
    assert sequencer.stable == 2 and len(numbered(sequencer)) == 2
    sequencer.acknowledge(3, 99, 0)
    assert sequencer.stable == 2, "nobody acknowledges what was not numbered"


def test_strangers_submit_nothing_and_early_blocks_are_bounded() -> None:
    sequencer = Sequencer((1, 2), 256, 4)
    sequencer.submit(9, 1, [block(9)], bulk=False)
    sequencer.submit(2, 9, [block(2)], bulk=False)
    sequencer.submit(2, 8, [block(2)], bulk=False)
    assert list(sequencer._streams[2].early) == [8]
