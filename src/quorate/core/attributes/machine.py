"""Dampening of transient attributes: a value that changes often enters the log once.

Decided here: when an attribute set on this node is put into the log. Not decided here: its value in the state
(`apply`).
A delay is remembered for each name and node; the first set starts it, later ones replace the value but not the
timer, and
what comes due is logged. Source: attrd_updater(8), --delay. Bound: `NAMES_MAX` delayed at once; beyond it there is
no delay.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate.core import effects as fx
from quorate.model import entries
from quorate.model.ids import MILLISECOND

NAMES_MAX = 1_000
TIMER = "attribute:"


class Attributes:
    def __init__(self) -> None:
        self._delayed: dict[str, entries.AttributeUpdate] = {}

    def set(self, update: entries.AttributeUpdate, delay_ms: int, now: int) -> Sequence[fx.Effect]:
        """Log it now, or after its delay."""
        key = f"{update.node}\0{update.name}"
        if key in self._delayed:
            self._delayed[key] = update
            return []
        if delay_ms <= 0 or len(self._delayed) >= NAMES_MAX:
            return [fx.Log(entry=update)]
        self._delayed[key] = update
        return [fx.SetTimer(name=TIMER + key, at=now + delay_ms * MILLISECOND)]

    def timer(self, name: str) -> Sequence[fx.Effect]:
        """`name` begins with `TIMER`."""
        update = self._delayed.pop(name.removeprefix(TIMER), None)
        return [] if update is None else [fx.Log(entry=update)]

    def flush(self) -> Sequence[fx.Effect]:
        """Everything that waits, now (attrd_updater --refresh, and before this node leaves)."""
        waiting, self._delayed = self._delayed, {}
        out: list[fx.Effect] = []
        for key, update in waiting.items():
            out += [fx.CancelTimer(name=TIMER + key), fx.Log(entry=update)]
        return out
