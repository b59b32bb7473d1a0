"""The conditions for a takeover, each of them a fencing *method*.

Decided here: whether what an absent node may have held is free for certain. Not decided here: who may act (quorum),
how a
condition is brought about (fencing), what is then started (scheduler).

An absent node is *settled* by exactly one method; anything else, silence above all, is "unknown", and unknown is never
"stopped". Arbiters join this table as methods of their own.
"""

from __future__ import annotations

import enum


class Presence(enum.Enum):
    """What the replicated state knows of a node."""

    UNSEEN = "unseen"  # configured; no sign of it since this cluster started
    JOINING = "joining"  # its manager is a member that does not hold the view's state yet
    ONLINE = "online"  # a synced member
    GRACED = "graced"  # node up, manager gone, its grace has not run out
    LOST = "lost"  # gone without a word, or its grace ran out: owes fencing
    DOWN = "down"  # power off confirmed by a device, or by the operator's hand
    LEFT = "left"  # left after a committed shutdown, emptied
    LAPSED = "lapsed"  # taken for off by the operator's standing word or by a lease that ran out


class Method(enum.Enum):
    """How an absent node was settled."""

    POWER = "power"
    CLEAN = "clean"
    LAPSE = "lapse"


_METHODS = {Presence.DOWN: Method.POWER, Presence.LEFT: Method.CLEAN, Presence.LAPSED: Method.LAPSE}


def settled_by(presence: Presence) -> Method | None:
    """The method by which a node of this presence is certainly without its resources; None while that is unknown."""
    return _METHODS.get(presence)


def is_present(presence: Presence) -> bool:
    """Counted as here: nothing of it may be taken over, and nothing needs to be."""
    return presence in (Presence.ONLINE, Presence.JOINING, Presence.GRACED)


def blocks_takeover(presence: Presence) -> bool:
    """Absent and not settled: whatever it held may still be in use."""
    return not is_present(presence) and settled_by(presence) is None
