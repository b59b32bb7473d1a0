"""View changes: who proposes when, what a member promises, when a view begins.

One change is one round. The lowest node of the wanted members proposes; each member freezes its view and answers with
its state; from all states the candidate concludes the Install (conclusion.py); each member delivers up to the cut and
begins the view.

* A member answers only rounds not below the one it promised, and installs only the round it promised last: its state
  in a later round must stay true.
* It answers only if it hears every proposed member itself. So all in a view hear each other both ways.
* A change waits `hold_ns` for others to join it, unless all who remain say that they hear exactly each other.
* Who does not answer within `answer_ns` is left out of the next round; a candidate that does not propose within
  `patience_ns` is done without. Both are shunned for as long only.
* After a pause of our own we ask for a new round, take no part in those of before, and for a window propose and accept
  nothing that lacks a former member whom we hear: it may have lost us rightly, and will take us back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.core.membership.conclusion import conclude
from quorate.core.membership.links import FailureDetector
from quorate.core.membership.neighbourhood import Neighbourhood
from quorate.core.messaging.configuration import EngineConfiguration
from quorate.core.messaging.conversation import Conversation
from quorate.core.messaging.outbox import Outbox
from quorate.model import wire
from quorate.model.ids import NodeId

COUNTERS_RESERVED = 1000


@dataclass(slots=True)
class Candidacy:
    """A round that this node leads, until all states are in."""

    round: wire.ViewKey
    members: tuple[tuple[int, int], ...]
    started_at: int
    states: dict[int, wire.State] = field(default_factory=dict)

    def silent(self) -> tuple[NodeId, ...]:
        return tuple(NodeId(node) for node, _ in self.members if node not in self.states)


@dataclass(slots=True)
class Announcement:
    """An Install that some members have not confirmed."""

    install: wire.Install
    unconfirmed: list[NodeId]


class ViewChanges:
    """One node's part in the rounds."""

    def __init__(
        self,
        configuration: EngineConfiguration,
        detector: FailureDetector,
        neighbourhood: Neighbourhood,
        conversation: Conversation,
        outbox: Outbox,
    ) -> None:
        self._configuration = configuration
        self._me = configuration.node
        self._detector = detector
        self._neighbourhood = neighbourhood
        self._conversation = conversation
        self._outbox = outbox
        self._run = 0
        self._started_at = 0
        self.counter = 0
        self._stored = 0
        self.promised = wire.NO_KEY
        self._candidacy: Candidacy | None = None
        self._announcement: Announcement | None = None
        self._wanted: tuple[int, ...] = ()
        self._wanted_since = 0
        self._waiting_since = 0
        self._not_before = 0
        self._hurry = False
        self._paused_until = 0
        self._void_round = wire.NO_KEY  # promised before a pause: what waited in the sockets of it is of the past
        self.wants_reform = False
        self._disagree_since: dict[int, int] = {}

    def start(self, run: int, counter_floor: int, now: int) -> None:
        self._run = run
        self._started_at = now
        self.counter = self._stored = counter_floor
        self._reserve_counter(COUNTERS_RESERVED // 2)

    def saw_counter(self, counter: int) -> None:
        self.counter = max(self.counter, counter)

    # ---- deciding -----------------------------------------------------------------------------------------------

    def consider(self, now: int) -> None:
        """Looks whether a view change is due and whether it is this node's to propose."""
        self._reserve_counter(COUNTERS_RESERVED // 2)
        self._neighbourhood.forgive(now)
        wanted = self._neighbourhood.wanted(self._conversation.key, self.wants_reform)
        if wanted != self._wanted:
            self._wanted = wanted
            self._wanted_since = self._waiting_since = now
        if not self._is_change_due(now):
            self._waiting_since = now
            self._hurry = False
            return
        if wanted[0] == self._me:
            self._lead(now)
        elif now - self._waiting_since >= self._configuration.patience_ns:
            self._outbox.report("does-not-propose", node=wanted[0], wanted=wanted)
            self._neighbourhood.shun(wanted[0], now + self._configuration.patience_ns)
            self._hurry = True
            self._waiting_since = now

    def _members(self) -> tuple[tuple[int, int], ...]:
        return tuple((n, self._run if n == self._me else self._detector.peers[NodeId(n)].run) for n in self._wanted)

    def _is_change_due(self, now: int) -> bool:
        conversation = self._conversation
        if conversation.view is None or conversation.frozen:
            return True
        if tuple(sorted(conversation.view.runs.items())) != self._members():
            return True
        if conversation.is_coordinator:
            others = [node for node in conversation.view.nodes if node != self._me]
            return any([self._disagrees(node, now) for node in others])
        return self._disagrees(NodeId(conversation.key[1]), now)

    def _disagrees(self, node: NodeId, now: int) -> bool:
        """Whether a member has been in another view, or without one, for longer than a change takes."""
        flags = self._neighbourhood.flags_of(node)
        same = self._neighbourhood.view_of(node) == self._conversation.key
        if same and not flags & (wire.FLAG_FROZEN | wire.FLAG_REFORM):
            self._disagree_since.pop(node, None)
            return False
        since = self._disagree_since.setdefault(node, now)
        return (same and bool(flags & wire.FLAG_REFORM)) or now - since >= self._configuration.answer_ns

    def _lead(self, now: int) -> None:
        candidacy = self._candidacy
        if candidacy is not None and candidacy.members == self._members():
            if now - candidacy.started_at >= self._configuration.answer_ns:
                self._leave_out_silent(candidacy, now)
            return
        if self._conversation.pending is not None and self.promised[1] == self._me:
            if now - self._wanted_since < self._configuration.answer_ns:
                return  # our own Install lacks blocks that are being fetched
        due = self._proposal_due(now)
        if due is None:
            return
        if due > now:
            self._outbox.set_timer("round", due)
            return
        self._propose(now)

    def _proposal_due(self, now: int) -> int | None:
        """When to propose the wanted members; None: not before something else happens (looked at again with each
        beat)."""
        configuration = self._configuration
        view = self._conversation.view
        if self._deserted(self._wanted, now):
            return None
        agreed = self._neighbourhood.is_agreed(self._wanted)
        held = self._wanted_since + configuration.hold_ns
        if view is None and len(self._wanted) < len(configuration.nodes):
            others_in_view = any(
                self._neighbourhood.view_of(NodeId(n)) != wire.NO_KEY for n in self._wanted if n != self._me
            )
            if not others_in_view:
                held = max(held, self._started_at + configuration.token_ns)
                agreed = False
        due = now if agreed or self._hurry else held
        return max(due, self._not_before)

    def _deserted(self, members: tuple[int, ...], now: int) -> tuple[int, ...]:
        """After a pause of our own: former members whom this node hears and whom these members lack."""
        view = self._conversation.view
        if view is None or now >= self._paused_until:
            return ()
        return tuple(n for n in view.nodes if n not in members and n != self._me and self._detector.hears(n))

    def _leave_out_silent(self, candidacy: Candidacy, now: int) -> None:
        for node in candidacy.silent():
            self._outbox.report("does-not-answer", node=node, round=candidacy.round)
            self._neighbourhood.shun(node, now + self._configuration.patience_ns)
        self._candidacy = None
        self._hurry = True
        self._outbox.set_timer("round", now + 1)

    # ---- the candidate ------------------------------------------------------------------------------------------

    def _propose(self, now: int) -> None:
        members = self._members()
        self.counter = max(self.counter, self.promised[0], self._conversation.key[0]) + 1
        self._reserve_counter()
        self.promised = (self.counter, self._me)
        self._conversation.freeze()
        candidacy = Candidacy(self.promised, members, now)
        candidacy.states[self._me] = self._conversation.standing(self.promised)
        self._candidacy = candidacy
        self._announcement = None
        self._hurry = False
        self._outbox.report("proposing", round=self.promised, members=self._wanted)
        if candidacy.silent():
            self._outbox.control(candidacy.silent(), wire.Propose(self.promised, members))
            self._outbox.set_timer("round", now + self._configuration.retry_ns)
        else:
            self._conclude(candidacy, now)

    def on_state(self, peer: NodeId, packet: wire.State, now: int) -> None:
        candidacy = self._candidacy
        if candidacy is None or packet.round != candidacy.round or (peer, packet.run) not in candidacy.members:
            return
        candidacy.states[peer] = packet
        if not candidacy.silent():
            self._conclude(candidacy, now)

    def _conclude(self, candidacy: Candidacy, now: int) -> None:
        install = conclude(candidacy.round, candidacy.states)
        others = [NodeId(node) for node, _ in candidacy.members if node != self._me]
        self._candidacy = None
        self._wanted_since = now
        if others:
            self._announcement = Announcement(install, others)
            self._outbox.control(tuple(others), install)
            self._outbox.set_timer("round", now + self._configuration.retry_ns)
        if self._conversation.prepare(install, now):
            self._finish(now)

    def on_refuse(self, peer: NodeId, packet: wire.Refuse, now: int) -> None:
        self.saw_counter(packet.counter)
        if self._candidacy is None or packet.round != self._candidacy.round:
            return
        proposed = {node for node, _ in self._candidacy.members}
        deserted = [node for node in packet.unheard if node not in proposed]
        if deserted and not self._neighbourhood.take_back(deserted):
            self._neighbourhood.set_aside(peer, now + self._configuration.token_ns)
        self._candidacy = None
        self._hurry = True
        wait = self._configuration.hold_ns if packet.unheard else self._configuration.retry_ns
        self._not_before = now + wait
        self._outbox.set_timer("round", now + wait)

    def on_round_timer(self, now: int) -> None:
        """Sends again what has not been answered."""
        if self._candidacy is not None:
            silent = self._candidacy.silent()
            self._outbox.control(silent, wire.Propose(self._candidacy.round, self._candidacy.members))
            self._outbox.set_timer("round", now + self._configuration.retry_ns)
        elif self._announcement is not None:
            self._outbox.control(tuple(self._announcement.unconfirmed), self._announcement.install)
            self._outbox.set_timer("round", now + self._configuration.retry_ns)
        self.consider(now)

    def on_confirmed(self, peer: NodeId, view: wire.ViewKey) -> None:
        """The peer shows that it is in this view."""
        announcement = self._announcement
        if announcement is None or announcement.install.round != view or peer not in announcement.unconfirmed:
            return
        announcement.unconfirmed.remove(peer)
        if not announcement.unconfirmed:
            self._announcement = None

    def on_peer_lost(self, peer: NodeId) -> None:
        if self._announcement is not None and peer in self._announcement.unconfirmed:
            self._announcement.unconfirmed.remove(peer)
            if not self._announcement.unconfirmed:
                self._announcement = None

    # ---- the member ---------------------------------------------------------------------------------------------

    def on_propose(self, peer: NodeId, packet: wire.Propose, now: int) -> None:
        self.saw_counter(packet.round[0])
        if packet.round == self._conversation.key:
            self._conversation.confirm()
            return
        unheard = self._unheard(packet.members) + self._deserted(tuple(node for node, _ in packet.members), now)
        is_past = packet.round < max(self.promised, self._conversation.key) or packet.round <= self._void_round
        if is_past or unheard or packet.round[1] != peer:
            counter = max(self.promised, self._conversation.key)[0]
            self._outbox.control((peer,), wire.Refuse(packet.round, counter, unheard))
            return
        if packet.round != self.promised:
            self.promised = packet.round
            self._candidacy = None
            self._announcement = None
            self._conversation.freeze()
        if self._conversation.pending is None:
            self._outbox.control((peer,), self._conversation.standing(packet.round))

    def _unheard(self, members: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
        """Proposed members that this node does not hear, or knows by another run; itself, if the run is not its own."""
        unheard = []
        for node, run in members:
            if node == self._me:
                if run != self._run:
                    unheard.append(node)
                continue
            peer = self._detector.peers.get(NodeId(node))
            if peer is None or not peer.heard or peer.run != run:
                unheard.append(node)
        if (self._me, self._run) not in members and self._me not in unheard:
            unheard.append(self._me)
        return tuple(unheard)

    def on_install(self, peer: NodeId, packet: wire.Install, now: int) -> None:
        if packet.round == self._conversation.key:
            self._conversation.confirm()
            return
        if packet.round != self.promised or packet.round[1] != peer or packet.round <= self._void_round:
            self._outbox.report("stale-install", round=packet.round, promised=self.promised)
            return
        if self._conversation.prepare(packet, now):
            self._finish(now)

    def on_filled(self, packet: wire.Filled, now: int) -> None:
        if self._conversation.on_filled(packet, now):
            self._finish(now)

    def _finish(self, now: int) -> None:
        former = self._conversation.view
        self.counter = max(self.counter, self.promised[0])
        self._reserve_counter()
        self._conversation.complete(now)
        view = self._conversation.view
        assert view is not None
        self.wants_reform = False
        self._disagree_since.clear()
        self._waiting_since = now
        if former is None or all(node in view.runs for node in former.runs):
            self._paused_until = 0
        self._conversation.confirm()
        self._outbox.report("view", view=view.id, nodes=view.nodes)

    def _reserve_counter(self, margin: int = 0) -> None:
        """What a view uses is stored before; `margin` does it early, so that no view change waits for a disk."""
        if self.counter + margin > self._stored:
            self._stored = self.counter + COUNTERS_RESERVED
            self._outbox.store_counter(self._stored)

    # ---- our own pause ------------------------------------------------------------------------------------------

    def on_stall(self, gap: int, now: int) -> None:
        """This node did nothing for `gap`, more than half a token: others may have lost it. Beyond a token they
        have."""
        self._paused_until = now + self._configuration.proving_ns_max + self._configuration.pause_window_ns
        if gap > self._configuration.token_ns:
            self._candidacy = None
            self._announcement = None
            self._void_round = self.promised
            self._conversation.freeze()
            self.wants_reform = True
            self._wanted_since = self._waiting_since = now
