"""Why a decision was taken, as data: a code and references, no text. Tools turn them into sentences.

Reasons are appended where a decision is taken; making one is a tuple's cost.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple


class Cause(enum.IntEnum):
    LOCATION = 1  # subject: the constraint's id
    COLOCATION = 2
    ORDERING = 3
    TICKET = 4
    STICKINESS = 5
    FAIL_COUNT = 6  # migration-threshold reached
    START_FAILURE = 7
    FAILURE = 8
    OPTION = 9  # cluster option or resource option
    TARGET_ROLE = 10
    UNMANAGED = 11
    BLOCKED = 12
    STANDBY = 13
    MAINTENANCE = 14
    NODE_OFFLINE = 15
    NODE_UNCLEAN = 16
    NODE_SHUTDOWN = 17
    HEALTH = 18
    UTILIZATION = 19
    QUORUM = 20
    CLONE_LIMIT = 21
    DISCOVERY = 22
    SHUTDOWN_LOCK = 23
    REMOVED = 24
    PARAMETERS = 25
    MULTIPLE_ACTIVE = 26
    PROMOTION = 27
    FENCING = 28
    BEST = 29  # the highest score
    NO_NODE = 30
    ASYMMETRIC = 31


class Reason(NamedTuple):
    """`subject` is the constraint, option, operation or resource; `node` a node's index or -1; `score` where it has one."""

    cause: Cause
    subject: Any = None
    node: int = -1
    score: int = 0
