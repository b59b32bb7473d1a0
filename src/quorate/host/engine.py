"""The engine process: sockets, seal and timers around `core/messaging`'s HeartbeatEngine, punctual under any load.

A loop of its own on epoll, no asyncio: few objects, no garbage to collect, imports kept small. It runs under real-time
scheduling with locked memory and owns all links and the key; the manager talks to it over a Unix socket (root or the
same user only) in `model/group` values.

Order within a turn: links are drained, the manager is heard, the engine takes all that at one moment, then timers fire,
then what came of it is written. Each has its share in a turn, so that no side starves the heartbeat.

A manager that does not drain its socket, or whose stamp is too old, is absent. Errors at the start end the process
with one sentence (exit code 78: the configuration, 71: the machine); later a link that fails is told and tried again.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from quorate.core.messaging import configuration, effects, events, replay
from quorate.core.messaging.engine import HeartbeatEngine
from quorate.host import clock, frames, keys, places, realtime
from quorate.host.adapters import Link, LinkError
from quorate.host.adapters.udp import UdpLink
from quorate.host.credentials import peer_of
from quorate.host.log import Log
from quorate.host.seal import Seal, SealBroken
from quorate.host.sockets import listen
from quorate.host.stamp import StampReader
from quorate.host.timers import Timers
from quorate.model import authkey, group, settings, wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_MACHINE = 71
EXIT_CONFIGURATION = 78

_PACKETS_PER_TURN = 128  # of one link
_SERIAL_BYTES_PER_SECOND = 0.85  # of the line's bytes: room for framing and the last stop bits
_SERIAL_MTU = 320
_MANAGER_PENDING_MAX = 48 * 1024 * 1024
_MANAGER_FRAME_MAX = group.MESSAGE_BYTES_MAX + 4096
_STAMP_CHECK_NS = 500 * MILLISECOND
_REOPEN_NS = SECOND
_SERIAL_TICK_NS = 5 * MILLISECOND
_PAUSE_NS = SECOND
_ADVANCES_MAX = 100  # what is still there then waits for the next turn
_RUN_BITS = 63
_TROUBLES_MAX = 256
_TOLD_BY_MANAGER = frozenset({"link-up", "link-down", "view", "proposing", "diagnosis", "paused"})


class EngineProcess:
    """One node's engine with its links; `turn` does what is due and waits for at most the next timer."""

    def __init__(
        self,
        config: configuration.EngineConfiguration,
        links: tuple[Link, ...],
        seal: Seal,
        incarnation: int,
        listener: socket.socket,
        counter_file: Path,
        stamp_file: Path,
        stall_ms: int,
        log: Log,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._config = config
        self._engine = HeartbeatEngine(config)
        self._seal = seal
        self._incarnation = incarnation
        self._tag = wire.cluster_tag(config.cluster)
        self._random = random
        self._log = log
        self._links = {link.name: link for link in links}
        self._paced = tuple(link for link in links if link.kind == "serial")
        self._by_descriptor: dict[int, Link] = {}
        self._reopen_at: dict[str, int] = {}
        self._peers = tuple(node.id for node in config.nodes if node.id != config.node)
        self._names = {int(node.id): node.name for node in config.nodes}
        self._gatekeeper = replay.Gatekeeper(self._peers)
        self._timers = Timers()
        self._gathered: list[events.Event] = []
        self._troubled: dict[tuple[str, NodeId | None, int], int] = {}
        self._turn_began = 0
        self._counter_file = counter_file
        self._poll = select.epoll()
        self._listener = listener
        self._poll.register(listener.fileno(), select.EPOLLIN)
        self._manager: ManagerConnection | None = None
        self._stamp = StampReader(stamp_file)
        self._stall_ns = stall_ms * MILLISECOND
        self._stalled = False
        self._stamp_check_at = 0
        self._awake_since = 0
        self._turn_ended = 0
        self._waited_for = 0
        self._signals: socket.socket | None = None

    def watch_signals(self, wakeups: socket.socket) -> None:
        """Bytes that come here end the wait of a turn (see signal.set_wakeup_fd)."""
        self._signals = wakeups
        self._poll.register(wakeups.fileno(), select.EPOLLIN)

    def start(self) -> None:
        now = clock.now()
        self._awake_since = self._turn_ended = now
        for link in self._links.values():
            self._watch(link)
        self._handle(events.Started(incarnation=self._incarnation, counter_floor=self._counter_floor()))
        self._advance(now)

    def turn(self) -> None:
        ready = self._poll.poll(self._timeout())
        self._turn_began = now = clock.now()
        if now - self._turn_ended > _PAUSE_NS + self._waited_for:
            self._awake_since = now
        others: list[int] = []
        for descriptor, _ in ready:
            link = self._by_descriptor.get(descriptor)
            if link is None:
                others.append(descriptor)
            else:
                self._drain(link, now)
        for descriptor in others:
            self._serve(descriptor, now)
        self._advance(now)
        self._turn_ended = now = clock.now()
        self._fire(now)
        self._settle(now)

    def _serve(self, descriptor: int, now: int) -> None:
        if self._manager is not None and descriptor == self._manager.descriptor:
            self._hear_manager(now)
        elif descriptor == self._listener.fileno():
            self._accept(now)
        elif self._signals is not None:
            frames.read_available(self._signals)

    def stop(self, cause: str) -> None:
        """Says good-bye; nothing may follow."""
        self._handle(events.StopRequested(cause=cause))
        self._advance(clock.now())
        self._settle(clock.now())

    def close(self) -> None:
        for link in self._links.values():
            link.close()
        if self._manager is not None:
            self._manager.close()
        self._listener.close()
        self._poll.close()

    # ---- links --------------------------------------------------------------------------------------------------

    def _drain(self, link: Link, now: int) -> None:
        try:
            received = link.receive(_PACKETS_PER_TURN)
        except OSError as error:
            self._link_failed(link, str(error.strerror), now)
            return
        for datagram, source in received:
            self._take_datagram(link, datagram, source, now)

    def _take_datagram(self, link: Link, datagram: bytes, source: str, now: int) -> None:
        try:
            header = wire.unpack_header(datagram)
        except wire.HeaderFault as fault:
            self._trouble(fault.code, None, link, source=source)
            return
        if header.cluster != self._tag:
            self._trouble("foreign-cluster", None, link, source=source)
            return
        sender = NodeId(header.source)
        known = sender in self._peers
        if not known and (sender != self._config.node or header.incarnation == self._incarnation):
            self._trouble("unknown-node", None, link, source=source, claims=str(sender))
            return
        if known and header.link != link.number:
            self._trouble("garbage", sender, link, source=source)
            return
        if known and link.sender_at(source) != sender:
            self._trouble("address-mismatch", sender, link, source=source, configured=link.address_of(sender))
            return
        if known and self._gatekeeper.is_replay(sender, header.link, header.incarnation, header.sequence):
            self._trouble("replay", sender, link, source=source)
            return
        try:
            body = self._seal.open(header, datagram, now)
        except SealBroken as broken:
            if broken.code:
                self._trouble(broken.code, sender if known else None, link, source=source)
            return
        if not known:
            self._trouble("duplicate-id", sender, link, source=source)
            return
        try:
            packet = wire.decode(body)
        except ValueError:
            self._trouble("version", sender, link, source=source)
            return
        self._take_packet(link, header, packet, len(datagram), now)

    def _take_packet(self, link: Link, header: wire.Header, packet: wire.Packet, size: int, now: int) -> None:
        sender = NodeId(header.source)
        known = header.incarnation == self._gatekeeper.admitted(sender)
        nonce = 0 if known else int.from_bytes(self._random(8), "big") >> (64 - _RUN_BITS)
        outcome = self._gatekeeper.opened(
            sender, header.link, header.incarnation, header.sequence, packet, now, nonce
        )
        if outcome.admitted:
            self._seal.admit(header)
        if outcome.code is not None:
            self._trouble(outcome.code, sender, link)
        for answer in outcome.answers:
            self._send(link, (sender,), answer, effects.Priority.CONTROL, now)
        if outcome.deliver:
            self._handle(
                events.PacketReceived(
                    link=link.name, peer=sender, incarnation=header.incarnation, packet=packet, size=size
                )
            )

    def _trouble(self, code: str, peer: NodeId | None, link: Link, **fields: str) -> None:
        """Tell the engine, at most once a second for each kind: a flood of rubbish must cost little more than reading
        it."""
        kind = (code, peer, link.number)
        second = self._turn_began // SECOND
        if self._troubled.get(kind) == second:
            return
        if len(self._troubled) >= _TROUBLES_MAX:
            self._troubled.clear()
        self._troubled[kind] = second
        self._handle(
            events.LinkTrouble(code=code, peer=peer, link=link.name, fields=tuple(sorted(fields.items())))
        )

    def _send(
        self, link: Link, peers: tuple[NodeId, ...], packet: wire.Packet, priority: effects.Priority, now: int
    ) -> None:
        cause = link.send(peers, self._seal.seal(link.number, wire.encode(packet)), int(priority))
        if cause is None:
            return
        if link.kind == "serial":
            self._link_failed(link, cause, now)
        else:
            self._handle(events.LinkFault(link=link.name, cause=cause))

    def _link_failed(self, link: Link, cause: str, now: int) -> None:
        """The device is gone: close it, tell it once, try again every second."""
        if link.fileno() >= 0:
            self._by_descriptor.pop(link.fileno(), None)
            self._poll.unregister(link.fileno())
            link.close()
            self._log.write("warning", "link-fault", {"link": link.name, "cause": cause})
            self._reopen_at[link.name] = now + _REOPEN_NS
            self._handle(events.LinkFault(link=link.name, cause=cause))

    def _watch(self, link: Link) -> None:
        if link.fileno() >= 0:
            self._by_descriptor[link.fileno()] = link
            self._poll.register(link.fileno(), select.EPOLLIN)
        else:
            self._reopen_at[link.name] = clock.now() + _REOPEN_NS

    def _reopen(self, now: int) -> None:
        for name, at in list(self._reopen_at.items()):
            if at > now:
                continue
            link = self._links[name]
            try:
                link.open()
            except LinkError:
                self._reopen_at[name] = now + _REOPEN_NS
            else:
                del self._reopen_at[name]
                self._watch(link)
                self._log.write("notice", "link-open", {"link": name})

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
        self._drop_manager("a newer manager has connected", now)
        self._manager = ManagerConnection(connection)
        self._poll.register(connection.fileno(), select.EPOLLIN)
        self._stalled = False
        self._stamp_check_at = now + _STAMP_CHECK_NS
        self._awake_since = now
        self._log.write("info", "manager-joined", {})

    def _hear_manager(self, now: int) -> None:
        """What it asks for, a share of it in each turn."""
        manager = self._manager
        if manager is None:
            return
        try:
            requests = manager.receive()
        except (frames.FrameTooLong, ValueError) as error:
            self._drop_manager(f"it sent what no manager sends: {error}", now)
            return
        for request in requests:
            self._handle(events.ManagerRequest(request=request))
        if manager.ended:
            self._drop_manager("its connection ended", now)

    def _drop_manager(self, cause: str, now: int) -> None:
        if self._manager is None:
            return
        self._poll.unregister(self._manager.descriptor)
        self._manager.close()
        self._manager = None
        self._handle(events.ManagerGone(cause=cause))

    def _check_stamp(self, now: int) -> None:
        """Compare the manager's last sign of life; time in which this process itself slept does not count."""
        self._stamp_check_at = now + _STAMP_CHECK_NS
        if self._manager is None:
            return
        read = self._stamp.read()
        since = max(read[1] if read else 0, self._awake_since)
        stalled = now - since > self._stall_ns
        if stalled and not self._stalled:
            cause = f"no sign of life for {(now - since) // MILLISECOND} ms"
            self._handle(events.ManagerGone(cause=cause))
        elif self._stalled and not stalled:
            self._handle(events.ManagerBack())
        self._stalled = stalled

    # ---- turning ------------------------------------------------------------------------------------------------

    def _timeout(self) -> float:
        now = clock.now()
        due = self._stamp_check_at
        timer = self._timers.next_at()
        if timer is not None and timer < due:
            due = timer
        if self._reopen_at:
            due = min(due, min(self._reopen_at.values()))
        for link in self._paced:
            if link.wants_write:
                due = min(due, now + _SERIAL_TICK_NS)
        self._waited_for = max(0, due - now)
        return self._waited_for / SECOND

    def _fire(self, now: int) -> None:
        while (name := self._timers.pop_due(now)) is not None:
            self._handle(events.TimerFired(name=name))
        if now >= self._stamp_check_at:
            self._check_stamp(now)
        if self._reopen_at:
            self._reopen(now)
        self._advance(now)

    def _settle(self, now: int) -> None:
        """Write what waits: to slow links what their pace allows, to the manager what it takes."""
        for link in self._paced:
            if link.wants_write:
                cause = link.flush()
                if cause is not None:
                    self._link_failed(link, cause, now)
        manager = self._manager
        if manager is None or not manager.writer.pending:
            return
        try:
            done = manager.writer.flush(manager.descriptor)
        except OSError as error:
            self._drop_manager(f"its connection broke: {error.strerror}", now)
            return
        if done != manager.drained:
            manager.drained = done
            self._poll.modify(manager.descriptor, select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)

    def _handle(self, event: events.Event) -> None:
        """Gather an event; `_advance` gives what has gathered to the engine at one moment."""
        self._gathered.append(event)

    def _advance(self, now: int) -> None:
        """Until nothing is left: carrying out effects may make events again (a link that fails)."""
        for _ in range(_ADVANCES_MAX):
            if not self._gathered:
                return
            gathered, self._gathered = self._gathered, []
            for effect in self._engine.handle_all(gathered, now):
                self._carry_out(effect, now)

    def _carry_out(self, effect: effects.Effect, now: int) -> None:
        if isinstance(effect, effects.SendPacket):
            self._send(self._links[effect.link], effect.peers, effect.packet, effect.priority, now)
        elif isinstance(effect, effects.ToManager):
            self._tell_manager(effect.event, now)
        elif isinstance(effect, effects.SetTimer):
            self._timers.set(effect.name, effect.at)
        elif isinstance(effect, effects.CancelTimer):
            self._timers.cancel(effect.name)
        elif isinstance(effect, effects.StoreCounter):
            self._store_counter(effect.value)
        else:
            self._report(effect)

    def _report(self, effect: effects.Report) -> None:
        """Into the engine's log; what a connected manager tells as well is left to it."""
        fields = dict(effect.fields)
        if fields.get("peer", "").isdecimal():
            fields["peer"] = self._names.get(int(fields["peer"]), fields["peer"])
        told = self._manager is not None and effect.code in _TOLD_BY_MANAGER
        self._log.write("debug" if told else "notice", effect.code, fields)

    def _tell_manager(self, event: group.EngineEvent, now: int) -> None:
        if self._manager is None:
            return
        try:
            self._manager.writer.put(group.encode(event))
        except frames.FrameTooLong as error:
            self._drop_manager(f"it does not read: {error}", now)

    # ---- the counter --------------------------------------------------------------------------------------------

    def _counter_floor(self) -> int:
        """What was stored last; on a new or damaged disk the wall clock, which is above any counter of a former
        life."""
        try:
            return int(self._counter_file.read_text())
        except FileNotFoundError:
            return clock.wall()
        except (OSError, ValueError) as error:
            self._log.write("warning", "counter-damaged", {"file": str(self._counter_file), "error": str(error)})
            return clock.wall()

    def _store_counter(self, value: int) -> None:
        """Durable before anything that follows; about once in a thousand views."""
        scratch = self._counter_file.with_suffix(".new")
        try:
            with open(scratch, "w") as file:
                file.write(str(value))
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, self._counter_file)
        except OSError as error:
            self._log.write("error", "storage-failed", {"what": "The engine's counter", "error": str(error.strerror)})


class ManagerConnection:
    """The socket to the one manager."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = frames.FrameReader(_MANAGER_FRAME_MAX)
        self.writer = frames.FrameWriter(_MANAGER_PENDING_MAX)
        self.descriptor = connection.fileno()
        self.ended = False
        self.drained = True

    def receive(self) -> list[group.EngineRequest]:
        """What has come, at most one buffer full of it. Raises FrameTooLong or ValueError (decoding)."""
        data = frames.read_available(self._connection)
        if data is None:
            return []
        self.ended = not data
        return [group.decode_request(one) for one in self._reader.feed(data)]

    def close(self) -> None:
        self._connection.close()


# ---- making one from the settings ---------------------------------------------------------------------------------


def engine_configuration(chosen: settings.Settings) -> configuration.EngineConfiguration:
    links: list[configuration.LinkConfiguration] = []
    for number, link in enumerate(chosen.links):
        if link not in chosen.my_links:
            continue
        serial = isinstance(link, settings.SerialLink)
        ends = link.devices if isinstance(link, settings.SerialLink) else link.addresses
        others = [node for node in chosen.nodes if node.name != chosen.node and node.name in ends]
        peers = tuple((NodeId(node.id), ends[node.name]) for node in others)
        links.append(
            configuration.LinkConfiguration(
                name=link.name,
                number=number,
                kind=configuration.LinkKind(link.kind),
                peers=peers,
                mtu_bytes=_SERIAL_MTU if serial else 1400,
                bytes_per_second=int(link.baud / 10 * _SERIAL_BYTES_PER_SECOND)
                if isinstance(link, settings.SerialLink)
                else 0,
            )
        )
    return configuration.EngineConfiguration(
        cluster=chosen.cluster,
        node=NodeId(chosen.node_id),
        nodes=tuple(configuration.NodeConfiguration(id=NodeId(node.id), name=node.name) for node in chosen.nodes),
        links=tuple(links),
        token_ms=chosen.token_ms,
    )


def make_links(chosen: settings.Settings) -> tuple[Link, ...]:
    made: list[Link] = []
    for number, link in enumerate(chosen.links):
        if isinstance(link, settings.UdpLink):
            addresses = {node.id: link.addresses[node.name] for node in chosen.nodes}
            made.append(UdpLink(link.name, number, link.port, chosen.node_id, addresses))
        elif chosen.node in link.devices:
            from quorate.host.adapters.serial import SerialLink

            peer = next(chosen.id_of(name) for name in link.devices if name != chosen.node)
            assert peer is not None  # the settings' reader checks it
            made.append(SerialLink(link.name, number, link.devices[chosen.node], peer, link.baud))
    return tuple(made)


def open_links(links: tuple[Link, ...], tolerant: bool, log: Log) -> None:
    """Raises LinkError for the first that fails, unless `tolerant` (a restart: the others carry on, this one is
    retried)."""
    for link in links:
        try:
            link.open()
        except LinkError as error:
            if not tolerant:
                raise
            log.write("error", "link-fault", {"link": link.name, "cause": str(error)})


def run(chosen: settings.Settings, tolerant: bool) -> int:
    """Until SIGTERM. Returns the exit code."""
    where = places.places(chosen)
    log = Log(chosen.node, "engine", chosen.log_file)
    links = make_links(chosen)
    incarnation = int.from_bytes(os.urandom(16), "big")
    try:
        places.make_places(where)
        secret = keys.load_keys(Path(chosen.key_file))
        open_links(links, tolerant, log)
    except (places.PlaceError, authkey.AuthKeyError, LinkError) as error:
        log.write("critical", "cannot-start", {"error": str(error)})
        if chosen.log_file:  # whoever started this looks at the terminal first
            print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    process = EngineProcess(
        engine_configuration(chosen),
        links,
        Seal(secret, chosen.cluster, chosen.node_id, incarnation),
        incarnation,
        listen(where.engine_socket),
        where.counter,
        where.stamp,
        chosen.manager_stall_ms,
        log,
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
    process.start()
    while not stops:
        process.turn()
    process.stop(stops[0])
    process.close()
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="quorate-engine", description="The group layer's process of one node.")
    parser.add_argument("--config", help="quorate.toml of the node")
    parser.add_argument("--tolerant", action="store_true", help="start although a link cannot be opened, and retry")
    chosen = parser.parse_args(arguments)
    try:
        loaded = places.load_settings(places.config_path(chosen.config))
    except (places.PlaceError, settings.SettingsError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    return run(loaded, chosen.tolerant)


if __name__ == "__main__":
    sys.exit(main())
