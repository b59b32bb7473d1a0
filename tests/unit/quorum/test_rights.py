"""core/quorum/rights and core/arbitration: every combination of a small electorate."""

from __future__ import annotations

import itertools

import pytest

from quorate.core.arbitration.conditions import Method, Presence, blocks_takeover, is_present, settled_by
from quorate.core.quorum.rights import POLICIES, Electorate, Known, rights

PRESENT = (Presence.ONLINE, Presence.GRACED)


def known(presences: dict[str, Presence], *, policy: str = "stop", seen_all: bool = True, synced: bool = True) -> Known:
    return Known(presences=presences, seen_all=seen_all, synced=synced, writable=True, policy=policy)


def electorate(count: int, **options: bool) -> Electorate:
    return Electorate(votes={f"n{i}": 1 for i in range(count)}, **options)


def test_every_presence_is_settled_present_or_blocks():
    for presence in Presence:
        assert [is_present(presence), settled_by(presence) is not None, blocks_takeover(presence)].count(True) == 1


def test_methods_are_told_apart():
    assert settled_by(Presence.DOWN) is Method.POWER
    assert settled_by(Presence.LEFT) is Method.CLEAN
    assert settled_by(Presence.LAPSED) is Method.LAPSE
    assert settled_by(Presence.LOST) is None


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "ignore"])
def test_two_sides_never_both_act_by_majority(size: int, policy: str):
    voters = electorate(size)
    names = list(voters.votes)
    for count in range(size + 1):
        for side in itertools.combinations(names, count):
            one = {name: Presence.ONLINE if name in side else Presence.LOST for name in names}
            other = {name: Presence.LOST if name in side else Presence.ONLINE for name in names}
            first, second = rights(voters, known(one, policy=policy)), rights(voters, known(other, policy=policy))
            assert not (first.quorate and second.quorate)
            assert not (first.fence and second.fence)
            assert not (first.write and second.write)
            assert not (first.take_over and second.take_over)


@pytest.mark.parametrize("options", [{}, {"two_node": True}, {"two_node": True, "wait_for_all": True}])
def test_every_combination_of_two_nodes(options: dict[str, bool]):
    """Taking over always needs the other settled; nothing is right before the state is held."""
    voters = electorate(2, **options)
    for mine, other in itertools.product(Presence, repeat=2):
        for policy, seen_all, synced in itertools.product(POLICIES, (True, False), (True, False)):
            granted = rights(voters, known({"n0": mine, "n1": other}, policy=policy, seen_all=seen_all, synced=synced))
            if not synced:
                assert not (granted.keep or granted.fence or granted.write or granted.take_over)
                continue
            if granted.take_over:
                assert granted.fence
                assert not blocks_takeover(other) and not blocks_takeover(mine)
            if options.get("wait_for_all") and not seen_all:
                assert not granted.quorate and not granted.fence and not granted.take_over
            if granted.write:
                assert granted.quorate or policy == "ignore"
            held = {
                "keep": granted.keep,
                "fence": granted.fence,
                "write": granted.write,
                "take-over": granted.take_over,
            }
            assert {name for name, has in held.items() if not has} == {name for name, _ in granted.why}


def test_graced_node_counts_for_quorum_and_blocks_nothing():
    voters = electorate(3)
    granted = rights(voters, known({"n0": Presence.ONLINE, "n1": Presence.GRACED, "n2": Presence.DOWN}))
    assert granted.quorate and granted.take_over


def test_half_is_no_majority():
    voters = electorate(4)
    assert voters.majority == 3
    granted = rights(voters, known({"n0": Presence.ONLINE, "n1": Presence.ONLINE}))
    assert not granted.quorate and ("fence", "votes") in granted.why


def test_votes_are_weighed():
    voters = Electorate(votes={"big": 3, "a": 1, "b": 1})
    assert rights(voters, known({"big": Presence.ONLINE})).quorate
    assert not rights(voters, known({"a": Presence.ONLINE, "b": Presence.ONLINE})).quorate


def test_unknown_policy_is_the_safe_one():
    assert rights(electorate(3), known({"n0": Presence.ONLINE}, policy="whatever")).policy == "stop"


def test_an_engines_own_quorum_may_veto_only():
    voters = electorate(3)
    all_there = {name: Presence.ONLINE for name in voters.votes}
    vetoed = rights(
        voters, Known(presences=all_there, seen_all=True, synced=True, writable=True, policy="stop", vetoed=True)
    )
    assert not (vetoed.quorate or vetoed.keep or vetoed.fence or vetoed.write or vetoed.take_over)
    assert ("keep", "vetoed") in vetoed.why
    alone = {name: Presence.ONLINE if name == "n0" else Presence.LOST for name in voters.votes}
    assert not rights(voters, known(alone)).quorate  # its yes counts for nothing
