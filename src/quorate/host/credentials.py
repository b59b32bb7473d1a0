"""Who is at the other end of a Unix socket, as the kernel says it."""

from __future__ import annotations

import socket
import struct

_UCRED = struct.Struct("3i")


def peer_of(connection: socket.socket) -> tuple[int, int, int]:
    """(process, user, group) of the process that connected, or listened."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    process, user, group = _UCRED.unpack(raw)
    return process, user, group
