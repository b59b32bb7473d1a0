"""The failure detector: which peers are heard, on which links.

Decided here: when a link to a peer is up or down, when a peer is lost, how long a link that was down must prove
itself. Not decided here: who is in the view (clique.py, rounds.py).

* A link to a peer is up after three beats; after a loss they must come for `proving_ns` without a hole, doubled with
  each loss of a link that was up for less than sixty tokens (to 32 s). A run of a peer heard for the first time need
  not wait.
* A link is down after `token_ns` of silence, a good-bye, or the peer's restart. A peer is heard while any link to it
  is up.
* After a stall of our own nothing is judged until the packets that waited have been heard (`judge_after`).
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.core.messaging.configuration import EngineConfiguration, LinkConfiguration
from quorate.model.ids import NodeId

BEATS_TO_PROVE = 3
SUSPECT_BEATS = 3
STEADY_TOKENS = 60
FLAPS_FREE = 3  # so many losses may a link have had when a new run is still believed at once


@dataclass(frozen=True, slots=True)
class LinkTurn:
    """A link to a peer went up or down."""

    peer: NodeId
    link: str
    up: bool
    cause: str


@dataclass(slots=True)
class PeerLink:
    """One link to one peer, as heard here."""

    link: LinkConfiguration
    address: str
    up: bool = False
    is_suspect: bool = False  # silent for some beats: others go first
    heard_at: int = 0
    proving_since: int = 0
    beats: int = 0
    flaps: int = 0
    up_since: int = 0
    heard_there: bool = False  # the peer says that it hears us on this link
    one_way_since: int = 0
    received: int = 0
    lost: int = 0
    beat_number: int = 0
    stamp: int = 0
    stamp_at: int = 0
    rtt_us: int | None = None


@dataclass(slots=True)
class Peer:
    node: NodeId
    links: dict[str, PeerLink]
    run: int = 0
    farewell: int = 0  # the run that said good-bye
    heard: bool = False


class FailureDetector:
    """Hearing of all peers. `heard_peers` is sorted; `version` grows whenever it changes."""

    def __init__(self, configuration: EngineConfiguration) -> None:
        self._configuration = configuration
        peers: dict[NodeId, dict[str, PeerLink]] = {n.id: {} for n in configuration.nodes if n.id != configuration.node}
        for link in configuration.links:
            for node, address in link.peers:
                peers[node][link.name] = PeerLink(link, address)
        self.peers = {node: Peer(node, links) for node, links in sorted(peers.items())}
        self.heard_peers: tuple[NodeId, ...] = ()
        self.version = 0
        self.judge_after = 0

    def heard(self, node: NodeId, link_name: str, run: int, is_beat: bool, now: int) -> list[LinkTurn] | None:
        """Any authentic packet. None: the packet is void (after its run's good-bye, or by a link not configured)."""
        peer = self.peers.get(node)
        if peer is None or link_name not in peer.links or run == peer.farewell:
            return None
        turns: list[LinkTurn] = []
        if run != peer.run:
            turns += self._down_all(peer, "the peer restarted", now)
            peer.run = run
            for other in peer.links.values():
                other.beats, other.beat_number, other.stamp = 0, 0, 0
                if other.flaps < FLAPS_FREE:
                    other.proving_since = -1
        link = peer.links[link_name]
        link.received += 1
        if not link.up:
            if is_beat and self._proves(link, now):
                link.up, link.up_since = True, now
                turns.append(LinkTurn(node, link_name, True, "beats heard"))
                self._refresh(peer)
        link.heard_at = now
        link.is_suspect = False
        return turns

    def _proves(self, link: PeerLink, now: int) -> bool:
        if link.beats and now - link.heard_at > self._configuration.token_ns // 2:
            link.beats = 0
            if link.proving_since != -1:
                link.proving_since = now
        if link.beats == 0 and link.proving_since != -1:
            link.proving_since = now
        link.beats += 1
        if link.beats < BEATS_TO_PROVE:
            return False
        return link.proving_since == -1 or now - link.proving_since >= self.proving_ns(link)

    def proving_ns(self, link: PeerLink) -> int:
        doubled = self._configuration.proving_ns << min(max(link.flaps - 1, 0), 10)
        return min(doubled, self._configuration.proving_ns_max)

    def farewell(self, node: NodeId, now: int) -> list[LinkTurn]:
        peer = self.peers[node]
        peer.farewell = peer.run
        return self._down_all(peer, "the peer said good-bye", now)

    def judge(self, now: int) -> list[LinkTurn]:
        """Links that have been silent for a token go down."""
        if now < self.judge_after:
            return []
        turns: list[LinkTurn] = []
        for peer in self.peers.values():
            for link in peer.links.values():
                link.is_suspect = now - link.heard_at > SUSPECT_BEATS * self._configuration.beat_ns
                if link.up and now - link.heard_at >= self._configuration.token_ns:
                    self._take_down(link, now)
                    turns.append(LinkTurn(peer.node, link.link.name, False, "silent for a token"))
            self._refresh(peer)
        return turns

    def deadline(self) -> int | None:
        """When `judge` may next find something."""
        heard = [link.heard_at for peer in self.peers.values() for link in peer.links.values() if link.up]
        if not heard:
            return None
        return max(min(heard) + self._configuration.token_ns, self.judge_after)

    def excuse_all(self, now: int) -> None:
        """After a pause of our own: every silence so far may be ours."""
        for peer in self.peers.values():
            for link in peer.links.values():
                link.one_way_since = now
                if link.up:
                    link.heard_at = now

    def hears(self, node: NodeId) -> bool:
        return self.peers[node].heard

    def best_link(self, node: NodeId) -> str | None:
        """Up before down, heard both ways and lately before doubtful, quick before slow, then as configured."""
        best: tuple[tuple[bool, bool, bool], str] | None = None
        for name, link in self.peers[node].links.items():
            rank = (not link.up, link.is_suspect or not link.heard_there, link.link.is_slow)
            if best is None or rank < best[0]:
                best = (rank, name)
        return best[1] if best else None

    def is_slow(self, node: NodeId) -> bool:
        """Whether the best way to the peer is a slow link."""
        name = self.best_link(node)
        return name is not None and self.peers[node].links[name].link.is_slow

    def heard_on(self, link_name: str) -> tuple[NodeId, ...]:
        return tuple(n for n, p in self.peers.items() if link_name in p.links and p.links[link_name].up)

    def _down_all(self, peer: Peer, cause: str, now: int) -> list[LinkTurn]:
        turns = []
        for name, link in peer.links.items():
            if link.up:
                self._take_down(link, now)
                turns.append(LinkTurn(peer.node, name, False, cause))
        self._refresh(peer)
        return turns

    def _take_down(self, link: PeerLink, now: int) -> None:
        steady = now - link.up_since >= STEADY_TOKENS * self._configuration.token_ns
        link.flaps = 1 if steady else link.flaps + 1
        link.up = False
        link.heard_there = False
        link.beats = 0
        link.proving_since = now

    def _refresh(self, peer: Peer) -> None:
        heard = any(link.up for link in peer.links.values())
        if heard != peer.heard:
            peer.heard = heard
            self.version += 1
            self.heard_peers = tuple(node for node, other in self.peers.items() if other.heard)
