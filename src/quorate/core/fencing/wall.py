"""Wall time inside the core: the driver's last word plus what the one clock has counted since. For stamps and dates
only."""

from __future__ import annotations

from dataclasses import dataclass

from quorate.model.ids import SECOND


@dataclass(slots=True)
class WallTime:
    """`at`: the BOOTTIME instant at which the driver said `wall`."""

    wall: int = 0
    at: int = 0

    def set(self, wall: int, now: int) -> None:
        self.wall, self.at = wall, now

    def seconds(self, now: int) -> int:
        return self.wall + max(0, now - self.at) // SECOND
