"""Messages of the log as the engine carries them: in envelopes, cut where they are long, with a token each.

Decided here: how a message is cut and put together again, and which of this node's messages are on their way. Not decided
here: what a message means, what follows from its loss. Bounds: a message of `MESSAGE_PARTS_MAX` parts; for each sender one
message is being put together.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from quorate.core import effects as fx
from quorate.model import entries, group
from quorate.model.entries import Message, Part, Snapshot
from quorate.model.ids import ViewId

PART_BYTES = 48 * 1024  # an engine carries at least 60 KiB at once
MESSAGE_PARTS_MAX = 1_400  # 64 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What one delivery brought. `message`: whole and meant for this view, else None. `void`: this node's own message,
    delivered in a view for which it was not meant. `fault`: why it could not be read."""

    message: Message | None = None
    void: Message | None = None
    fault: str = ""


class Courier:
    def __init__(self) -> None:
        self._next_token = 1
        self._next_number = 1
        self._sent: dict[int, Message] = {}  # token -> message on its way; of a cut one the last part has its token
        self._parts: dict[int, tuple[int, int, list[bytes]]] = {}  # sender -> message's number, count, data so far

    def send(self, view: ViewId, message: Message) -> list[fx.ToEngine]:
        """The submissions that carry the message, in order."""
        payload = entries.encode(view, message)
        bulk = isinstance(message, Snapshot)  # all parts or none: they must keep their order
        if len(payload) <= PART_BYTES:
            return [self._submit(message, payload, bulk)]
        number = self._next_number
        self._next_number += 1
        count = -(-len(payload) // PART_BYTES)
        out = []
        for i in range(count):
            part = Part(message=number, number=i, count=count, data=payload[i * PART_BYTES : (i + 1) * PART_BYTES])
            out.append(self._submit(message if i == count - 1 else part, entries.encode(view, part), bulk))
        return out

    def _submit(self, message: Message, payload: bytes, bulk: bool) -> fx.ToEngine:
        token = self._next_token
        self._next_token += 1
        self._sent[token] = message
        return fx.ToEngine(request=group.Submit(token=token, payload=payload, bulk=bulk))

    def lost(self, token: int) -> Message | None:
        """The message (or part of one) whose submission was lost."""
        return self._sent.pop(token, None)

    def abandon(self) -> list[entries.Entry]:
        """The view is over: forget what is half here, and give back the entries that were on their way."""
        entries_sent = [message for message in self._sent.values() if isinstance(message, entries.ENTRY_TYPES)]
        self._sent = {}
        self._parts = {}
        return entries_sent

    def receive(self, event: group.Delivered, view: ViewId | None) -> Received:
        own = None if event.token is None else self._sent.pop(event.token, None)
        try:
            envelope = entries.decode(event.payload)
        except msgspec.MsgspecError as error:
            return Received(fault=str(error))
        if view is None or envelope.view != view:
            return Received(void=own)
        if not isinstance(envelope.message, Part):
            return Received(message=envelope.message)
        return self._assemble(event.sender, envelope.message)

    def _assemble(self, sender: int, part: Part) -> Received:
        if not 0 < part.count <= MESSAGE_PARTS_MAX:
            return Received(fault=f"a message of {part.count} parts")
        if part.number == 0:
            self._parts[sender] = (part.message, part.count, [])
        current = self._parts.get(sender)
        if current is None or current[0] != part.message or len(current[2]) != part.number:
            return Received()  # the rest of a message whose beginning was in another view
        current[2].append(part.data)
        if len(current[2]) < current[1]:
            return Received()
        del self._parts[sender]
        try:
            message = entries.decode(b"".join(current[2])).message
        except msgspec.MsgspecError as error:
            return Received(fault=str(error))
        return Received(fault="a part within a part") if isinstance(message, Part) else Received(message=message)
