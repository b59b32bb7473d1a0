"""What the manager asked to send, until its fate is known.

Decided here: cutting into pieces, several small submissions in one message when they wait, how much is under way at
once (so that little is in doubt at a change), what is sent again and what is lost. "Queued by Corosync" proves
nothing: a submission ends when it comes back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from quorate.core.corosync.packets import Piece

MESSAGE_BYTES = 60_000  # Corosync takes up to 64 KiB well; larger ones block it
FLIGHT_BYTES_MAX = 240_000
FLIGHT_MESSAGES_MAX = 32
_PIECE_OVERHEAD = 16


@dataclass(slots=True)
class _Submission:
    number: int
    token: int
    payload: bytes


class Outgoing:
    """FIFO of one manager's session."""

    def __init__(self) -> None:
        self._last_number = 0
        self._waiting: deque[_Submission] = deque()  # the first may be sent in part
        self._offset = 0
        self._sent: deque[_Submission] = deque()
        self._flight: deque[int] = deque()  # sizes of the messages that have not come back
        self._flight_bytes = 0
        self.queued_bytes = 0

    def put(self, token: int, payload: bytes) -> None:
        self._last_number += 1
        self._waiting.append(_Submission(self._last_number, token, payload))
        self.queued_bytes += len(payload)

    @property
    def may_send(self) -> bool:
        return (
            bool(self._waiting)
            and len(self._flight) < FLIGHT_MESSAGES_MAX
            and (not self._flight or self._flight_bytes + MESSAGE_BYTES <= FLIGHT_BYTES_MAX)
        )

    def next_pieces(self) -> tuple[Piece, ...]:
        """The content of the next message. It counts as under way from now on."""
        pieces: list[Piece] = []
        room = MESSAGE_BYTES
        while self._waiting and (room > _PIECE_OVERHEAD or not pieces):
            first = self._waiting[0]
            left = len(first.payload) - self._offset
            if pieces and left + _PIECE_OVERHEAD > room:
                break  # a small one is not cut to fill up a message
            end = self._offset + min(left, room - _PIECE_OVERHEAD)
            is_last = end == len(first.payload)
            pieces.append(Piece(first.number, is_last, first.payload[self._offset : end]))
            room -= end - self._offset + _PIECE_OVERHEAD
            self._offset = end
            if is_last:
                self._sent.append(self._waiting.popleft())
                self._offset = 0
        size = MESSAGE_BYTES - room
        self._flight.append(size)
        self._flight_bytes += size
        return tuple(pieces)

    def came_back(self) -> None:
        """One of this node's messages has been delivered in the view it was sent in."""
        if self._flight:
            self._flight_bytes -= self._flight.popleft()

    def delivered(self, number: int) -> int | None:
        """The token of the submission that has come back whole."""
        if not self._sent or self._sent[0].number != number:
            return None
        done = self._sent.popleft()
        self.queued_bytes -= len(done.payload)
        return done.token

    def again(self) -> None:
        """All that has not come back is to be sent again, from its beginning (same ring: nobody has it)."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self._offset = 0
        self._flight.clear()
        self._flight_bytes = 0

    def lose_begun(self) -> list[int]:
        """Tokens of all that was sent, even in part: somebody may have it. The rest stays."""
        lost = list(self._sent)
        if self._offset:
            lost.append(self._waiting.popleft())
        self.queued_bytes -= sum(len(each.payload) for each in lost)
        self._sent.clear()
        self.again()
        return [each.token for each in lost]

    def lose_all(self) -> list[int]:
        tokens = self.lose_begun() + [each.token for each in self._waiting]
        self._waiting.clear()
        self.queued_bytes = 0
        return tokens
