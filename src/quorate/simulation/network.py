"""The simulated wires: links between nodes that lose, delay, reorder, duplicate, cut and replay what is sent.

Decided here: whether and when a datagram arrives. It knows nothing of what is in it. Everything random comes from the
world's "network" stream. Faults are named by link (None: all links) and by direction, so that one-way cuts exist.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from quorate.model.ids import MILLISECOND, SECOND
from quorate.simulation.world import World

Receiver = Callable[[str, int, bytes], None]  # link, source, datagram

DELAY_NS_MAX = MILLISECOND // 2
RECORDED_MAX = 64  # old datagrams kept for replay, for each source


@dataclass(slots=True)
class Conditions:
    """How a link behaves when nothing is cut. Probabilities are for each datagram and receiver."""

    delay_ns_min: int = MILLISECOND // 10
    delay_ns_max: int = DELAY_NS_MAX
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0  # delayed by up to `reorder_ns` more
    reorder_ns: int = 20 * MILLISECOND
    bytes_per_second: int = 0  # 0: no limit


class Network:
    """All links of one cluster. `attach` makes a node reachable; `send` tries to reach it."""

    def __init__(self, world: World, links: Iterable[str]) -> None:
        self.world = world
        self.links = tuple(links)
        self.conditions = {link: Conditions() for link in self.links}
        self._random = world.stream("network")
        self._receivers: dict[int, Receiver] = {}
        self._cuts: dict[tuple[str, int, int], int] = {}  # -> since
        self._busy_until: dict[tuple[str, int, int], int] = {}
        self.last_fault_at = -(10**18)
        self._recorded: dict[int, deque[tuple[str, int, bytes]]] = {}
        self.counters = dict.fromkeys(("sent", "lost", "cut", "duplicated", "reordered", "replayed", "arrived"), 0)

    def attach(self, node: int, receiver: Receiver) -> None:
        self._receivers[node] = receiver
        self._recorded.setdefault(node, deque(maxlen=RECORDED_MAX))

    # ---- faults -------------------------------------------------------------------------------------------------

    def cut(self, source: int, target: int, link: str | None = None) -> None:
        """Nothing arrives from `source` at `target` any more; the other direction stays."""
        for name in self.links if link is None else (link,):
            self._cuts.setdefault((name, source, target), self.world.now)
        self.last_fault_at = self.world.now

    def mend(self, source: int, target: int, link: str | None = None) -> None:
        for name in self.links if link is None else (link,):
            if self._cuts.pop((name, source, target), None) is not None:
                self.last_fault_at = self.world.now

    def partition(self, *sides: Iterable[int]) -> None:
        """Only nodes of one side reach each other; who is on no side is alone."""
        side_of = {node: index for index, side in enumerate(sides) for node in side}
        for a in self._receivers:
            for b in self._receivers:
                if a != b and (side_of.get(a, -a) != side_of.get(b, -b)):
                    self.cut(a, b)
                elif a != b:
                    self.mend(a, b)

    def heal(self) -> None:
        """No cuts, no loss, no reordering, no congestion."""
        self.last_fault_at = self.world.now
        self._cuts.clear()
        for conditions in self.conditions.values():
            conditions.loss = conditions.duplicate = conditions.reorder = 0.0
            conditions.delay_ns_max = DELAY_NS_MAX

    def disturbed(self) -> None:
        """Conditions were changed by hand: what follows is no quiet time."""
        self.last_fault_at = self.world.now

    def unreachable_since(self, source: int, target: int) -> int | None:
        """Since when no link leads from source to target; None while one does."""
        since = 0
        for link in self.links:
            at = self._cuts.get((link, source, target))
            if at is None:
                return None
            since = max(since, at)
        return since

    def has_cuts(self) -> bool:
        return bool(self._cuts)

    def replay(self, source: int) -> None:
        """An attacker sends a recorded datagram again, to the node that it was for."""
        recorded = self._recorded.get(source)
        if not recorded:
            return
        link, target, data = recorded[self._random.randrange(len(recorded))]
        self.counters["replayed"] += 1
        self._arrive_later(link, source, target, data, self._delay(link))

    # ---- sending ------------------------------------------------------------------------------------------------

    def send(self, link: str, source: int, target: int, data: bytes) -> None:
        self.counters["sent"] += 1
        conditions = self.conditions[link]
        draw = self._random.random
        if (link, source, target) in self._cuts:
            self.counters["cut"] += 1
            return
        if conditions.loss and draw() < conditions.loss:
            self.counters["lost"] += 1
            self.last_fault_at = self.world.now
            return
        delay = self._delay(link) + self._transmission(link, source, target, len(data))
        if conditions.reorder and draw() < conditions.reorder:
            self.counters["reordered"] += 1
            delay += int(draw() * conditions.reorder_ns)
        if self.counters["sent"] % 37 == 0:
            self._recorded[source].append((link, target, data))
        self._arrive_later(link, source, target, data, delay)
        if conditions.duplicate and draw() < conditions.duplicate:
            self.counters["duplicated"] += 1
            self._arrive_later(link, source, target, data, delay + self._delay(link))

    def _delay(self, link: str) -> int:
        conditions = self.conditions[link]
        spread = conditions.delay_ns_max - conditions.delay_ns_min
        return conditions.delay_ns_min + int(self._random.random() * spread)

    def _transmission(self, link: str, source: int, target: int, size: int) -> int:
        """On a slow line each datagram waits for those before it."""
        rate = self.conditions[link].bytes_per_second
        if not rate:
            return 0
        wire = (link, source, target)
        start = max(self._busy_until.get(wire, 0), self.world.now)
        self._busy_until[wire] = start + size * SECOND // rate
        return self._busy_until[wire] - self.world.now

    def _arrive_later(self, link: str, source: int, target: int, data: bytes, delay: int) -> None:
        def arrive() -> None:
            if (link, source, target) in self._cuts:
                self.counters["cut"] += 1
                return
            self.counters["arrived"] += 1
            self._receivers[target](link, source, data)

        self.world.after(delay, arrive)
