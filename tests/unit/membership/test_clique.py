"""Who belongs together."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.core.membership.clique import Hearing, wanted_members
from quorate.model.wire import NO_KEY, ViewKey


def hearings(nodes: int, edges: set[tuple[int, int]], views: dict[int, ViewKey] | None = None) -> dict[int, Hearing]:
    """Symmetric edges."""
    return {
        n: Hearing(frozenset(b if a == n else a for a, b in edges if n in (a, b)), (views or {}).get(n, NO_KEY))
        for n in range(1, nodes + 1)
    }


def complete(*nodes: int) -> set[tuple[int, int]]:
    return set(combinations(sorted(nodes), 2))


def test_all_when_all_hear_each_other() -> None:
    said = hearings(5, complete(1, 2, 3, 4, 5))
    assert wanted_members(3, said) == (1, 2, 3, 4, 5)


def test_alone() -> None:
    assert wanted_members(1, {1: Hearing(frozenset(), NO_KEY)}) == (1,)


def test_one_way_hearing_does_not_count() -> None:
    said = {1: Hearing(frozenset({2}), NO_KEY), 2: Hearing(frozenset(), NO_KEY)}
    assert wanted_members(1, said) == (1,)
    assert wanted_members(2, said) == (2,)


def test_not_grown_from_the_lowest_id() -> None:
    """Four nodes, 1 hears 2 only: {2, 3, 4} exists, so not {1, 2} and {3, 4}."""
    said = hearings(4, complete(2, 3, 4) | {(1, 2)})
    assert [wanted_members(n, said) for n in (1, 2, 3, 4)] == [(1,), (2, 3, 4), (2, 3, 4), (2, 3, 4)]


def test_incumbents_win_a_tie() -> None:
    ring = {(1, 2), (2, 3), (3, 4), (1, 4)}
    assert wanted_members(2, hearings(4, ring)) == (1, 2)
    said = hearings(4, ring, {2: (7, 2), 3: (7, 2)})
    assert [wanted_members(n, said) for n in (1, 2, 3, 4)] == [(1, 4), (2, 3), (2, 3), (1, 4)]


def test_a_node_back_from_a_pause_yields_a_tie() -> None:
    said = hearings(3, {(1, 2), (1, 3)})
    said[2] = Hearing(said[2].hears, NO_KEY, is_rejoining=True)
    assert wanted_members(1, said) == (1, 3)


@pytest.mark.parametrize("nodes", [16, 32])
def test_bounded_for_many_nodes(nodes: int) -> None:
    """Everyone hears all but one: 2 to the power of n/2 maximal cliques; the answer is a clique and comes soon."""
    edges = {(a, b) for a, b in combinations(range(1, nodes + 1), 2) if not (a % 2 and b == a + 1)}
    members = wanted_members(1, hearings(nodes, edges))
    assert len(members) == nodes // 2


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 7), st.data())
def test_choices_agree_and_part_the_nodes(nodes: int, data: st.DataObject) -> None:
    """What one member wants all its members want; nobody is in two groups; no clique is larger than the best."""
    pairs = list(combinations(range(1, nodes + 1), 2))
    edges = set(data.draw(st.lists(st.sampled_from(pairs), unique=True)))
    said = hearings(nodes, edges)
    wanted = {n: wanted_members(n, said) for n in said}
    for n, members in wanted.items():
        assert n in members
        assert all(wanted[m] == members for m in members)
        assert set(combinations(members, 2)) <= edges
    largest = max(
        len(some)
        for size in range(1, nodes + 1)
        for some in combinations(said, size)
        if set(combinations(some, 2)) <= edges
    )
    assert max(map(len, wanted.values())) == largest
