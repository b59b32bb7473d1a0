"""Where the engine's machines put their effects: picks links, paces slow ones, remembers timers.

Control packets go by every link to a peer (large ones not by slow links beside quick ones), the rest by its best one.
A link with `bytes_per_second` is paced here: packets wait in order of priority, one beat only (the newest), and what
exceeds the bound is dropped, for the order is repaired by asking again.
"""

from __future__ import annotations

from collections import deque

from quorate.core.membership.links import FailureDetector
from quorate.core.messaging.configuration import EngineConfiguration, LinkConfiguration
from quorate.core.messaging.effects import (
    CancelTimer,
    Effect,
    Priority,
    Report,
    SendPacket,
    SetTimer,
    StoreCounter,
    ToManager,
)
from quorate.model import group, wire
from quorate.model.ids import SECOND, NodeId

PACED_PACKETS_MAX = 64  # for each priority and slow link
BURST_BYTES = 512
SLOW_CONTROL_BYTES = 512


class _PacedLink:
    """A token bucket and the packets that wait for it."""

    def __init__(self, link: LinkConfiguration) -> None:
        self.link = link
        self.free_at = 0  # when the bytes sent so far have left
        self.waiting: tuple[deque[tuple[tuple[NodeId, ...], wire.Packet]], ...] = tuple(deque() for _ in Priority)

    def put(self, peers: tuple[NodeId, ...], packet: wire.Packet, priority: Priority) -> bool:
        queue = self.waiting[priority]
        if priority is Priority.BEAT:
            queue.clear()
        if len(queue) >= PACED_PACKETS_MAX or (peers, packet) in queue:
            return False
        queue.append((peers, packet))
        return True

    def take(self, now: int) -> list[SendPacket]:
        taken = []
        burst_ns = BURST_BYTES * SECOND // self.link.bytes_per_second
        while self.free_at <= now + burst_ns:
            priority = next((p for p in Priority if self.waiting[p]), None)
            if priority is None:
                break
            peers, packet = self.waiting[priority].popleft()
            cost = wire.sealed_bytes(packet) * len(peers) * SECOND // self.link.bytes_per_second
            self.free_at = max(self.free_at, now) + cost
            taken.append(SendPacket(self.link.name, peers, packet, priority))
        return taken

    @property
    def is_waiting(self) -> bool:
        return any(self.waiting)

    def next_at(self) -> int:
        return self.free_at - BURST_BYTES * SECOND // self.link.bytes_per_second


class Outbox:
    """Collects the effects of one `handle`. The engine empties it with `take`."""

    def __init__(self, configuration: EngineConfiguration, detector: FailureDetector) -> None:
        self._detector = detector
        self._effects: list[Effect] = []
        self._timers: dict[str, int] = {}
        self._paced = {link.name: _PacedLink(link) for link in configuration.links if link.bytes_per_second > 0}
        self.dropped = 0

    def take(self, now: int) -> list[Effect]:
        for paced in self._paced.values():
            if paced.is_waiting:
                self._effects += paced.take(now)
                if paced.is_waiting:
                    self.set_timer("pace:" + paced.link.name, max(paced.next_at(), now + 1))
        effects, self._effects = self._effects, []
        return effects

    # ---- packets ------------------------------------------------------------------------------------------------

    def send(self, link: str, peers: tuple[NodeId, ...], packet: wire.Packet, priority: Priority) -> None:
        paced = self._paced.get(link)
        if paced is None:
            self._effects.append(SendPacket(link, peers, packet, priority))
        elif not paced.put(peers, packet, priority):
            self.dropped += 1

    def control(self, peers: tuple[NodeId, ...], packet: wire.Packet) -> None:
        """By every link that leads to each peer; what is large goes by a slow link only if there is no better."""
        by_link: dict[str, list[NodeId]] = {}
        is_large = bool(self._paced) and wire.sealed_bytes(packet) > SLOW_CONTROL_BYTES
        for peer in peers:
            spare_slow = is_large and not self._detector.is_slow(peer)
            for name, way in self._detector.peers[peer].links.items():
                if not (spare_slow and way.link.is_slow):
                    by_link.setdefault(name, []).append(peer)
        for link, reached in by_link.items():
            self.send(link, tuple(reached), packet, Priority.CONTROL)

    def data(self, peers: tuple[NodeId, ...], packet: wire.Packet, priority: Priority = Priority.NORMAL) -> None:
        """By the best link to each peer."""
        if len(peers) == 1:
            link = self._detector.best_link(peers[0])
            if link is not None:
                self.send(link, peers, packet, priority)
            return
        by_link: dict[str, list[NodeId]] = {}
        for peer in peers:
            link = self._detector.best_link(peer)
            if link is not None:
                by_link.setdefault(link, []).append(peer)
        for link, reached in by_link.items():
            self.send(link, tuple(reached), packet, priority)

    # ---- everything else ----------------------------------------------------------------------------------------

    def to_manager(self, event: group.EngineEvent) -> None:
        self._effects.append(ToManager(event))

    def report(self, code: str, **fields: object) -> None:
        self._effects.append(Report(code, tuple((name, str(value)) for name, value in fields.items())))

    def store_counter(self, value: int) -> None:
        self._effects.append(StoreCounter(value))

    def set_timer(self, name: str, at: int) -> None:
        if self._timers.get(name) != at:
            self._timers[name] = at
            self._effects.append(SetTimer(name, at))

    def cancel_timer(self, name: str) -> None:
        if self._timers.pop(name, None) is not None:
            self._effects.append(CancelTimer(name))

    def timer_fired(self, name: str) -> None:
        self._timers.pop(name, None)

    def timer(self, name: str) -> int | None:
        return self._timers.get(name)
