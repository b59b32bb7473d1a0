"""What the embedded engine puts on the wire: the clear header, the packets, and their codec.

Decided here: the layout of the 32-byte header (sent in clear, bound to the body as associated data), the packets as
values and their msgpack form. Not decided here: sealing (host), replay and admission (core/messaging/replay.py), and
what a packet does (core/messaging/engine.py).

A datagram is `header (32 bytes) || AEAD(key, nonce, associated data = header, body = encode(packet))`. The key
depends on (cluster name, key file, sender, incarnation, key epoch); the nonce on (link, sequence), so a sequence
number is never used twice on a link in one incarnation. The same sealed bytes may go to several peers.

A *run* is the low 63 bits of an engine's 128-bit incarnation; packets name runs where a whole incarnation would be
waste.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final, Union

import msgspec

MAGIC: Final = 0x51  # "Q"
PROTOCOL_VERSION: Final = 1
PACKET_BYTES_MAX: Final = 8192  # body; control packets of many nodes may exceed an Ethernet frame, IP fragments them
RUN_MASK: Final = (1 << 63) - 1

_HEADER: Final = struct.Struct(">BBHIBB16s6s")
HEADER_BYTES: Final = _HEADER.size
SEAL_BYTES: Final = 16  # the AEAD's tag


class HeaderFault(ValueError):
    """The first bytes are no header of ours; `code` is the Diagnosis code ("garbage" or "version")."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The 32 clear bytes: magic u8, version<<4|type u8, cluster u16, source u32, link u8, key epoch u8, incarnation
    128 bit, sequence u48, big-endian. `type` is 0 for every packet of version 1. `link` is the link's configured
    number."""

    cluster: int
    source: int
    link: int
    key_epoch: int
    incarnation: int
    sequence: int
    version: int = PROTOCOL_VERSION
    type: int = 0

    def pack(self) -> bytes:
        return _HEADER.pack(
            MAGIC,
            self.version << 4 | self.type,
            self.cluster,
            self.source,
            self.link,
            self.key_epoch,
            self.incarnation.to_bytes(16, "big"),
            self.sequence.to_bytes(6, "big"),
        )


def unpack_header(data: bytes) -> Header:
    """Raises HeaderFault. Looks at nothing behind the first 32 bytes."""
    if len(data) < HEADER_BYTES:
        raise HeaderFault("garbage", f"{len(data)} bytes are shorter than a header")
    magic, version_type, cluster, source, link, key_epoch, incarnation, sequence = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise HeaderFault("garbage", f"the first byte is {magic:#04x}, not {MAGIC:#04x}")
    if version_type >> 4 != PROTOCOL_VERSION:
        raise HeaderFault("version", f"protocol version {version_type >> 4}, this node speaks {PROTOCOL_VERSION}")
    return Header(
        version=version_type >> 4,
        type=version_type & 0x0F,
        cluster=cluster,
        source=source,
        link=link,
        key_epoch=key_epoch,
        incarnation=int.from_bytes(incarnation, "big"),
        sequence=int.from_bytes(sequence, "big"),
    )


def cluster_tag(name: str) -> int:
    """16 bits of the cluster's name: tells foreign traffic cheaply. The key derivation binds the whole name."""
    return zlib.crc32(name.encode()) & 0xFFFF


class _Packet(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


ViewKey = tuple[int, int]  # (counter, coordinator) of a view or a round; (0, 0) is none
NO_KEY: Final[ViewKey] = (0, 0)


class Row(_Packet, frozen=True, array_like=True, gc=False):
    """What one node says about itself, handed on by a peer that hears it: whom it hears, and its view."""

    node: int
    view: ViewKey
    hears: tuple[int, ...]


class Beat(_Packet, frozen=True, array_like=True, gc=False, tag=1):
    """The heartbeat, one for each link and interval.

    `number` counts beats on this link (loss is counted from it). `stamp` is the sender's clock in microseconds;
    `echoes` are (peer, stamp last heard from it on this link, microseconds since). `hears` are the peers that are up
    by any link, `hears_here` by this link. `alike` are peers heard whose view and hearing equal the sender's (their
    own node counted in); `rows` are the other peers'. `counter` is the highest view counter seen. In `view`, the
    sender has received the order up to `received`; the coordinator also gives `top` (numbered) and `stable` (received
    by all). `flags`: see FLAG_*.
    """

    number: int
    stamp: int
    view: ViewKey
    counter: int
    flags: int
    hears: tuple[int, ...]
    hears_here: tuple[int, ...]
    alike: tuple[int, ...]
    rows: tuple[Row, ...]
    echoes: tuple[tuple[int, int, int], ...]
    received: int
    top: int
    stable: int


FLAG_STARTING: Final = 1  # this run has no view yet: answer with beats at once
FLAG_REFORM: Final = 2  # the sender asks for a new round although the members may stay (it was paused, or is stuck)
FLAG_NARROW: Final = 4  # the sender reaches some member of its view over slow links only
FLAG_FROZEN: Final = 8  # the sender takes part in a round


class GoodBye(_Packet, frozen=True, array_like=True, gc=False, tag=2):
    """This run ends in order. Packets of the same run that come later are void."""

    cause: str


class Propose(_Packet, frozen=True, array_like=True, gc=False, tag=3):
    """First half of a view change: `members` are (node, run). A member freezes its view and answers with State."""

    round: ViewKey
    members: tuple[tuple[int, int], ...]


class Refuse(_Packet, frozen=True, array_like=True, gc=False, tag=4):
    """The proposal's round is lower than one promised already, whose counter this is; or its list names a wrong run
    or a node that this one does not hear, or lacks one that it will not leave after its own pause (`unheard`)."""

    round: ViewKey
    counter: int
    unheard: tuple[int, ...]


class State(_Packet, frozen=True, array_like=True, gc=False, tag=5):
    """A member's answer: where it stands in its old view, in which it delivers nothing more until the round ends.

    `received`: it holds or has delivered all numbers up to this. `beyond`: (number, sender, sender's run, last
    submission completed by that block or 0) held above the first gap. `marks`: (node, run, highest submission ordered
    up to `received`, view counter of the last change). `manager`: incarnation of the manager joined now (0: none);
    `manager_before`: of the one that was a member of the old view.
    """

    round: ViewKey
    run: int
    view: ViewKey
    received: int
    beyond: tuple[tuple[int, int, int, int], ...]
    marks: tuple[tuple[int, int, int, int], ...]
    manager: int
    manager_before: int


class Section(_Packet, frozen=True, array_like=True, gc=False):
    """Where the members that come from one old view end it. `sources`: (node, received, numbers held beyond)."""

    view: ViewKey
    cut: int
    sources: tuple[tuple[int, int, tuple[int, ...]], ...]
    transitional: tuple[int, ...]


class Install(_Packet, frozen=True, array_like=True, gc=False, tag=6):
    """Second half: deliver the old view up to its section's cut, then begin the view `round`.

    `members` are (node, run, incarnation of its manager or 0)."""

    round: ViewKey
    members: tuple[tuple[int, int, int], ...]
    sections: tuple[Section, ...]
    marks: tuple[tuple[int, int, int, int], ...]


class Block(_Packet, frozen=True, array_like=True, gc=False):
    """The unit of ordering: what one sender put into one packet.

    `kind`: see KIND_*. For KIND_MESSAGES item i is the whole message of submission `start` + i; else there is one
    item, a fragment of submission `start`, or the manager's incarnation in decimal digits.
    """

    sender: int
    start: int
    kind: int
    items: tuple[bytes, ...]


KIND_MESSAGES: Final = 0
KIND_FIRST: Final = 1
KIND_MIDDLE: Final = 2
KIND_LAST: Final = 3
KIND_JOIN: Final = 4
KIND_LEAVE: Final = 5


class Submitted(_Packet, frozen=True, array_like=True, gc=False, tag=7):
    """To the coordinator: blocks number `first` and following of this sender's stream in this view. Acknowledges
    `received`."""

    view: ViewKey
    first: int
    received: int
    bulk: bool
    blocks: tuple[Block, ...]


class Ordered(_Packet, frozen=True, array_like=True, gc=False, tag=8):
    """From the coordinator: blocks with their numbers, `first` and following; all members have what is up to
    `stable`."""

    view: ViewKey
    first: int
    top: int
    stable: int
    blocks: tuple[Block, ...]


class Ack(_Packet, frozen=True, array_like=True, gc=False, tag=9):
    """To the coordinator: received without a gap up to `received`; `missing` are inclusive ranges to send again."""

    view: ViewKey
    received: int
    missing: tuple[tuple[int, int], ...]


class Top(_Packet, frozen=True, array_like=True, gc=False, tag=10):
    """From the coordinator: this is where the order stands; answer with an Ack."""

    view: ViewKey
    top: int
    stable: int


class Fetch(_Packet, frozen=True, array_like=True, gc=False, tag=11):
    """To a source named by an Install: send these inclusive ranges of the old view."""

    view: ViewKey
    ranges: tuple[tuple[int, int], ...]


class Filled(_Packet, frozen=True, array_like=True, gc=False, tag=12):
    """Answer to Fetch: blocks of the old view, numbers `first` and following."""

    view: ViewKey
    first: int
    blocks: tuple[Block, ...]


class Challenge(_Packet, frozen=True, array_like=True, gc=False, tag=13):
    """Below the engine: prove that your incarnation lives, by sealing this nonce under it."""

    nonce: int


class ChallengeAnswer(_Packet, frozen=True, array_like=True, gc=False, tag=14):
    """Below the engine: the answer to the challenge that carried `nonce`."""

    nonce: int


Packet = Union[
    Beat,
    GoodBye,
    Propose,
    Refuse,
    State,
    Install,
    Submitted,
    Ordered,
    Ack,
    Top,
    Fetch,
    Filled,
    Challenge,
    ChallengeAnswer,
]

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Packet] = msgspec.msgpack.Decoder(Packet)


def encode(packet: Packet) -> bytes:
    return _encoder.encode(packet)


def decode(body: bytes) -> Packet:
    """Raises msgspec.ValidationError or msgspec.DecodeError (both are ValueError). Only for authenticated bytes."""
    return _decoder.decode(body)


def sealed_bytes(packet: Packet) -> int:
    """The size of the datagram that carries the packet, without UDP's and IP's own headers."""
    return HEADER_BYTES + SEAL_BYTES + len(_encoder.encode(packet))
