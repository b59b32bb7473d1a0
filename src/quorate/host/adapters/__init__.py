"""What carries packets: one adapter for each kind of heartbeat link, all of one shape."""

from __future__ import annotations

from typing import Protocol


class LinkError(Exception):
    """A link cannot be opened; one sentence with place and remedy."""


class Link(Protocol):
    """A heartbeat path of this node. Nothing here blocks; losing a packet is allowed."""

    name: str
    number: int
    kind: str
    dropped: int

    def open(self) -> None:
        """Raises LinkError."""

    def close(self) -> None: ...

    def fileno(self) -> int:
        """-1 while closed."""

    @property
    def wants_write(self) -> bool:
        """`flush` should be called when the descriptor is writable."""

    def address_of(self, peer: int) -> str: ...

    def sender_at(self, address: str) -> int | None:
        """Which peer is configured at this address."""

    def receive(self, limit: int) -> list[tuple[bytes, str]]:
        """At most `limit` packets with their sender's address. Raises OSError when the device is gone."""

    def send(self, peers: tuple[int, ...], datagram: bytes, priority: int) -> str | None:
        """The cause if it was refused."""

    def flush(self) -> str | None: ...
