"""Heartbeat link over UDP unicast: one socket, bound to this node's own address and port.

An address that goes away later is not an error of the socket: sending fails until it is back, receiving is silence. So
the socket is kept, and every failed sending is told as a fault of the link.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

from quorate.host.adapters import LinkError

_RECEIVE_BUFFER = 4 * 1024 * 1024
_SEND_BUFFER = 2 * 1024 * 1024
_DATAGRAM_MAX = 65_535
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32  # asm-generic/socket.h; the socket module does not name them
_TOS_NETWORK_CONTROL = 0xC0  # DSCP CS6: routing and other control traffic


class UdpLink:
    """`addresses` of all nodes by id, this node's own included."""

    kind = "udp"

    def __init__(self, name: str, number: int, port: int, node: int, addresses: Mapping[int, str]) -> None:
        self.name = name
        self.number = number
        self._node = node
        self._port = port
        self._own = addresses[node]
        self._peers = {peer: (address, port) for peer, address in addresses.items() if peer != node}
        self._senders = {address: peer for peer, (address, _) in self._peers.items()}
        self._socket: socket.socket | None = None
        self.dropped = 0  # the system's buffer was full

    def open(self) -> None:
        """Raises LinkError with a sentence for people."""
        family = socket.AF_INET6 if ":" in self._own else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.bind((self._own, self._port))
        except OSError as error:
            made.close()
            raise LinkError(self._explain(error)) from None
        _enlarge(made, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        _enlarge(made, _SO_SNDBUFFORCE, socket.SO_SNDBUF, _SEND_BUFFER)
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _TOS_NETWORK_CONTROL)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _TOS_NETWORK_CONTROL)
        self._socket = made

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        return False

    def address_of(self, peer: int) -> str:
        address, port = self._peers[peer]
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    def sender_at(self, address: str) -> int | None:
        return self._senders.get(address)

    def receive(self, limit: int) -> list[tuple[bytes, str]]:
        """At most `limit` datagrams with their sender's address."""
        received: list[tuple[bytes, str]] = []
        if self._socket is None:
            return received
        for _ in range(limit):
            try:
                data, source = self._socket.recvfrom(_DATAGRAM_MAX)
            except BlockingIOError:
                break
            except OSError:
                continue  # an ICMP error of an earlier datagram; sending tells it
            received.append((data, source[0]))
        return received

    def send(self, peers: tuple[int, ...], datagram: bytes, priority: int) -> str | None:
        """The cause when the system refused it for some peer; a full buffer only counts as loss."""
        if self._socket is None:
            return "the socket is closed"
        cause = None
        for peer in peers:
            try:
                self._socket.sendto(datagram, self._peers[peer])
            except BlockingIOError:
                self.dropped += 1
            except OSError as error:
                cause = f"sending to {self.address_of(peer)} failed: {error.strerror}"
        return cause

    def flush(self) -> str | None:
        return None

    def _explain(self, error: OSError) -> str:
        place = f"link {self.name}: {self._own} port {self._port}"
        if error.errno == errno.EADDRINUSE:
            return f"{place} is in use by another program (see `ss -ulpn`); stop it or choose another port for the link"
        if error.errno == errno.EADDRNOTAVAIL:
            return f"{place}: this address is on no interface of this machine (see `ip address`); correct `addresses`"
        if error.errno == errno.EACCES:
            return f"{place} may not be used by this user; choose a port above 1023 or run as root"
        return f"{place} cannot be opened: {error.strerror}"


def _enlarge(made: socket.socket, forced: int, plain: int, size: int) -> None:
    """Past the system's limit where this process may."""
    try:
        made.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, plain, size)
