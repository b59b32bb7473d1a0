"""The queue of what the manager asked to send."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.core.messaging.submissions import SubmissionQueue
from quorate.model import wire

FRAGMENT = 100


def blocks(queue: SubmissionQueue, must_be_full: bool = False) -> list[wire.Block]:
    taken = []
    while (entry := queue.next_block(FRAGMENT, must_be_full)) is not None:
        taken.append(entry[1])
    return taken


def deliver(queue: SubmissionQueue, each: wire.Block) -> list[int | None]:
    queue.seen()
    if each.kind == wire.KIND_MESSAGES:
        return [queue.delivered(each.start + i) for i in range(len(each.items))]
    return [queue.delivered(each.start)] if each.kind == wire.KIND_LAST else []


def test_small_ones_share_a_block_large_ones_are_cut() -> None:
    queue = SubmissionQueue(1)
    for token, size in ((1, 30), (2, 40), (3, 60), (4, 250), (5, 10)):
        queue.add(token, bytes([token]) * size, False)
    formed = blocks(queue)
    assert [(b.start, b.kind, len(b.items)) for b in formed] == [
        (1, wire.KIND_MESSAGES, 2),
        (3, wire.KIND_MESSAGES, 1),
        (4, wire.KIND_FIRST, 1),
        (4, wire.KIND_MIDDLE, 1),
        (4, wire.KIND_LAST, 1),
        (5, wire.KIND_MESSAGES, 1),
    ]
    assert [token for b in formed for token in deliver(queue, b)] == [1, 2, 3, 4, 5]
    assert queue.queued_bytes == 0 and queue.is_idle


def test_half_empty_blocks_wait_when_much_is_under_way() -> None:
    queue = SubmissionQueue(1)
    queue.add(1, bytes(60), False)
    assert queue.next_block(FRAGMENT, True) is None
    queue.add(2, bytes(60), False)
    assert [b.start for b in blocks(queue, must_be_full=True)] == [1]


def test_a_new_view_starts_anew_above_the_mark_and_reports_the_rest() -> None:
    queue = SubmissionQueue(1)
    for token in (11, 12, 13, 14):
        queue.add(token, bytes(90), False)
    formed = blocks(queue)
    assert deliver(queue, formed[0]) == [11]
    assert queue.begin_view(mark=2) == [12]
    assert [b.start for b in blocks(queue)] == [3, 4]
    assert [entry[0] for entry in queue.outstanding] == [1, 2], "a stream of its own in each view"


def test_a_half_sent_message_starts_with_its_first_fragment_again() -> None:
    queue = SubmissionQueue(1)
    queue.add(1, bytes(250), False)
    queue.next_block(FRAGMENT, False)
    queue.begin_view(mark=0)
    assert [b.kind for b in blocks(queue)] == [wire.KIND_FIRST, wire.KIND_MIDDLE, wire.KIND_LAST]


def test_when_the_manager_goes_nothing_new_is_sent_for_it() -> None:
    queue = SubmissionQueue(1)
    for token in (1, 2):
        queue.add(token, bytes(250), False)
    sent = [queue.next_block(FRAGMENT, False) for _ in range(4)]
    assert queue.forget_manager() == [1, 2]
    queue.control(wire.KIND_LEAVE, 77)
    rest = blocks(queue)
    assert [(b.kind, b.items) for b in rest] == [(wire.KIND_LEAVE, (b"77",))]
    assert [token for entry in sent if entry for token in deliver(queue, entry[1])] == [None]
    assert queue.queued_bytes == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 450), st.booleans()), max_size=30), st.lists(st.integers(0, 3), max_size=60))
def test_every_submission_is_put_together_again(sizes: list[tuple[int, bool]], interruptions: list[int]) -> None:
    """However views interrupt: each submission is delivered whole, once, in order."""
    queue = SubmissionQueue(1)
    payloads = {}
    for token, (size, bulk) in enumerate(sizes, 1):
        payloads[token] = bytes([token % 251]) * size
        queue.add(token, payloads[token], bulk)
    got: list[tuple[int | None, bytes]] = []
    parts: list[bytes] = []
    last = 0
    interrupts = iter(interruptions)
    while (entry := queue.next_block(FRAGMENT, False)) is not None:
        if next(interrupts, 3) == 0:
            assert queue.begin_view(last) == []
            parts.clear()
            continue
        queue.seen()
        block = entry[1]
        if block.kind == wire.KIND_MESSAGES:
            for number, item in enumerate(block.items, block.start):
                got.append((queue.delivered(number), item))
                last = number
        else:
            parts.append(block.items[0])
            if block.kind == wire.KIND_LAST:
                got.append((queue.delivered(block.start), b"".join(parts)))
                last = block.start
                parts.clear()
    assert got == list(payloads.items())
