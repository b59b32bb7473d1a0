"""Identifiers and units shared by every room.

Time is integer nanoseconds. `Nanoseconds` counts on the one monotonic clock of the core (BOOTTIME, which includes
suspended time); wall-clock time is `WallSeconds` and serves display and rules with dates only.
"""

from __future__ import annotations

from typing import NewType

import msgspec

NodeId = NewType("NodeId", int)  # 1 .. 2**31-1, unique in the cluster
NodeName = NewType("NodeName", str)  # the uname in the CIB
LinkName = NewType("LinkName", str)  # name of a heartbeat path in the configuration
Nanoseconds = NewType("Nanoseconds", int)
WallSeconds = NewType("WallSeconds", int)

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class ViewId(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Identity of a group view. Grows at every node; one id never stands for two member lists.

    `counter` grows with each change of nodes, `coordinator` is the node that installed it, `minor` counts managers
    joining and leaving while the nodes stay the same (0 at the installation).
    """

    counter: int
    coordinator: int
    minor: int = 0

    def __str__(self) -> str:
        return f"{self.counter}.{self.coordinator}.{self.minor}"


NO_VIEW = ViewId(0, 0, 0)
