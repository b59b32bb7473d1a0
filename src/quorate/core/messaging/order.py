"""The agreed order of one view: what a member holds of it, and how the coordinator makes it.

Decided here: numbering (one number for each block), what is missing, what is stable, whose turn it is. Not decided
here: when a view begins and ends (core/membership), what delivery means (conversation.py).

Bounds: no number is given beyond stable + `window`; a sender has at most `submit_window` blocks under way, so the
coordinator's queues hold at most members x `submit_window` blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from quorate.model.wire import Block, ViewKey

RANGES_MAX = 16


class OrderLog:
    """Blocks of one view by number. `received`: without a gap up to here. `delivered` <= `received`. Blocks up to
    `stable` are freed."""

    def __init__(self, view: ViewKey) -> None:
        self.view = view
        self.blocks: dict[int, Block] = {}
        self.received = 0
        self.delivered = 0
        self.stable = 0
        self.top = 0  # highest number known to exist

    def add(self, number: int, block: Block) -> bool:
        """Whether the block is new."""
        if number <= self.received or number in self.blocks:
            return False
        self.blocks[number] = block
        self.top = max(self.top, number)
        while self.received + 1 in self.blocks:
            self.received += 1
        return True

    def next_block(self, up_to: int | None = None) -> Block | None:
        """The next block to deliver, counted as delivered by this call."""
        if self.delivered >= self.received or (up_to is not None and self.delivered >= up_to):
            return None
        self.delivered += 1
        return self.blocks[self.delivered]

    def free(self, stable: int) -> None:
        stable = min(stable, self.delivered)
        for number in range(self.stable + 1, stable + 1):
            del self.blocks[number]
        self.stable = max(self.stable, stable)

    def beyond(self) -> list[int]:
        return sorted(number for number in self.blocks if number > self.received)

    def missing(self, up_to: int) -> tuple[tuple[int, int], ...]:
        """The first RANGES_MAX inclusive ranges not held up to this number."""
        ranges: list[tuple[int, int]] = []
        start = self.received + 1
        for number in [*(n for n in self.beyond() if n <= up_to), up_to + 1]:
            if number > start:
                ranges.append((start, number - 1))
                if len(ranges) == RANGES_MAX:
                    break
            start = number + 1
        return tuple(ranges)


class _Stream:
    """What came from one sender in this view: `expected` is the next of its blocks; early ones wait."""

    def __init__(self) -> None:
        self.expected = 1
        self.early: dict[int, tuple[Block, bool]] = {}
        self.queue: deque[tuple[Block, bool]] = deque()


class Sequencer:
    """The coordinator's part: queues of submitted blocks, numbers, acknowledgements."""

    def __init__(self, members: Iterable[int], window: int, submit_window: int) -> None:
        self.acked = {member: 0 for member in sorted(members)}
        self.acked_at = {member: 0 for member in self.acked}
        self._streams = {member: _Stream() for member in self.acked}
        self._turn = deque(self.acked)
        self._window = window
        self._submit_window = submit_window
        self.top = 0
        self.stable = 0

    def submit(self, sender: int, first: int, blocks: Iterable[Block], bulk: bool) -> None:
        stream = self._streams.get(sender)
        if stream is None:
            return
        for index, block in enumerate(blocks, first):
            if stream.expected <= index < stream.expected + 2 * self._submit_window:
                stream.early.setdefault(index, (block, bulk))
        while stream.expected in stream.early:
            stream.queue.append(stream.early.pop(stream.expected))
            stream.expected += 1

    def next_block(self, window: int | None = None) -> Block | None:
        """The block that gets the next number: senders in turn, those with bulk at their head only when no other
        waits. `window` narrows the configured one."""
        if self.top >= self.stable + (window or self._window):
            return None
        sender = self._next_sender()
        if sender is None:
            return None
        block, _ = self._streams[sender].queue.popleft()
        self.top += 1
        return block

    def _next_sender(self) -> int | None:
        for wants_bulk in (False, True):
            for _ in range(len(self._turn)):
                sender = self._turn[0]
                self._turn.rotate(-1)
                queue = self._streams[sender].queue
                if queue and queue[0][1] == wants_bulk:
                    return sender
        return None

    def acknowledge(self, member: int, received: int, now: int) -> None:
        """Raises `stable` when the slowest member has moved."""
        if member not in self.acked or not self.acked[member] < received <= self.top:
            return
        was = self.acked[member]
        self.acked[member] = received
        self.acked_at[member] = now
        if was == self.stable:
            self.stable = min(self.acked.values())

    def behind(self) -> tuple[int, ...]:
        return tuple(member for member, received in self.acked.items() if received < self.top)
