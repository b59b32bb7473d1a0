"""Virtual time, seeded chance, and computers that can be paused and crash.

Decided here: what happens when. A seed and the code give the whole run: all chance comes from named streams derived
from the seed, ties are broken by the order of asking, and nothing depends on hashes or addresses. `World.digest` sums
up the trace, so that two runs can be compared by one number.
"""

from __future__ import annotations

import heapq
import random
import zlib
from collections import deque
from collections.abc import Callable

Action = Callable[[], None]

TRACE_LINES = 4000
BACKLOG_MAX = 400  # what a paused computer's socket buffers hold


class Violation(AssertionError):
    """An invariant does not hold. The text names it, the nodes and the virtual time."""


class World:
    """The clock (nanoseconds), the queue of what will happen, and the trace of what did."""

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self.now = 0
        self.steps = 0
        self.digest = 0
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.births: dict[int, int] = {}  # random identities handed out -> which life of its computer
        self._queue: list[tuple[int, int, Action]] = []
        self._order = 0
        self._cancelled: set[int] = set()  # membership only

    def stream(self, name: str) -> random.Random:
        """A source of chance of its own, so that one concern's draws do not shift another's."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, when: int, action: Action) -> int:
        """Plans an action; the number returned cancels it."""
        self._order += 1
        heapq.heappush(self._queue, (max(when, self.now), self._order, action))
        return self._order

    def after(self, delay: int, action: Action) -> int:
        return self.at(self.now + delay, action)

    def cancel(self, handle: int) -> None:
        self._cancelled.add(handle)

    def step(self, until: int | None = None) -> bool:
        """Does the next thing planned, if there is one (not later than `until`)."""
        while self._queue:
            when, order, action = self._queue[0]
            if until is not None and when > until:
                return False
            heapq.heappop(self._queue)
            if order in self._cancelled:
                self._cancelled.discard(order)
                continue
            self.now = when
            self.steps += 1
            action()
            return True
        return False

    def run_until(self, when: int) -> None:
        while self.step(when):
            pass
        self.now = max(self.now, when)

    def note(self, who: object, what: str) -> None:
        """One line of the trace."""
        line = f"{self.now / 1e6:10.3f} {who} {what}"
        self.trace.append(line)
        self.digest = zlib.crc32(line.encode(), self.digest)


class Computer:
    """A machine in the world: it is on or off, running or paused. Things happen to it through `receive` and named
    timers.

    Paused, it keeps what arrives (up to BACKLOG_MAX, the rest is lost, like datagrams in a full buffer); when it wakes
    it gets that first, then its overdue timers, all at the moment of waking. A crash forgets everything; `life` grows
    with each start.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.is_on = False
        self.is_paused = False
        self.life = 0
        self.paused_since = 0
        self._timers: dict[str, int] = {}
        self._backlog: list[Action] = []
        self._overdue: list[tuple[str, Action]] = []

    def switch_on(self) -> None:
        self.is_on = True
        self.is_paused = False
        self.life += 1

    def crash(self) -> None:
        self.is_on = False
        self.is_paused = False
        self._backlog.clear()
        self._overdue.clear()
        for name in list(self._timers):
            self.cancel_timer(name)

    def pause(self) -> None:
        self.is_paused = True
        self.paused_since = self.world.now

    def resume(self) -> None:
        if not self.is_paused:
            return
        self.is_paused = False
        backlog, self._backlog = self._backlog, []
        overdue, self._overdue = self._overdue, []
        for action in backlog:
            if self.is_on:
                action()
        for _, action in overdue:
            if self.is_on:
                action()

    def receive(self, action: Action, *, may_be_lost: bool = False) -> None:
        """Something arrives now. What `may_be_lost` (a datagram) is, when the buffers of a paused computer are full."""
        if not self.is_on:
            return
        if self.is_paused:
            if not may_be_lost or len(self._backlog) < BACKLOG_MAX:
                self._backlog.append(action)
            return
        action()

    def set_timer(self, name: str, at: int, action: Action) -> None:
        self.cancel_timer(name)
        life = self.life

        def fire() -> None:
            if self.life != life or not self.is_on:
                return
            self._timers.pop(name, None)
            if self.is_paused:
                self._overdue.append((name, action))
            else:
                action()

        self._timers[name] = self.world.at(at, fire)

    def cancel_timer(self, name: str) -> None:
        handle = self._timers.pop(name, None)
        if handle is not None:
            self.world.cancel(handle)
        self._overdue = [entry for entry in self._overdue if entry[0] != name]
