"""Unix sockets for the processes of one node."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def listen(path: Path, mode: int = 0o600, backlog: int = 4) -> socket.socket:
    """A non-blocking listener that only the given mode may connect to. One left by a former run is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    former = os.umask(0o777 & ~mode)
    try:
        listener.bind(str(path))
    finally:
        os.umask(former)
    listener.listen(backlog)
    return listener


def connect(path: Path) -> socket.socket:
    """A non-blocking connection. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    connection.setblocking(False)
    return connection
