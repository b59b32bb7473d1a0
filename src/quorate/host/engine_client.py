"""The manager's end of the engine's socket: connects, connects again, and says when the engine is gone.

The manager asks once to `Join`; this is kept until it asks to `Leave`, and sent again whenever the engine has been
gone or says so itself. While there is no engine each `Submit` is answered by `SubmissionLost`, as the contract of
engines wants: every submission has one end.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from quorate.host import frames
from quorate.host.sockets import connect
from quorate.model import group

_RETRY_SECONDS = 0.05
_FRAME_MAX = group.MESSAGE_BYTES_MAX + 65_536
_PENDING_MAX = 96 * 1024 * 1024


class EngineClient:
    def __init__(self, path: Path, post: Callable[[group.EngineEvent], None]) -> None:
        self._path = path
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._connection: socket.socket | None = None
        self._reader = frames.FrameReader(_FRAME_MAX)
        self._writer = frames.FrameWriter(_PENDING_MAX)
        self._writing = False
        self._flushing = False
        self._join: group.Join | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        self._links_unknown = True
        self._connect()

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def send(self, request: group.EngineRequest) -> None:
        if isinstance(request, group.Join):
            self._join = request
        elif isinstance(request, group.Leave):
            self._join = None
        if self._connection is None:
            if isinstance(request, group.Submit):
                self._post(group.SubmissionLost(token=request.token, cause="left"))
            return
        try:
            self._writer.put(group.encode(request))
        except frames.FrameTooLong as error:
            self._lose(f"it does not read: {error}")
            return
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """What was asked is sent before."""
        self._closed = True
        self._flush()
        if self._retry is not None:
            self._retry.cancel()
        self._drop()

    def _connect(self) -> None:
        self._retry = None
        try:
            self._connection = connect(self._path)
        except OSError:
            self._retry = self._loop.call_later(_RETRY_SECONDS, self._connect)
            return
        self._reader = frames.FrameReader(_FRAME_MAX)
        self._writer = frames.FrameWriter(_PENDING_MAX)
        self._loop.add_reader(self._connection.fileno(), self._readable)
        self._links_unknown = True
        self.send(group.StatusAsked())
        if self._join is not None:
            self.send(self._join)

    def _readable(self) -> None:
        if self._connection is None:
            return
        data = frames.read_available(self._connection)
        if data is None:
            return
        if not data:
            self._lose("its connection ended")
            return
        try:
            for one in self._reader.feed(data):
                self._hear(group.decode_event(one))
        except (frames.FrameTooLong, msgspec.DecodeError) as error:
            self._lose(f"it sent what no engine sends: {error}")

    def _hear(self, event: group.EngineEvent) -> None:
        self._post(event)
        if isinstance(event, group.EngineStatus) and self._links_unknown:
            self._tell_links(event)
        if isinstance(event, group.EngineGone) and self._join is not None:
            self.send(self._join)

    def _tell_links(self, status: group.EngineStatus) -> None:
        """What happened to the links before this manager was there to hear of it."""
        self._links_unknown = False
        for link in status.links:
            cause = "as found" if link.up else "not up yet"
            self._post(group.LinkChanged(peer=link.peer, link=link.link, up=link.up, cause=cause))

    def _flush(self) -> None:
        """Once for all that was asked in this turn of the loop: each write wakes the engine, which goes first."""
        self._flushing = False
        if self._connection is None:
            return
        try:
            done = self._writer.flush(self._connection.fileno())
        except OSError as error:
            self._lose(f"its connection broke: {error.strerror}")
            return
        if done and self._writing:
            self._writing = False
            self._loop.remove_writer(self._connection.fileno())
        elif not done and not self._writing:
            self._writing = True
            self._loop.add_writer(self._connection.fileno(), self._flush)

    def _lose(self, cause: str) -> None:
        self._drop()
        if not self._closed:
            self._retry = self._loop.call_later(_RETRY_SECONDS, self._connect)
            self._post(group.EngineGone(cause=cause))

    def _drop(self) -> None:
        if self._connection is not None:
            self._loop.remove_reader(self._connection.fileno())
            self._loop.remove_writer(self._connection.fileno())
            self._writing = False
            self._connection.close()
            self._connection = None
