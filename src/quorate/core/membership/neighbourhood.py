"""What the nodes say about themselves and about those whom they hear: the material for choosing members.

A node's own word (its beat) counts while it is heard here. Of a node not heard here, a neighbour's report counts for
a token, so that both ends of a chain choose the same groups. Nodes that failed to do their part in a round are
shunned for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quorate.core.membership.clique import Hearing, wanted_members
from quorate.core.membership.links import FailureDetector
from quorate.model.ids import NodeId
from quorate.model.wire import FLAG_REFORM, NO_KEY, Beat, Row, ViewKey


@dataclass(slots=True)
class _Word:
    hearing: Hearing
    flags: int
    at: int


class Neighbourhood:
    """Hearings by node. `version` grows with each change that can matter to the choice of members."""

    def __init__(self, me: NodeId, detector: FailureDetector, token_ns: int) -> None:
        self._me = me
        self._detector = detector
        self._token_ns = token_ns
        self._own: dict[int, _Word] = {}
        self._told: dict[int, _Word] = {}
        self._shunned: dict[int, int] = {}
        self._set_aside: set[int] = set()  # of the shunned; membership only
        self._wanted_for: object = None
        self._wanted: tuple[int, ...] = (me,)
        self.version = 0

    def on_beat(self, peer: NodeId, beat: Beat, now: int) -> bool:
        """Whether the peer's own word changed."""
        hearing = Hearing(frozenset(beat.hears), beat.view, bool(beat.flags & FLAG_REFORM))
        known = self._own.get(peer)
        changed = known is None or known.hearing != hearing or known.flags != beat.flags
        self._own[peer] = _Word(hearing, beat.flags, now)
        if changed:
            self.version += 1
        everyone = hearing.hears | {peer}
        for node in beat.alike:
            self._hear_say(node, Hearing(everyone - {node}, beat.view), now)
        for row in beat.rows:
            self._hear_say(row.node, Hearing(frozenset(row.hears), row.view), now)
        return changed

    def _hear_say(self, node: int, hearing: Hearing, now: int) -> None:
        if node == self._me:
            return
        known = self._told.get(node)
        if known is None or known.hearing != hearing:
            self.version += 1
        self._told[node] = _Word(hearing, 0, now)

    def forget(self, peer: NodeId) -> None:
        if self._own.pop(peer, None) is not None:
            self.version += 1

    def view_of(self, peer: NodeId) -> ViewKey:
        word = self._own.get(peer)
        return word.hearing.view if word else NO_KEY

    def flags_of(self, peer: NodeId) -> int:
        word = self._own.get(peer)
        return word.flags if word else 0

    def is_heard_by(self, peer: NodeId) -> bool:
        word = self._own.get(peer)
        return word is not None and self._me in word.hearing.hears

    def shun(self, peer: int, until: int) -> None:
        self._shunned[peer] = until
        self._set_aside.discard(peer)
        self.version += 1

    def set_aside(self, peer: int, until: int) -> None:
        """Shun a node that comes back from a pause and waits for others of its former view."""
        self.shun(peer, until)
        self._set_aside.add(peer)

    def take_back(self, peers: Iterable[int]) -> bool:
        """Those set aside who are asked for by one of their kind: two that wait for each other come back together.
        Whether there were any."""
        waiting = [peer for peer in peers if peer in self._set_aside]
        for peer in waiting:
            self._unshun(peer)
        return bool(waiting)

    def _unshun(self, peer: int) -> None:
        del self._shunned[peer]
        self._set_aside.discard(peer)
        self.version += 1

    def forgive(self, now: int) -> None:
        for node in [node for node, until in self._shunned.items() if until <= now]:
            self._unshun(node)
        for node in [node for node, word in self._told.items() if word.at + self._token_ns <= now]:
            del self._told[node]
            self.version += 1

    def wanted(self, my_view: ViewKey, is_rejoining: bool) -> tuple[int, ...]:
        """The members of the view that this node should be in, sorted."""
        state = (self.version, self._detector.version, my_view, is_rejoining)
        if state != self._wanted_for:
            self._wanted_for = state
            self._wanted = wanted_members(self._me, self._hearings(my_view, is_rejoining))
        return self._wanted

    def _hearings(self, my_view: ViewKey, is_rejoining: bool) -> dict[int, Hearing]:
        heard = self._detector.heard_peers
        hearings = {int(self._me): Hearing(frozenset(heard), my_view, is_rejoining)}
        for node, word in sorted(self._told.items()):
            if node not in heard:
                hearings[node] = word.hearing
        for peer in heard:
            word_here = self._own.get(peer)
            if word_here is not None and peer not in self._shunned:
                hearings[peer] = word_here.hearing
        return hearings

    def is_agreed(self, members: tuple[int, ...]) -> bool:
        """Whether each member says that it hears exactly the others, so that nothing else is to be waited for."""
        everyone = frozenset(members)
        if frozenset(self._detector.heard_peers) | {self._me} != everyone:
            return False
        return all(
            node in self._own and self._own[node].hearing.hears | {node} == everyone
            for node in members
            if node != self._me
        )

    def reports(self, my_view: ViewKey) -> tuple[tuple[int, ...], tuple[Row, ...]]:
        """What to tell others about the peers heard here: those alike, and the rows of the rest."""
        everyone = frozenset(self._detector.heard_peers) | {self._me}
        alike = []
        rows = []
        for peer in self._detector.heard_peers:
            word = self._own.get(peer)
            if word is None:
                continue
            if word.hearing.view == my_view and word.hearing.hears | {peer} == everyone:
                alike.append(int(peer))
            else:
                rows.append(Row(peer, word.hearing.view, tuple(sorted(word.hearing.hears))))
        return tuple(alike), tuple(rows)
