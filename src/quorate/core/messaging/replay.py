"""Which authentic packets are also fresh: replay windows, and the admission of a peer's new incarnation.

Decided here: whether an opened (authenticated, decoded) packet goes up to the engine, and what is answered below it.
Not decided here: sealing and the nonces' randomness (host), and silence or membership (core/membership).

* Each (peer, incarnation, link) has a window of 1,024 sequence numbers; a number seen, or older than the window, is a
  replay.
* A seal proves that a packet was made by an incarnation of the peer at some time, not that this incarnation lives.
  So packets of an incarnation not yet admitted are answered by a Challenge with a fresh unpredictable nonce, and the
  incarnation is admitted when it returns that nonce under its own seal. From then on the former incarnation is
  retired for good.
* A retired incarnation that still answers challenges means two nodes with one id: "duplicate-id".

Bounds: for each peer one admitted incarnation, 4 under challenge (the oldest makes room), 8 retired remembered, and one
window for each link number.

The driver, for each datagram: header -> cluster tag, configured source and address -> `is_replay` -> open the seal ->
decode -> `opened`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.model import wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId

WINDOW = 1024
CANDIDATES_MAX = 4
RETIRED_MAX = 8
NONCE_LIFE_NS = 2 * SECOND
CHALLENGE_GAP_NS = 20 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to do with an opened packet: `deliver` it to the engine; send `answers` to the peer over the same link;
    `code` is a Diagnosis code when something was wrong; `admitted` when this packet proved a new incarnation."""

    deliver: bool = False
    answers: tuple[wire.Packet, ...] = ()
    code: str | None = None
    admitted: bool = False


_DELIVER = Outcome(deliver=True)
_DROP = Outcome()


class ReplayWindow:
    """The last WINDOW sequence numbers of one stream, as one integer: bit i is `highest - i`."""

    __slots__ = ("highest", "seen")

    def __init__(self) -> None:
        self.highest = -1
        self.seen = 0

    def is_replay(self, sequence: int) -> bool:
        behind = self.highest - sequence
        return behind >= 0 and (behind >= WINDOW or bool(self.seen >> behind & 1))

    def accept(self, sequence: int) -> None:
        ahead = sequence - self.highest
        if ahead > 0:
            self.seen = 1 if ahead >= WINDOW else (self.seen << ahead | 1) & _WINDOW_MASK
            self.highest = sequence
        else:
            self.seen |= 1 << -ahead


_WINDOW_MASK = (1 << WINDOW) - 1


@dataclass(slots=True)
class _Candidate:
    nonce: int
    made_at: int
    asked_at: int


@dataclass(slots=True)
class _Peer:
    admitted: int | None = None
    windows: dict[int, ReplayWindow] = field(default_factory=dict)  # by link number
    candidates: dict[int, _Candidate] = field(default_factory=dict)  # by incarnation, oldest first
    retired: list[int] = field(default_factory=list)


class Gatekeeper:
    """Freshness for all peers of one node."""

    def __init__(self, peers: tuple[NodeId, ...]) -> None:
        self._peers = {peer: _Peer() for peer in peers}

    def admitted(self, peer: NodeId) -> int | None:
        return self._peers[peer].admitted

    def is_replay(self, peer: NodeId, link: int, incarnation: int, sequence: int) -> bool:
        """Cheap check before the seal is opened; changes nothing."""
        state = self._peers[peer]
        if incarnation != state.admitted:
            return False
        window = state.windows.get(link)
        return window is not None and window.is_replay(sequence)

    def opened(
        self, peer: NodeId, link: int, incarnation: int, sequence: int, packet: wire.Packet, now: int, nonce: int
    ) -> Outcome:
        """`nonce`: 63 fresh random bits, used only if a new challenge has to be made."""
        state = self._peers[peer]
        if incarnation != state.admitted:
            return self._from_stranger(state, incarnation, packet, now, nonce)
        window = state.windows.get(link)
        if window is None:
            window = state.windows[link] = ReplayWindow()
        if window.is_replay(sequence):
            return Outcome(code="replay")
        window.accept(sequence)
        if isinstance(packet, wire.Challenge):
            return Outcome(answers=(wire.ChallengeAnswer(packet.nonce),))
        if isinstance(packet, wire.ChallengeAnswer):
            return _DROP
        return _DELIVER

    def _from_stranger(self, state: _Peer, incarnation: int, packet: wire.Packet, now: int, nonce: int) -> Outcome:
        candidate = state.candidates.get(incarnation)
        if isinstance(packet, wire.ChallengeAnswer):
            if candidate is None or packet.nonce != candidate.nonce or now - candidate.made_at > NONCE_LIFE_NS:
                return Outcome(code="replay")
            del state.candidates[incarnation]
            if incarnation in state.retired:
                return Outcome(code="duplicate-id")
            self._admit(state, incarnation)
            return Outcome(admitted=True)
        answers: list[wire.Packet] = []
        if isinstance(packet, wire.Challenge):
            answers.append(wire.ChallengeAnswer(packet.nonce))
        if candidate is None or now - candidate.made_at > NONCE_LIFE_NS:
            state.candidates.pop(incarnation, None)
            if len(state.candidates) >= CANDIDATES_MAX:
                del state.candidates[next(iter(state.candidates))]
            state.candidates[incarnation] = _Candidate(nonce, now, now)
            answers.append(wire.Challenge(nonce))
        elif now - candidate.asked_at >= CHALLENGE_GAP_NS:
            candidate.asked_at = now
            answers.append(wire.Challenge(candidate.nonce))
        return Outcome(answers=tuple(answers), code="replay" if incarnation in state.retired else None)

    @staticmethod
    def _admit(state: _Peer, incarnation: int) -> None:
        if state.admitted is not None:
            state.retired.append(state.admitted)
            del state.retired[:-RETIRED_MAX]
        state.admitted = incarnation
        state.windows = {}
