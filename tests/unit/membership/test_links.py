"""The failure detector, by its clock."""

from __future__ import annotations

from quorate.core.membership.links import BEATS_TO_PROVE, FailureDetector
from quorate.model.ids import MILLISECOND, SECOND, NodeId
from quorate.simulation.group import engine_configuration

PEER = NodeId(2)
BEAT = 100 * MILLISECOND


def detector(*links: str) -> FailureDetector:
    return FailureDetector(engine_configuration(1, 3, links or ("lan",), 1000))


def beat(subject: FailureDetector, at: int, times: int, run: int = 7, link: str = "lan") -> int:
    """`times` beats, one each interval; returns the time after the last."""
    for _ in range(times):
        subject.heard(PEER, link, run, True, at)
        at += BEAT
    return at


def test_first_run_of_a_peer_is_believed_after_three_beats() -> None:
    subject = detector()
    beat(subject, 0, BEATS_TO_PROVE - 1)
    assert not subject.hears(PEER)
    turns = subject.heard(PEER, "lan", 7, True, BEAT * 2)
    assert turns is not None and [(turn.link, turn.up) for turn in turns] == [("lan", True)]
    assert subject.heard_peers == (PEER,)


def test_other_packets_keep_a_link_up_but_do_not_prove_it() -> None:
    subject = detector()
    for at in range(0, SECOND, BEAT):
        subject.heard(PEER, "lan", 7, False, at)
    assert not subject.hears(PEER)
    at = beat(subject, SECOND, 3)
    for step in range(20):
        subject.heard(PEER, "lan", 7, False, at + step * BEAT)
        assert subject.judge(at + step * BEAT) == []
    assert subject.hears(PEER)


def test_silence_of_a_token_takes_the_link_down_and_not_a_moment_less() -> None:
    subject = detector()
    last = beat(subject, 0, 3) - BEAT
    assert subject.judge(last + SECOND - 1) == []
    assert subject.deadline() == last + SECOND
    turns = subject.judge(last + SECOND)
    assert [(turn.peer, turn.up, turn.cause) for turn in turns] == [(PEER, False, "silent for a token")]
    assert subject.heard_peers == ()


def test_the_peer_is_heard_while_one_link_is_up() -> None:
    subject = detector("lan", "ring")
    beat(subject, 0, 3, link="lan")
    beat(subject, 0, 15, link="ring")
    turns = subject.judge(1_300 * MILLISECOND)
    assert [turn.link for turn in turns] == ["lan"]
    assert subject.hears(PEER)
    assert subject.best_link(PEER) == "ring"


def test_a_link_silent_for_some_beats_goes_behind_a_slow_one() -> None:
    subject = detector("lan", "serial0")
    for at in range(0, SECOND, BEAT):
        for link in ("lan", "serial0"):
            subject.heard(PEER, link, 7, True, at)
            subject.peers[PEER].links[link].heard_there = True
    assert subject.best_link(PEER) == "lan"
    for at in range(SECOND, SECOND + 5 * BEAT, BEAT):
        subject.heard(PEER, "serial0", 7, True, at)
    assert subject.judge(SECOND + 4 * BEAT) == []
    assert subject.best_link(PEER) == "serial0" and subject.is_slow(PEER)


def test_a_lost_link_proves_itself_for_a_token_and_doubles_when_it_flaps() -> None:
    subject = detector()
    link = subject.peers[PEER].links["lan"]
    now = beat(subject, 0, 3)
    for expected in (1, 2, 4, 8, 16, 32, 32):
        now += 2 * SECOND
        subject.judge(now)
        assert not link.up
        assert subject.proving_ns(link) == expected * SECOND
        beats = 0
        while not link.up:
            now = beat(subject, now, 1)
            beats += 1
        assert beats == expected * 10 + 1


def test_a_hole_while_proving_starts_anew() -> None:
    subject = detector()
    now = beat(subject, 0, 3) + 2 * SECOND
    subject.judge(now)
    now = beat(subject, now, 8) + SECOND
    now = beat(subject, now, 10)
    assert not subject.hears(PEER)
    beat(subject, now, 1)
    assert subject.hears(PEER)


def test_a_link_that_was_long_up_is_no_flapper() -> None:
    subject = detector()
    link = subject.peers[PEER].links["lan"]
    now = beat(subject, 0, 3) + 2 * SECOND
    subject.judge(now)
    now = beat(subject, now, 700)
    subject.judge(now + 2 * SECOND)
    assert not link.up and subject.proving_ns(link) == SECOND


def test_a_new_run_means_that_the_peer_restarted() -> None:
    subject = detector()
    now = beat(subject, 0, 5)
    turns = subject.heard(PEER, "lan", 8, True, now)
    assert turns is not None and [turn.cause for turn in turns] == ["the peer restarted"]
    beat(subject, now + BEAT, 2, run=8)
    assert subject.hears(PEER)


def test_after_good_bye_the_run_is_void() -> None:
    subject = detector()
    now = beat(subject, 0, 5)
    assert [turn.up for turn in subject.farewell(PEER, now)] == [False]
    assert subject.heard(PEER, "lan", 7, True, now) is None
    beat(subject, now, 3, run=8)
    assert subject.hears(PEER)


def test_strangers_and_unknown_links_are_void() -> None:
    subject = detector()
    assert subject.heard(NodeId(9), "lan", 1, True, 0) is None
    assert subject.heard(PEER, "nowhere", 1, True, 0) is None


def test_a_stall_of_our_own_defers_judgement() -> None:
    subject = detector()
    beat(subject, 0, 3)
    subject.judge_after = 2 * SECOND
    assert subject.judge(2 * SECOND - 1) == []
    assert subject.deadline() == 2 * SECOND
    assert len(subject.judge(2 * SECOND)) == 1
