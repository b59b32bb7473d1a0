"""The engine process on Corosync: handles, timers and the manager's socket around `core/corosync`'s CorosyncGroup.

The manager sees no difference: the same socket, the same values as with the embedded engine. This process is light, so
it drains Corosync always (a client that does not makes Corosync grow without bound); what the manager does not read
stays here, up to a bound, then the manager counts as gone.

Corosync itself is another program (see `corosync_process`). While it is not there this process waits for it; when it
dies all handles are made anew, and the manager is told at once that it has no engine.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys

from quorate.core.corosync import interface
from quorate.core.corosync.machine import CorosyncGroup
from quorate.host import clock, frames, places, realtime
from quorate.host.adapters.corosync import (
    EXIST,
    TRY_AGAIN,
    CorosyncAbsent,
    CorosyncError,
    GroupHandle,
    QuorumHandle,
    load,
)
from quorate.host.adapters.corosync_links import LinkWatch
from quorate.host.credentials import peer_of
from quorate.host.engine import EXIT_CONFIGURATION, ManagerConnection
from quorate.host.log import Log
from quorate.host.sockets import listen
from quorate.host.stamp import StampReader
from quorate.host.timers import Timers
from quorate.model import group, settings
from quorate.model.ids import MILLISECOND, SECOND, NodeId

GROUP_PREFIX = "quorate/"

_DISPATCH_MAX = 256
_MANAGER_READS_PER_TURN = 2
_STAMP_CHECK_NS = 500 * MILLISECOND
_FIND_NS = 50 * MILLISECOND
_LINKS_NS = SECOND
_TURNS_MAX = 10_000  # multicasts in one turn
_FIRST_WAIT_NS = 15 * SECOND  # then it is said that Corosync does not answer
_TOLD_BY_MANAGER = frozenset({"view", "paused"})


class CorosyncEngine:
    """One node's engine; `turn` does what is due and waits for at most the next timer."""

    def __init__(
        self, chosen: settings.Settings, listener: socket.socket, stamp: StampReader, log: Log, first_number: int = 0
    ) -> None:
        self._settings = chosen
        self._log = log
        self._machine = CorosyncGroup(NodeId(chosen.node_id), chosen.token_ms, first_number)
        self._timers = Timers()
        self._events: list[interface.Event] = []
        self._poll = select.epoll()
        self._listener = listener
        self._poll.register(listener.fileno(), select.EPOLLIN)
        self._manager: ManagerConnection | None = None
        self._group: GroupHandle | None = None
        self._group_descriptor = -1
        self._quorum: QuorumHandle | None = None
        self._quorum_descriptor = -1
        self._wants_group = False
        self._links = LinkWatch(chosen)
        self._signals: socket.socket | None = None
        self._stamp = stamp
        self._stall_ns = chosen.manager_stall_ms * MILLISECOND
        self._token_ns = chosen.token_ms * MILLISECOND
        self._stalled = False
        now = clock.now()
        self._awake_since = self._turn_ended = now
        self._stamp_check_at = now
        self._find_at = now
        self._join_at = 0
        self._links_at = now
        self._waited_for = 0
        self._missing_since = now
        self._missing_told = False

    def watch_signals(self, wakeups: socket.socket) -> None:
        self._signals = wakeups
        self._poll.register(wakeups.fileno(), select.EPOLLIN)

    def turn(self) -> None:
        ready = self._poll.poll(self._timeout())
        now = clock.now()
        self._notice_pause(now)
        descriptors = [descriptor for descriptor, _ in ready]
        if self._quorum is not None and self._quorum_descriptor in descriptors:
            self._hear_quorum()
        if self._group is not None and self._group_descriptor in descriptors:
            self._hear_group()
        for descriptor in descriptors:
            if descriptor == self._listener.fileno():
                self._accept(now)
            elif self._manager is not None and descriptor == self._manager.descriptor:
                self._hear_manager()
            elif self._signals is not None and descriptor == self._signals.fileno():
                frames.read_available(self._signals)
        self._advance()
        self._fire(clock.now())
        self._settle()
        self._turn_ended = clock.now()

    def close(self) -> None:
        """The others hear at once that the manager has left."""
        self._close_group(leave=True)
        if self._quorum is not None:
            self._quorum.close()
        if self._manager is not None:
            self._manager.close()
        self._listener.close()
        self._poll.close()

    # ---- Corosync -----------------------------------------------------------------------------------------------

    def _find(self, now: int) -> None:
        """Open what must be open; again and again while Corosync is not there."""
        self._find_at = now + _FIND_NS
        quorum = QuorumHandle()
        try:
            quorum.open()
            self._quorum_descriptor = quorum.fileno()
        except CorosyncError as error:
            quorum.close()
            if not self._missing_told and now - self._missing_since > _FIRST_WAIT_NS:
                self._missing_told = True
                self._log.write("error", "corosync-missing", {"error": str(error)})
            return
        self._quorum = quorum
        self._poll.register(self._quorum_descriptor, select.EPOLLIN)
        self._missing_told = False
        self._log.write("notice", "corosync-found", {})
        self._events.append(interface.Found())

    def _corosync_failed(self, error: CorosyncError) -> None:
        """Whatever a dead handle was asked for: all are made anew."""
        self._close_group(leave=False)
        if self._quorum is not None:
            self._forget(self._quorum_descriptor)
            self._quorum.close()
            self._quorum = None
        self._links.close()
        self._missing_since = clock.now()
        self._find_at = self._missing_since + _FIND_NS
        self._events.append(interface.Lost(cause=f"Corosync is gone ({error})"))

    def _forget(self, descriptor: int) -> None:
        try:
            self._poll.unregister(descriptor)
        except OSError:
            pass  # the library has closed it already

    def _join(self, now: int) -> None:
        """A new handle for each session of a manager, so that nothing of the former is left in it."""
        if self._quorum is None or self._group is not None:
            return
        handle = GroupHandle(GROUP_PREFIX + self._settings.cluster)
        try:
            handle.open()
            handle.join()
            self._group_descriptor = handle.fileno()
        except CorosyncError as error:
            handle.close()
            if error.code not in (TRY_AGAIN, EXIST):
                self._corosync_failed(error)
            self._join_at = now + _FIND_NS
            return
        self._group = handle
        self._poll.register(self._group_descriptor, select.EPOLLIN)

    def _close_group(self, leave: bool) -> None:
        if self._group is not None:
            self._forget(self._group_descriptor)
            if leave:
                self._group.leave()
            self._group.close()
            self._group = None

    def _hear_quorum(self) -> None:
        assert self._quorum is not None
        try:
            heard, _ = self._quorum.dispatch(_DISPATCH_MAX)
        except CorosyncError as error:
            self._corosync_failed(error)
            return
        self._events += heard

    def _hear_group(self) -> None:
        assert self._group is not None
        try:
            heard, emptied = self._group.dispatch(_DISPATCH_MAX)
        except CorosyncError as error:
            self._corosync_failed(error)
            return
        self._events += heard
        if emptied:
            self._events.append(interface.Drained())

    def _multicast(self, data: bytes) -> None:
        if self._group is None:
            return
        try:
            accepted = self._group.multicast(data)
        except CorosyncError as error:
            self._corosync_failed(error)
            return
        self._events.append(interface.Sent(accepted=accepted))

    def _look_at_links(self, now: int) -> None:
        """Also the touch by which a frozen Corosync is noticed: the call waits for its answer."""
        self._links_at = now + min(_LINKS_NS, self._token_ns // 2)
        if self._quorum is None:
            return
        try:
            changes = self._links.look()
        except CorosyncError as error:
            if error.code == TRY_AGAIN:
                return
            self._corosync_failed(error)
            return
        for change in changes:
            self._tell_manager(change)

    def _notice_pause(self, now: int) -> None:
        gap = now - self._turn_ended - self._waited_for
        if gap > self._token_ns // 2:
            self._awake_since = now
            self._events.append(interface.Paused(gap_ms=gap // MILLISECOND))

    # ---- the manager --------------------------------------------------------------------------------------------

    def _accept(self, now: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        _, user, _ = peer_of(connection)
        if user not in (0, os.geteuid()):
            self._log.write("warning", "client-refused", {"uid": str(user), "group": "root"})
            connection.close()
            return
        self._drop_manager("a newer manager has connected")
        self._manager = ManagerConnection(connection)
        self._poll.register(connection.fileno(), select.EPOLLIN)
        self._stalled = False
        self._stamp_check_at = now + _STAMP_CHECK_NS
        self._awake_since = now
        self._log.write("info", "manager-joined", {})

    def _hear_manager(self) -> None:
        manager = self._manager
        for _ in range(_MANAGER_READS_PER_TURN):
            if manager is None or manager is not self._manager:
                return
            try:
                requests = manager.receive()
            except (frames.FrameTooLong, ValueError) as error:
                self._drop_manager(f"it sent what no manager sends: {error}")
                return
            if requests is None:
                return
            if not requests and manager.ended:
                self._drop_manager("its connection ended")
                return
            for request in requests:
                if isinstance(request, group.StatusAsked):
                    self._advance()
                    self._tell_manager(self._status())
                else:
                    self._events.append(interface.ManagerRequest(request=request))

    def _status(self) -> group.EngineStatus:
        try:
            links = self._links.statuses() if self._quorum is not None else ()
        except CorosyncError:
            links = ()
        counters = {**self._machine.counters, "votequorum": int(self._machine.is_quorate)}
        return group.EngineStatus(
            engine="corosync",
            node=NodeId(self._settings.node_id),
            token_ms=self._settings.token_ms,
            view=self._machine.view,
            links=links,
            counters=counters,
        )

    def _drop_manager(self, cause: str) -> None:
        if self._manager is None:
            return
        self._poll.unregister(self._manager.descriptor)
        self._manager.close()
        self._manager = None
        self._events.append(interface.ManagerGone(cause=cause))

    def _check_stamp(self, now: int) -> None:
        """Compare the manager's last sign of life; time in which this process itself slept does not count."""
        self._stamp_check_at = now + _STAMP_CHECK_NS
        if self._manager is None:
            return
        read = self._stamp.read()
        since = max(read[1] if read else 0, self._awake_since)
        stalled = now - since > self._stall_ns
        if stalled and not self._stalled:
            self._events.append(interface.ManagerGone(cause=f"no sign of life for {(now - since) // MILLISECOND} ms"))
        elif self._stalled and not stalled:
            self._events.append(interface.ManagerBack())
        self._stalled = stalled

    # ---- turning ------------------------------------------------------------------------------------------------

    def _timeout(self) -> float:
        now = clock.now()
        due = [self._stamp_check_at, self._links_at]
        timer = self._timers.next_at()
        if timer is not None:
            due.append(timer)
        if self._quorum is None:
            due.append(self._find_at)
        elif self._wants_group and self._group is None:
            due.append(self._join_at)
        self._waited_for = max(0, min(due) - now)
        return self._waited_for / SECOND

    def _fire(self, now: int) -> None:
        while (name := self._timers.pop_due(now)) is not None:
            self._events.append(interface.TimerFired(name=name))
        if now >= self._stamp_check_at:
            self._check_stamp(now)
        if self._quorum is None and now >= self._find_at:
            self._find(now)
        if self._quorum is not None and self._wants_group and self._group is None and now >= self._join_at:
            self._join(now)
        if now >= self._links_at:
            self._look_at_links(now)
        self._advance()

    def _advance(self) -> None:
        for _ in range(_TURNS_MAX):
            if not self._events:
                return
            gathered, self._events = self._events, []
            for effect in self._machine.handle_all(gathered, clock.now()):
                self._carry_out(effect)

    def _carry_out(self, effect: interface.Effect) -> None:
        match effect:
            case interface.ToManager(event=event):
                self._tell_manager(event)
            case interface.Multicast(data=data):
                self._multicast(data)
            case interface.SetTimer(name=name, at=at):
                self._timers.set(name, at)
            case interface.CancelTimer(name=name):
                self._timers.cancel(name)
            case interface.JoinGroup():
                self._wants_group = True
                self._join(clock.now())
            case interface.LeaveGroup():
                self._wants_group = False
                self._settle()  # closing waits for Corosync; the manager hears first what became of its submissions
                self._close_group(leave=True)
            case interface.Report(code=code, fields=fields):
                told = self._manager is not None and code in _TOLD_BY_MANAGER
                self._log.write("debug" if told else "notice", code, dict(fields))

    def _tell_manager(self, event: group.EngineEvent) -> None:
        if self._manager is None:
            return
        try:
            self._manager.writer.put(group.encode(event))
        except frames.FrameTooLong as error:
            self._drop_manager(f"it does not read: {error}")

    def _settle(self) -> None:
        manager = self._manager
        if manager is None or not manager.writer.pending:
            return
        try:
            done = manager.writer.flush(manager.descriptor)
        except OSError as error:
            self._drop_manager(f"its connection broke: {error.strerror}")
            return
        if done != manager.drained:
            manager.drained = done
            self._poll.modify(manager.descriptor, select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)


def run(chosen: settings.Settings, is_restart: bool) -> int:
    """Until SIGTERM. Returns the exit code."""
    where = places.places(chosen)
    log = Log(chosen.node, "engine", chosen.log_file)
    try:
        places.make_places(where)
        for name in ("libcpg.so.4", "libquorum.so.5", "libcmap.so.4"):
            load(name)
    except (places.PlaceError, CorosyncAbsent) as error:
        log.write("critical", "cannot-start", {"error": str(error)})
        if chosen.log_file:
            print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    process = CorosyncEngine(
        chosen, listen(where.engine_socket), StampReader(where.stamp), log, clock.wall() if is_restart else 0
    )
    realtime.name_process("quorate-engine")
    stops: list[str] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stops.append(signal.Signals(received).name))
    signal.signal(signal.SIGHUP, lambda *_: log.reopen())
    wakeups, waker = socket.socketpair()
    for end in (wakeups, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    process.watch_signals(wakeups)
    for refused in realtime.become_realtime():
        log.write("warning", "realtime-refused", {"what": refused})
    while not stops:
        process.turn()
    process.close()
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="quorate-engine", description="The group layer's process of one node.")
    parser.add_argument("--config", help="quorate.toml of the node")
    parser.add_argument("--tolerant", action="store_true", help="a restart: views are numbered above the former run's")
    chosen = parser.parse_args(arguments)
    try:
        loaded = places.load_settings(places.config_path(chosen.config))
    except (places.PlaceError, settings.SettingsError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    return run(loaded, chosen.tolerant)


if __name__ == "__main__":
    sys.exit(main())
