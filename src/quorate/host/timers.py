"""Timers by name for a driver: set again they move, the due ones come out in order of time."""

from __future__ import annotations

import heapq


class Timers:
    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def set(self, name: str, at: int) -> None:
        if self._at.get(name) == at:
            return
        self._at[name] = at
        heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 64 + 4 * len(self._at):  # mostly timers moved away
            self._heap = [(at, name) for name, at in self._at.items()]
            heapq.heapify(self._heap)

    def cancel(self, name: str) -> None:
        self._at.pop(name, None)

    def next_at(self) -> int | None:
        heap = self._heap
        while heap:
            at, name = heap[0]
            if self._at.get(name) == at:
                return at
            heapq.heappop(heap)
        return None

    def pop_due(self, now: int) -> str | None:
        """The name of the earliest timer that is due; it is gone then."""
        at = self.next_at()
        if at is None or at > now:
            return None
        _, name = heapq.heappop(self._heap)
        del self._at[name]
        return name
