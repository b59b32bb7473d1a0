"""Packets: what is authentic, what is not, and what a stranger costs."""

from __future__ import annotations

import pytest

from quorate.host.seal import Seal, SealBroken
from quorate.model import wire
from quorate.model.authkey import AuthKey
from quorate.model.ids import SECOND

KEY = AuthKey(epoch=1, secret=bytes(range(32)))
OTHER = AuthKey(epoch=1, secret=bytes(32))
NEXT = AuthKey(epoch=2, secret=b"n" * 32)


def seal(keys: tuple[AuthKey, ...] = (KEY,), cluster: str = "c", node: int = 1, incarnation: int = 7) -> Seal:
    return Seal(keys, cluster, node, incarnation)


def opened(by: Seal, datagram: bytes, now: int = 0) -> bytes:
    return by.open(wire.unpack_header(datagram), datagram, now)


def refusal(by: Seal, datagram: bytes, now: int = 0) -> str:
    with pytest.raises(SealBroken) as caught:
        opened(by, datagram, now)
    return caught.value.code


def test_what_is_sealed_is_opened() -> None:
    assert opened(seal(node=2), seal().seal(3, b"body")) == b"body"


def test_each_packet_has_its_own_sequence_on_its_link() -> None:
    sender = seal()
    headers = [wire.unpack_header(sender.seal(link, b"")) for link in (0, 0, 1)]
    assert [(header.link, header.sequence) for header in headers] == [(0, 1), (0, 2), (1, 1)]


@pytest.mark.parametrize("position", [0, 1, 2, 5, 8, 9, 12, 31, 32, 40, 51])
def test_any_damaged_byte_is_found(position: int) -> None:
    datagram = bytearray(seal().seal(0, b"body"))
    datagram[position] ^= 1
    try:
        header = wire.unpack_header(bytes(datagram))
    except wire.HeaderFault:
        return
    with pytest.raises(SealBroken):
        seal(node=2).open(header, bytes(datagram), 0)


def test_another_key_or_another_cluster_is_refused() -> None:
    assert refusal(seal((OTHER,), node=2), seal().seal(0, b"x")) == "wrong-key"
    assert refusal(seal(cluster="d", node=2), seal().seal(0, b"x")) == "wrong-key"


def test_both_keys_open_while_one_replaces_the_other_and_the_first_seals() -> None:
    changing = seal((NEXT, KEY), node=2)
    assert opened(changing, seal().seal(0, b"old")) == b"old"
    assert opened(changing, seal((NEXT,), node=3).seal(0, b"new")) == b"new"
    assert wire.unpack_header(changing.seal(0, b"")).key_epoch == 2


def test_damage_of_an_admitted_peer_is_garbage_not_a_wrong_key() -> None:
    receiver, datagram = seal(node=2), seal().seal(0, b"x")
    opened(receiver, datagram)
    receiver.admit(wire.unpack_header(datagram))
    assert refusal(receiver, datagram[:-1] + bytes([datagram[-1] ^ 1])) == "garbage"


def test_invented_incarnations_are_dropped_unread_above_a_rate_and_the_admitted_goes_on() -> None:
    receiver, peer = seal(node=2), seal()
    first = peer.seal(0, b"x")
    opened(receiver, first)
    receiver.admit(wire.unpack_header(first))
    codes = {refusal(receiver, seal((OTHER,), incarnation=n).seal(0, b""), now=5 * SECOND) for n in range(100, 400)}
    assert codes == {"wrong-key", ""}
    assert opened(receiver, peer.seal(0, b"y"), now=5 * SECOND) == b"y"
    assert refusal(receiver, seal((OTHER,), incarnation=999).seal(0, b""), now=6 * SECOND) == "wrong-key"
