"""The link adapters: real sockets on the loopback, a pty pair for the serial line."""

from __future__ import annotations

import os
import pty
import select
import socket
from collections.abc import Iterator

import pytest

from quorate.host.adapters import LinkError
from quorate.host.adapters.serial import SerialLink
from quorate.host.adapters.udp import UdpLink

ADDRESSES = {1: "127.0.0.1", 2: "127.0.0.2", 3: "127.0.0.3"}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(link: UdpLink | SerialLink) -> None:
    assert select.select([link.fileno()], [], [], 5)[0]


@pytest.fixture
def nodes() -> Iterator[list[UdpLink]]:
    port = free_port()
    links = [UdpLink("lan", 0, port, node, ADDRESSES) for node in ADDRESSES]
    for link in links:
        link.open()
    yield links
    for link in links:
        link.close()


def test_one_datagram_goes_to_each_peer_and_tells_its_source(nodes: list[UdpLink]) -> None:
    one, two, three = nodes
    assert one.send((2, 3), b"hello", 0) is None
    for link in (two, three):
        wait_for(link)
        (received,) = link.receive(10)
        assert received == (b"hello", "127.0.0.1")
        assert link.sender_at(received[1]) == 1
    assert one.receive(10) == []


def test_a_port_in_use_is_told_with_place_and_remedy(nodes: list[UdpLink]) -> None:
    again = UdpLink("lan", 0, int(nodes[0].address_of(2).rpartition(":")[2]), 1, ADDRESSES)
    with pytest.raises(LinkError, match=r"link lan: 127.0.0.1 port \d+ is in use.*choose another port"):
        again.open()


def test_an_address_that_is_not_local_is_told() -> None:
    link = UdpLink("lan", 0, free_port(), 1, {1: "192.0.2.1", 2: "192.0.2.2"})
    with pytest.raises(LinkError, match=r"192.0.2.1.*no interface.*correct `addresses`"):
        link.open()


def test_sending_that_the_system_refuses_is_a_cause_not_an_error(nodes: list[UdpLink]) -> None:
    nodes[0]._peers[2] = ("255.255.255.255", 9)  # broadcast without permission
    assert "sending to 255.255.255.255:9 failed" in (nodes[0].send((2,), b"x", 0) or "")


@pytest.fixture
def line() -> Iterator[tuple[SerialLink, int]]:
    """A serial link and the other end of its line."""
    far, near = pty.openpty()
    os.set_blocking(far, False)
    link = SerialLink("cable", 1, os.ttyname(near), 2, 115_200)
    link.open()
    os.close(near)
    yield link, far
    link.close()
    os.close(far)


def test_frames_cross_a_line_in_both_directions(line: tuple[SerialLink, int]) -> None:
    link, far = line
    assert link.send((2,), b"\0ping\xff", 0) is None
    assert select.select([far], [], [], 5)[0]
    echoed = os.read(far, 4096)
    os.write(far, echoed)
    wait_for(link)
    assert [payload for payload, _ in link.receive(10)] == [b"\0ping\xff"]


def test_the_urgent_goes_first_and_the_least_urgent_is_dropped_at_the_bound(line: tuple[SerialLink, int]) -> None:
    link, far = line
    link._ahead = -1  # the kernel takes nothing
    for number in range(200):
        link.send((2,), b"bulk%03d" % number + b"x" * 200, 3)
    link.send((2,), b"beat", 0)
    assert link.dropped > 0 and link.wants_write
    link._ahead = 1 << 20
    link.flush()
    data = os.read(far, 300)
    assert b"beat" in data[:40]


def test_a_device_that_goes_is_a_cause_and_a_closed_one_too(line: tuple[SerialLink, int]) -> None:
    link, _ = line
    with pytest.raises(LinkError, match="does not exist.*correct `devices`"):
        SerialLink("cable", 1, "/dev/quorate-no-such", 2, 9600).open()
    with pytest.raises(LinkError, match="not a serial line"):
        SerialLink("cable", 1, "/dev/null", 2, 9600).open()
    link.close()
    assert link.fileno() == -1
    assert "is closed" in (link.send((2,), b"x", 0) or "")


def test_a_hung_up_line_raises_for_the_engine_to_close_it() -> None:
    far, near = pty.openpty()
    link = SerialLink("cable", 1, os.ttyname(near), 2, 115_200)
    link.open()
    os.close(near)
    os.close(far)
    with pytest.raises(OSError):
        link.receive(10)
    link.close()
