"""Replay windows and the admission of incarnations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.core.messaging.replay import CANDIDATES_MAX, NONCE_LIFE_NS, WINDOW, Gatekeeper, Outcome, ReplayWindow
from quorate.model import wire
from quorate.model.ids import MILLISECOND, NodeId

PEER = NodeId(2)
HELLO = wire.GoodBye("any packet")


def opened(
    keeper: Gatekeeper, incarnation: int, sequence: int, packet: wire.Packet = HELLO, now: int = 0, nonce: int = 42
) -> Outcome:
    return keeper.opened(PEER, 0, incarnation, sequence, packet, now, nonce)


def admit(keeper: Gatekeeper, incarnation: int, now: int = 0, nonce: int = 42) -> Outcome:
    opened(keeper, incarnation, 1, now=now, nonce=nonce)
    return opened(keeper, incarnation, 2, wire.ChallengeAnswer(nonce), now=now)


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=300))
def test_window_accepts_each_number_once_and_none_older_than_itself(numbers: list[int]) -> None:
    window = ReplayWindow()
    seen: set[int] = set()
    for number in numbers:
        expected = number in seen or number <= max(seen, default=-1) - WINDOW
        assert window.is_replay(number) == expected
        if not expected:
            window.accept(number)
            seen.add(number)


def test_a_new_incarnation_is_challenged_and_admitted_by_its_answer() -> None:
    keeper = Gatekeeper((PEER,))
    first = opened(keeper, 7, 1, nonce=99)
    assert not first.deliver and first.answers == (wire.Challenge(99),)
    answered = opened(keeper, 7, 2, wire.ChallengeAnswer(99))
    assert answered.admitted and keeper.admitted(PEER) == 7
    assert opened(keeper, 7, 3).deliver


def test_a_replayed_packet_is_dropped_before_and_after_opening() -> None:
    keeper = Gatekeeper((PEER,))
    admit(keeper, 7)
    assert opened(keeper, 7, 5).deliver
    assert keeper.is_replay(PEER, 0, 7, 5) and not keeper.is_replay(PEER, 0, 7, 6)
    assert not keeper.is_replay(PEER, 1, 7, 5), "each link has its own window"
    assert opened(keeper, 7, 5).code == "replay"


def test_an_old_recording_cannot_answer_a_fresh_challenge() -> None:
    keeper = Gatekeeper((PEER,))
    admit(keeper, 7, nonce=1)
    admit(keeper, 8, nonce=2)
    assert keeper.admitted(PEER) == 8
    for packet in (HELLO, wire.ChallengeAnswer(1), wire.ChallengeAnswer(2)):
        outcome = opened(keeper, 7, 1, packet, now=MILLISECOND, nonce=3)
        assert outcome.code == "replay" and not outcome.deliver
    assert keeper.admitted(PEER) == 8


def test_a_nonce_dies() -> None:
    keeper = Gatekeeper((PEER,))
    opened(keeper, 7, 1, nonce=5)
    assert not opened(keeper, 7, 2, wire.ChallengeAnswer(5), now=NONCE_LIFE_NS + 1).admitted


def test_two_living_nodes_with_one_id_are_told() -> None:
    keeper = Gatekeeper((PEER,))
    admit(keeper, 7, nonce=1)
    admit(keeper, 8, nonce=2)
    opened(keeper, 7, 9, nonce=3)
    assert opened(keeper, 7, 10, wire.ChallengeAnswer(3)).code == "duplicate-id"
    assert keeper.admitted(PEER) == 8


def test_challenges_of_strangers_are_answered_so_that_both_can_admit_each_other() -> None:
    keeper = Gatekeeper((PEER,))
    outcome = opened(keeper, 7, 1, wire.Challenge(11), nonce=12)
    assert outcome.answers == (wire.ChallengeAnswer(11), wire.Challenge(12))


def test_challenges_are_rare_and_candidates_bounded() -> None:
    keeper = Gatekeeper((PEER,))
    assert len(opened(keeper, 7, 1).answers) == 1
    assert opened(keeper, 7, 2, now=MILLISECOND).answers == ()
    assert len(opened(keeper, 7, 3, now=20 * MILLISECOND).answers) == 1
    for incarnation in range(100, 100 + CANDIDATES_MAX):
        opened(keeper, incarnation, 1, nonce=incarnation)
    assert not opened(keeper, 7, 4, wire.ChallengeAnswer(42)).admitted, "the oldest candidate made room"
