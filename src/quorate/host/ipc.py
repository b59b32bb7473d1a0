"""The manager's Unix socket: who may ask, how much, and how slowly they may read.

Allowed are root, the user who runs the manager, and members of the group haclient; anybody else gets one reply that
says so. `user` in a request is believed from root only (the tool server passes it on). Frames as in `model/protocol`.

Bounds: 256 connections, 64 requests unanswered on one (then it is not read from), 64 MiB of a request, 80 MiB of
replies not read, and a client that reads nothing for 30 s is cut.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from quorate.core import events
from quorate.host import clock, frames
from quorate.host.credentials import peer_of
from quorate.host.log import Log
from quorate.host.sockets import listen
from quorate.model import protocol
from quorate.model.ids import SECOND

GROUP = "haclient"
_CONNECTIONS_MAX = 256
_UNANSWERED_MAX = 64
_PENDING_BYTES_MAX = protocol.FRAME_BYTES_MAX + 16 * 1024 * 1024
_STUCK_NS = 30 * SECOND
_SO_PEERGROUPS = 59  # asm-generic/socket.h
_GROUPS_MAX = 1024
_RC_NO_PERMISSION = 4  # Pacemaker's "insufficient privileges"
_RC_BAD_REQUEST = 64


class Client:
    """One connection."""

    def __init__(self, number: int, connection: socket.socket, uid: int) -> None:
        self.number = number
        self.uid = uid
        self.connection = connection
        self.descriptor = connection.fileno()
        self.reader = frames.FrameReader(protocol.FRAME_BYTES_MAX)
        self.writer = frames.FrameWriter(_PENDING_BYTES_MAX)
        self.unanswered = 0
        self.reading = True
        self.stuck_since: int | None = None
        self.last_words = False  # cut once all is written


class IpcServer:
    """`post` takes the events for the manager."""

    def __init__(self, path: Path, post: Callable[[events.Event], None], log: Log) -> None:
        self._path = path
        self._post = post
        self._log = log
        self._clients: dict[int, Client] = {}
        self._next = 1
        self._names: dict[int, str] = {}
        self._group = _group_id(GROUP)
        self._loop = asyncio.get_running_loop()
        self._listener = listen(path, 0o666, backlog=128)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)
        for client in list(self._clients.values()):
            self._flush(client)
            self._cut(client)

    def answer(self, number: int, answer: protocol.Answer) -> None:
        """Send a reply; for a client that has gone, nothing."""
        client = self._clients.get(number)
        if client is None:
            return
        try:
            client.writer.put(protocol.encode(answer))
        except frames.FrameTooLong as error:
            self._log.write("warning", "client-cut", {"cause": str(error), "uid": str(client.uid)})
            self._cut(client)
            return
        if not isinstance(answer, protocol.Changed) and client.unanswered:
            client.unanswered -= 1
        self._flush(client)
        if not client.reading and client.unanswered < _UNANSWERED_MAX and number in self._clients:
            client.reading = True
            self._loop.add_reader(client.descriptor, self._readable, client)

    def cut_stuck(self, now: int) -> None:
        """Now and then: clients that ask and do not read."""
        for client in list(self._clients.values()):
            if client.stuck_since is not None and now - client.stuck_since > _STUCK_NS:
                fields = {"cause": "it does not read its replies", "uid": str(client.uid)}
                self._log.write("warning", "client-cut", fields)
                self._cut(client)

    # ---- connections --------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            _, uid, gid = peer_of(connection)
            client = Client(self._next, connection, uid)
            self._next += 1
            self._clients[client.number] = client
            if not self._is_allowed(connection, uid, gid):
                self._log.write("notice", "client-refused", {"uid": str(uid), "group": GROUP})
                self._refuse(client, _RC_NO_PERMISSION, f"only root and the group {GROUP} may ask this cluster")
            elif len(self._clients) > _CONNECTIONS_MAX:
                self._refuse(client, 11, f"{_CONNECTIONS_MAX} clients are connected; try again later")
            else:
                self._loop.add_reader(client.descriptor, self._readable, client)

    def _is_allowed(self, connection: socket.socket, uid: int, gid: int) -> bool:
        if uid in (0, os.geteuid()):
            return True
        return self._group is not None and (gid == self._group or self._group in _groups_of(connection))

    def _refuse(self, client: Client, rc: int, message: str) -> None:
        """One reply, whatever was asked, then the end."""
        client.last_words = True
        client.writer.put(protocol.encode(protocol.Reply(serial=0, rc=rc, message=message)))
        self._flush(client)

    def _readable(self, client: Client) -> None:
        data = frames.read_available(client.connection)
        if data is None:
            return
        if not data:
            self._cut(client)
            return
        try:
            for one in client.reader.feed(data):
                self._take(client, protocol.decode_request(one))
        except (frames.FrameTooLong, msgspec.DecodeError) as error:
            self._loop.remove_reader(client.descriptor)
            client.reading = False
            self._refuse(client, _RC_BAD_REQUEST, f"this is not a request that this version knows: {error}")
            return
        if client.unanswered >= _UNANSWERED_MAX and client.reading:
            client.reading = False
            self._loop.remove_reader(client.descriptor)

    def _take(self, client: Client, request: protocol.Request) -> None:
        client.unanswered += 1
        trusted = client.uid in (0, os.geteuid())
        user = request.user if request.user and trusted else self._name_of(client.uid)
        self._post(events.Asked(client=client.number, uid=client.uid, user=user, request=request))

    def _flush(self, client: Client) -> None:
        try:
            done = client.writer.flush(client.descriptor)
        except OSError:
            self._cut(client)
            return
        if done:
            if client.stuck_since is not None:
                client.stuck_since = None
                self._loop.remove_writer(client.descriptor)
            if client.last_words:
                frames.read_available(client.connection)  # closing on unread data would look like a broken connection
                self._cut(client)
        else:
            client.stuck_since = clock.now()
            self._loop.add_writer(client.descriptor, self._flush, client)

    def _cut(self, client: Client) -> None:
        if self._clients.pop(client.number, None) is None:
            return
        self._loop.remove_reader(client.descriptor)
        self._loop.remove_writer(client.descriptor)
        client.connection.close()
        self._post(events.ClientGone(client=client.number))

    def _name_of(self, uid: int) -> str:
        name = self._names.get(uid)
        if name is None:
            try:
                name = pwd.getpwuid(uid).pw_name
            except KeyError:
                name = str(uid)
            self._names[uid] = name
        return name


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _groups_of(connection: socket.socket) -> tuple[int, ...]:
    """Supplementary groups of the peer at the time it connected; none where the kernel does not tell."""
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _GROUPS_MAX)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
