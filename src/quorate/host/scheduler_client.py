"""The manager's end of the scheduler worker: one run at a time, each answered once, a run that takes too long ended.

The supervisor starts the worker again when it dies; runs wait for it, within the time limit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from quorate.core import effects, events
from quorate.host import clock, frames
from quorate.host.credentials import peer_of
from quorate.host.sockets import connect
from quorate.host.worker import Hello, Outcome, Work
from quorate.model import protocol

LIMIT_SECONDS = 120.0
_RETRY_SECONDS = 0.05
_PENDING_MAX = 2 * protocol.FRAME_BYTES_MAX

Tell = Callable[[str, str, dict[str, str]], None]


class SchedulerClient:
    """`post` takes `Scheduled`; `tell` (severity, code, fields) is for the log."""

    def __init__(
        self, path: Path, post: Callable[[events.Event], None], tell: Tell, limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        self._path = path
        self._post = post
        self._tell = tell
        self._limit = limit_seconds
        self._loop = asyncio.get_running_loop()
        self._connection: socket.socket | None = None
        self._reader = frames.FrameReader(protocol.FRAME_BYTES_MAX)
        self._writer = frames.FrameWriter(_PENDING_MAX)
        self._process = 0
        self._waiting: deque[Work] = deque()
        self._running: Work | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    def run(self, effect: effects.RunScheduler) -> None:
        """The CIB is serialised before this returns."""
        self._waiting.append(Work(effect.key, clock.wall(), effect.cib.serialize()))
        self._next()

    def close(self) -> None:
        for handle in (self._deadline, self._retry):
            if handle is not None:
                handle.cancel()
        self._drop()

    def _next(self) -> None:
        if self._running is not None or not self._waiting:
            return
        self._running = self._waiting.popleft()
        self._deadline = self._loop.call_later(self._limit, self._too_long)
        self._begin()

    def _begin(self) -> None:
        """Give the work to the worker, once there is one and it has said who it is."""
        self._retry = None
        if self._running is None:
            return
        if self._connection is None and not self._connect():
            self._retry = self._loop.call_later(_RETRY_SECONDS, self._begin)
        elif self._process:
            self._writer.put(msgspec.msgpack.encode(self._running))
            self._flush()

    def _connect(self) -> bool:
        try:
            self._connection = connect(self._path)
        except OSError:
            return False
        if peer_of(self._connection)[1] not in (0, os.geteuid()):
            self._drop()
            return False
        self._reader = frames.FrameReader(protocol.FRAME_BYTES_MAX)
        self._writer = frames.FrameWriter(_PENDING_MAX)
        self._loop.add_reader(self._connection.fileno(), self._readable)
        return True

    def _readable(self) -> None:
        while self._connection is not None:
            data = frames.read_available(self._connection)
            if data is None:
                return
            if not data:
                self._died("its connection ended")
                return
            try:
                for one in self._reader.feed(data):
                    self._hear(one)
            except (frames.FrameTooLong, msgspec.DecodeError) as error:
                self._died(f"it sent what no worker sends: {error}")

    def _hear(self, data: bytes) -> None:
        if self._process:
            self._done(msgspec.msgpack.decode(data, type=Outcome))
        else:
            self._process = msgspec.msgpack.decode(data, type=Hello).process
            self._begin()

    def _flush(self) -> None:
        if self._connection is None:
            return
        descriptor = self._connection.fileno()
        try:
            done = self._writer.flush(descriptor)
        except OSError as error:
            self._died(str(error.strerror))
            return
        if done:
            self._loop.remove_writer(descriptor)
        else:
            self._loop.add_writer(descriptor, self._flush)

    def _done(self, outcome: Outcome) -> None:
        if self._running is None or outcome.key != self._running.key:
            return
        self._end(
            events.Scheduled(
                key=outcome.key,
                graph=outcome.graph,
                error=outcome.error,
                messages=outcome.messages,
                input_name=outcome.input_name,
            )
        )

    def _died(self, cause: str) -> None:
        """In the middle of a run: the input may be what kills it, so the run is an error and is not tried again
        here."""
        given = bool(self._process)
        self._drop()
        if self._running is None:
            return
        if not given:
            self._retry = self._loop.call_later(_RETRY_SECONDS, self._begin)
        else:
            self._tell("error", "scheduler-died", {"cause": cause})
            error = f"the scheduler's process ended: {cause}"
            self._end(events.Scheduled(key=self._running.key, graph=None, error=error))

    def _too_long(self) -> None:
        assert self._running is not None
        if not self._process:
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            self._drop()
            error = f"there has been no scheduler process for {self._limit:g} s"
        else:
            error = f"the run took more than {self._limit:g} s and was ended"
            process = self._process
            self._drop()
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself in this moment
        self._tell("error", "scheduler-died", {"cause": error})
        self._end(events.Scheduled(key=self._running.key, graph=None, error=error))

    def _end(self, answer: events.Scheduled) -> None:
        self._running = None
        if self._deadline is not None:
            self._deadline.cancel()
        self._post(answer)
        self._next()

    def _drop(self) -> None:
        self._process = 0
        if self._connection is not None:
            self._loop.remove_reader(self._connection.fileno())
            self._loop.remove_writer(self._connection.fileno())
            self._connection.close()
            self._connection = None
