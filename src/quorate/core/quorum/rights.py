"""The four rights of a node, as a pure function of what is known.

Decided here: may this partition *keep* what runs, *fence*, *write* the configuration, *take over*. The rules:

* Quorum: more than half of the expected votes among members (a graced manager's node counts: nothing moves because of
  it). `two_node`: one vote of two is enough. `wait_for_all`: before a partition has any right from quorum, one of its
  members must have been, since it booted, in a view with every configured node.
* keep: quorum, or a policy that lets the partition go on (ignore, freeze). demote keeps what is not promoted; stop and
  suicide keep nothing.
* fence: quorum, or policy ignore.
* write: quorum, and the partition's epoch is durable where the log demands it (told by replication).
* take over: what fence needs, and every absent node settled (`core/arbitration`).

Invariant: two partitions of one cluster never both have `take_over` by majority; with `two_node` or policy ignore it is
the settling of the other that excludes it, so at most one is left alive to use it.

Source: Corosync's votequorum(5) for the names and meaning of two_node and wait_for_all; Pacemaker Explained,
no-quorum-policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quorate.core.arbitration.conditions import Presence, blocks_takeover
from quorate.core.events import Rights

POLICIES = ("stop", "freeze", "ignore", "demote", "suicide", "fence")
NO_RIGHTS = Rights(
    keep=False, fence=False, write=False, take_over=False, quorate=False, policy="stop", why=(("all", "no-view"),)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Electorate:
    """Who votes. `votes` by node name; `expected` their sum."""

    votes: Mapping[str, int]
    two_node: bool = False
    wait_for_all: bool = False

    @property
    def expected(self) -> int:
        return sum(self.votes.values())

    @property
    def majority(self) -> int:
        """The least number of votes that two disjoint partitions cannot both have."""
        return self.expected // 2 + 1

    def count(self, names: Mapping[str, Presence] | tuple[str, ...]) -> int:
        return sum(self.votes.get(name, 0) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the rights follow from. `presences`: every node of the electorate (missing: unseen). `seen_all`: a member
    has
    been in a complete view since it booted. `writable`: the log can commit configuration entries."""

    presences: Mapping[str, Presence]
    seen_all: bool
    synced: bool
    writable: bool
    policy: str
    vetoed: bool = False  # by the engine's own quorum


def present_votes(electorate: Electorate, presences: Mapping[str, Presence]) -> int:
    """Votes of members that hold the state, and of graced nodes."""
    return sum(
        votes
        for name, votes in electorate.votes.items()
        if presences.get(name, Presence.UNSEEN) in (Presence.ONLINE, Presence.GRACED)
    )


def is_quorate(electorate: Electorate, known: Known) -> tuple[bool, str]:
    """Whether this partition has quorum, and the code of the reason when it has not."""
    if known.vetoed:
        return False, "vetoed"
    votes = present_votes(electorate, known.presences)
    needed = 1 if electorate.two_node and len(electorate.votes) == 2 else electorate.majority
    if votes < needed:
        return False, "votes"
    if electorate.wait_for_all and not known.seen_all:
        return False, "wait-for-all"
    return True, ""


def rights(electorate: Electorate, known: Known) -> Rights:
    """The four rights of the partition that `known` describes."""
    policy = known.policy if known.policy in POLICIES else "stop"
    if not known.synced:
        return Rights(
            keep=False,
            fence=False,
            write=False,
            take_over=False,
            quorate=False,
            policy=policy,
            why=(("all", "not-synced"),),
        )
    quorate, reason = is_quorate(electorate, known)
    ignored = policy == "ignore" and (known.seen_all or not electorate.wait_for_all)
    missing: list[tuple[str, str]] = []
    keep = quorate or policy in ("ignore", "freeze")
    fence = quorate or ignored
    write = (quorate or ignored) and known.writable
    unsettled = sorted(name for name in electorate.votes if blocks_takeover(known.presences.get(name, Presence.UNSEEN)))
    take_over = fence and not unsettled
    if not keep:
        missing.append(("keep", reason))
    if not fence:
        missing.append(("fence", reason))
    if not write:
        missing.append(("write", reason or "epoch-not-durable"))
    if not take_over:
        missing.append(("take-over", reason if not fence else "unsettled:" + ",".join(unsettled)))
    return Rights(
        keep=keep, fence=fence, write=write, take_over=take_over, quorate=quorate, policy=policy, why=tuple(missing)
    )
