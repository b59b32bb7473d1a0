"""What engines tell each other through Corosync's group, as msgpack.

Everything names the view or the ring it belongs to: Corosync may send in a new ring what was queued in the old one.
"""

from __future__ import annotations

from typing import Union

import msgspec

from quorate.model.ids import ViewId

FORMAT = 1


class Standing(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """Where an engine stands at the end of its last view, told when the group has changed.

    `mark` names the change after which it was told. `previous`, `delivered`, `digest`: the last view that its manager
    was in (none for one that has just joined), how many messages it was delivered there, and a sum over which.
    `latest`: the last view of all that this engine knows. `incarnation`: 0 without a manager."""

    format: int
    ring_sequence: int
    ring_node: int
    mark: int
    members: tuple[int, ...]
    previous: ViewId
    delivered: int
    digest: int
    latest: ViewId
    first_number: int
    quorate: bool
    incarnation: int


class Nudge(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """Something changed at the sender that the group's stream does not show: agree once more, `without` those that do
    not answer (until they are heard again)."""

    ring_sequence: int
    ring_node: int
    serial: int
    without: tuple[int, ...] = ()


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """A submission, or a part of one that is too long for a message. `number` grows by one for each submission of the
    sender's run."""

    number: int
    is_last: bool
    payload: bytes


class Data(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """`serial` counts the sender's messages in the view, from one: no gap goes unnoticed."""

    view: ViewId
    serial: int
    pieces: tuple[Piece, ...]


Packet = Union[Standing, Nudge, Data]

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Packet] = msgspec.msgpack.Decoder(Packet)


def encode(packet: Packet) -> bytes:
    return _encoder.encode(packet)


def decode(data: bytes) -> Packet:
    """Raises msgspec.ValidationError or msgspec.DecodeError."""
    return _decoder.decode(data)
