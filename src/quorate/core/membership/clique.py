"""Who belongs together: the members of a view among nodes that hear each other both ways.

Decided here: from what every node says about its hearing, the one group that this node wants to be in. The choice is
the same on every node that knows the same: the best clique, then the best of those who remain, and so on. Best is
largest, then with most members of one present view (incumbents), then lowest ids. Votes and rights are core/quorum's.

Bound: CLIQUES_MAX maximal cliques are looked at (a complete graph has one); beyond, the best so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quorate.model.wire import NO_KEY, ViewKey

CLIQUES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one node says: whom it hears (without itself), in which view it is, whether it comes back from a pause."""

    hears: frozenset[int]
    view: ViewKey
    is_rejoining: bool = False


def wanted_members(me: int, hearings: Mapping[int, Hearing]) -> tuple[int, ...]:
    """The sorted clique that holds `me`; `hearings` includes `me`."""
    remaining = sorted(hearings)
    while True:
        best = _best_clique(remaining, hearings)
        if me in best:
            return best
        remaining = [node for node in remaining if node not in best]


def _best_clique(nodes: list[int], hearings: Mapping[int, Hearing]) -> tuple[int, ...]:
    neighbours = {
        a: frozenset(b for b in nodes if b != a and b in hearings[a].hears and a in hearings[b].hears) for a in nodes
    }
    best: tuple[tuple[int, int, int, tuple[int, ...]], tuple[int, ...]] | None = None
    for count, clique in enumerate(_maximal_cliques(frozenset(), frozenset(nodes), frozenset(), neighbours)):
        members = tuple(sorted(clique))
        rejoining = sum(hearings[node].is_rejoining for node in members)
        rank = (-len(members), rejoining, -_incumbents(members, hearings), members)
        if best is None or rank < best[0]:
            best = (rank, members)
        if count >= CLIQUES_MAX:
            break
    assert best is not None
    return best[1]


def _incumbents(members: tuple[int, ...], hearings: Mapping[int, Hearing]) -> int:
    counts: dict[ViewKey, int] = {}
    for node in members:
        view = hearings[node].view
        if view != NO_KEY:
            counts[view] = counts.get(view, 0) + 1
    return max(counts.values(), default=0)


def _maximal_cliques(
    chosen: frozenset[int], open_: frozenset[int], closed: frozenset[int], neighbours: Mapping[int, frozenset[int]]
) -> Iterator[frozenset[int]]:
    """Bron and Kerbosch with a pivot, in an order that depends on the ids alone."""
    if not open_ and not closed:
        yield chosen
        return
    pivot = max(sorted(open_ | closed), key=lambda node: len(neighbours[node] & open_))
    for node in sorted(open_ - neighbours[pivot]):
        yield from _maximal_cliques(chosen | {node}, open_ & neighbours[node], closed & neighbours[node], neighbours)
        open_ -= {node}
        closed |= {node}
