"""What the manager asked to send, until its fate is known.

Decided here: numbering of submissions, cutting into blocks, when to wait for company (few packets under way: send at
once; else fill blocks), what is resent, what is lost at a view change. A submission leaves the queue when this node
delivers it or when its fate is unknown. Numbers grow over the life of the engine's run; fragments start anew in each
view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from quorate.model import wire

ITEM_OVERHEAD_BYTES = 5


@dataclass(slots=True)
class _Submission:
    number: int
    token: int | None  # None: its manager is gone
    payload: bytes
    bulk: bool


class SubmissionQueue:
    """FIFO of one node. In a view: `outstanding` are (stream number, block, bulk) sent but not yet seen in the
    order."""

    def __init__(self, node: int) -> None:
        self._node = node
        self._last_number = 0
        self._waiting: deque[_Submission] = deque()  # not, or only in part, put into blocks
        self._offset = 0  # bytes of the first waiting submission that are in blocks
        self._sent: deque[_Submission] = deque()  # wholly in blocks, not yet delivered
        self._controls: deque[tuple[int, int]] = deque()  # (kind, manager's incarnation), before all else
        self.outstanding: deque[tuple[int, wire.Block, bool]] = deque()
        self._stream = 0
        self.queued_bytes = 0

    # ---- the manager's side -------------------------------------------------------------------------------------

    def add(self, token: int, payload: bytes, bulk: bool) -> None:
        self._last_number += 1
        self._waiting.append(_Submission(self._last_number, token, payload, bulk))
        self.queued_bytes += len(payload)

    def control(self, kind: int, incarnation: int) -> None:
        """The manager's joining or leaving. What waits stays behind it, but a submission that is half sent is cut
        off."""
        self._controls.append((kind, incarnation))

    def forget_manager(self) -> list[int]:
        """Its tokens in order; what is not yet in blocks is dropped, what is under way will be delivered without a
        token."""
        tokens = [s.token for s in (*self._sent, *self._waiting) if s.token is not None]
        for submission in self._sent:
            submission.token = None
        for submission in self._waiting:
            self.queued_bytes -= len(submission.payload)
        self._waiting.clear()
        self._offset = 0
        return tokens

    # ---- the order's side ---------------------------------------------------------------------------------------

    def begin_view(self, mark: int) -> list[int]:
        """Everything not delivered starts anew, except what the merged mark says somebody may have delivered: those
        tokens are returned as lost."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self.outstanding.clear()
        self._controls.clear()
        self._stream = 0
        self._offset = 0
        lost = []
        kept: deque[_Submission] = deque()
        for submission in self._waiting:
            if submission.number <= mark or submission.token is None:
                self.queued_bytes -= len(submission.payload)
                if submission.token is not None:
                    lost.append(submission.token)
            else:
                kept.append(submission)
        self._waiting = kept
        return lost

    def next_block(self, fragment_bytes: int, must_be_full: bool) -> tuple[int, wire.Block, bool] | None:
        """Forms and counts as outstanding the next block, if there is one (and it is full, when it must be)."""
        if self._controls:
            kind, incarnation = self._controls.popleft()
            return self._put(wire.Block(self._node, 0, kind, (str(incarnation).encode(),)), False)
        if not self._waiting:
            return None
        first = self._waiting[0]
        if self._offset or len(first.payload) > fragment_bytes:
            return self._fragment(first, fragment_bytes)
        return self._batch(fragment_bytes, must_be_full)

    def _fragment(self, submission: _Submission, fragment_bytes: int) -> tuple[int, wire.Block, bool]:
        end = self._offset + fragment_bytes
        part = submission.payload[self._offset : end]
        if end >= len(submission.payload):
            kind = wire.KIND_LAST
            self._sent.append(self._waiting.popleft())
            offset, self._offset = self._offset, 0
        else:
            kind = wire.KIND_MIDDLE if self._offset else wire.KIND_FIRST
            offset, self._offset = self._offset, end
        assert offset or kind != wire.KIND_LAST, "a message of one part is a batch"
        return self._put(wire.Block(self._node, submission.number, kind, (part,)), submission.bulk)

    def _batch(self, fragment_bytes: int, must_be_full: bool) -> tuple[int, wire.Block, bool] | None:
        first = self._waiting[0]
        size = count = 0
        full = False
        for submission in self._waiting:
            grown = size + len(submission.payload) + ITEM_OVERHEAD_BYTES
            if count and (grown > fragment_bytes or submission.bulk != first.bulk):
                full = True
                break
            size = grown
            count += 1
        if must_be_full and not full:
            return None
        taken = [self._waiting.popleft() for _ in range(count)]
        self._sent.extend(taken)
        items = tuple(submission.payload for submission in taken)
        return self._put(wire.Block(self._node, first.number, wire.KIND_MESSAGES, items), first.bulk)

    def _put(self, block: wire.Block, bulk: bool) -> tuple[int, wire.Block, bool]:
        self._stream += 1
        entry = (self._stream, block, bulk)
        self.outstanding.append(entry)
        return entry

    def seen(self) -> None:
        """The order holds our next block."""
        self.outstanding.popleft()

    def delivered(self, number: int) -> int | None:
        """This node delivers its own submission: the token, or None if its manager is gone."""
        submission = self._sent.popleft()
        assert submission.number == number, f"delivered submission {number}, expected {submission.number}"
        self.queued_bytes -= len(submission.payload)
        return submission.token

    def pending(self) -> Iterator[int]:
        return (s.token for s in (*self._sent, *self._waiting) if s.token is not None)

    @property
    def is_idle(self) -> bool:
        return not self.outstanding and not self._waiting and not self._controls
