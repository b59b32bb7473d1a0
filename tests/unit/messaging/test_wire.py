"""Header and codec."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.model import wire


@given(
    st.integers(0, 0xFFFF),
    st.integers(1, 2**31 - 1),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**128 - 1),
    st.integers(0, 2**48 - 1),
)
def test_header_survives(cluster: int, source: int, link: int, epoch: int, incarnation: int, sequence: int) -> None:
    header = wire.Header(
        cluster=cluster, source=source, link=link, key_epoch=epoch, incarnation=incarnation, sequence=sequence
    )
    packed = header.pack()
    assert len(packed) == wire.HEADER_BYTES == 32
    assert wire.unpack_header(packed + b"body") == header


@given(st.binary(max_size=64))
def test_garbage_is_a_header_or_a_named_fault(data: bytes) -> None:
    try:
        wire.unpack_header(data)
    except wire.HeaderFault as fault:
        assert fault.code in ("garbage", "version")


def test_another_version_is_named() -> None:
    data = bytearray(wire.Header(cluster=1, source=1, link=0, key_epoch=0, incarnation=1, sequence=1).pack())
    data[1] = 0x20
    with pytest.raises(wire.HeaderFault, match="version 2") as caught:
        wire.unpack_header(bytes(data))
    assert caught.value.code == "version"


PACKETS: tuple[wire.Packet, ...] = (
    wire.Beat(1, 2, (3, 1), 4, 5, (2, 3), (2,), (3,), (wire.Row(4, (1, 1), (2,)),), ((2, 5, 6),), 7, 8, 9),
    wire.GoodBye("asked to"),
    wire.Propose((4, 1), ((1, 2**63 - 1), (2, 5))),
    wire.Refuse((4, 1), 9, (3,)),
    wire.State((4, 1), 7, (3, 1), 12, ((14, 2, 7, 3),), ((2, 7, 3, 3),), 2**63 - 1, 0),
    wire.Install((4, 1), ((1, 7, 1),), (wire.Section((3, 1), 12, ((1, 12, (14,)),), (1,)),), ((2, 7, 3, 3),)),
    wire.Submitted((4, 1), 1, 0, False, (wire.Block(2, 1, wire.KIND_MESSAGES, (b"a", b"")),)),
    wire.Ordered((4, 1), 1, 2, 0, (wire.Block(2, 1, wire.KIND_JOIN, (b"77",)),)),
    wire.Ack((4, 1), 3, ((5, 6),)),
    wire.Top((4, 1), 3, 2),
    wire.Fetch((4, 1), ((1, 2),)),
    wire.Filled((4, 1), 1, ()),
    wire.Challenge(2**63 - 1),
    wire.ChallengeAnswer(0),
)


@pytest.mark.parametrize("packet", PACKETS, ids=lambda packet: type(packet).__name__)
def test_packets_survive(packet: wire.Packet) -> None:
    assert wire.decode(wire.encode(packet)) == packet
    assert wire.sealed_bytes(packet) == len(wire.encode(packet)) + 48


@given(st.binary(max_size=200))
def test_garbage_bodies_are_refused(body: bytes) -> None:
    try:
        wire.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError):
        pass


def test_a_heartbeat_of_eight_nodes_is_small() -> None:
    """Steady state, eight nodes: it must not burden a serial line."""
    others = (2, 3, 4, 5, 6, 7, 8)
    beat = wire.Beat(
        10**6,
        10**12,
        (1005, 1),
        1005,
        0,
        others,
        others,
        others,
        (),
        tuple((n, 10**12, 500) for n in others),
        10**6,
        10**6,
        10**6,
    )
    assert wire.sealed_bytes(beat) < 260
