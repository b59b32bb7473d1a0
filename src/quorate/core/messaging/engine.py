"""The embedded group layer `heartbeat`: one node's engine as one pure machine.

Decided here: what each event means for the parts (failure detector, neighbourhood, view changes, conversation), the
content of beats, our own stalls, the status. The contract upwards is model/group.py; events.py says what the driver
owes downwards.

Source of the design: view-synchronous group communication with a coordinator that numbers the messages of each view
(extended virtual synchrony); docs/engine.md tells it in prose.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from quorate.core.membership.links import FailureDetector, LinkTurn, PeerLink
from quorate.core.membership.neighbourhood import Neighbourhood
from quorate.core.membership.rounds import ViewChanges
from quorate.core.messaging.configuration import EngineConfiguration
from quorate.core.messaging.conversation import Conversation
from quorate.core.messaging.effects import Effect, Priority
from quorate.core.messaging.events import (
    Event,
    LinkFault,
    LinkTrouble,
    ManagerBack,
    ManagerGone,
    ManagerRequest,
    PacketReceived,
    Started,
    StopRequested,
    TimerFired,
)
from quorate.core.messaging.outbox import Outbox
from quorate.model import group, wire
from quorate.model.ids import MILLISECOND, SECOND, NodeId

ENGINE_NAME = "heartbeat"
DIAGNOSIS_GAP_NS = 10 * SECOND
GOODBYE_COPIES = 3
FIELD_CHARACTERS_MAX = 200


class HeartbeatEngine:
    """`handle(event, now)` returns the effects in the order in which they are to be carried out.

    Several events that wait together are better given to `handle_all`: what they cause is put into fewer packets.
    """

    def __init__(self, configuration: EngineConfiguration) -> None:
        self.configuration = configuration
        self._me = configuration.node
        self.detector = FailureDetector(configuration)
        self._outbox = Outbox(configuration, self.detector)
        self._neighbourhood = Neighbourhood(configuration.node, self.detector, configuration.token_ns)
        self._conversation = Conversation(configuration, self.detector, self._outbox)
        self._changes = ViewChanges(configuration, self.detector, self._neighbourhood, self._conversation, self._outbox)
        self._started = False
        self._stopped = False
        self._last_now = 0
        self._beat_numbers = {link.name: 0 for link in configuration.links}
        self._beat_at = {link.name: 0 for link in configuration.links}
        self._beat_wanted = False
        self._view_told = wire.NO_KEY
        self._diagnosed_at: dict[tuple[str, NodeId | None, str | None], int] = {}
        self._send_faults = 0

    def handle(self, event: Event, now: int) -> list[Effect]:
        return self.handle_all((event,), now)

    def handle_all(self, events: Iterable[Event], now: int) -> list[Effect]:
        """Events in order of arrival, at one moment."""
        for event in events:
            if self._stopped or not (self._started or isinstance(event, Started)):
                continue
            if self._started:
                self._notice_stall(now)
            self._dispatch(event, now)
        if self._started and not self._stopped:
            self._conversation.flush(now)
            if self._beat_wanted or self._conversation.key != self._view_told:
                self._view_told = self._conversation.key
                self._send_beats(now)
        return self._outbox.take(now)

    def _dispatch(self, event: Event, now: int) -> None:
        match event:
            case PacketReceived():
                self._on_packet(event, now)
            case TimerFired(name=name):
                self._on_timer(name, now)
            case ManagerRequest(request=request):
                self._on_request(request)
            case ManagerGone(cause=cause):
                self._outbox.report("manager-gone", cause=cause)
                self._conversation.leave(tell=False)
            case ManagerBack():
                if not self._conversation.manager:
                    self._outbox.to_manager(group.EngineGone(cause="the manager stalled and was taken out; join again"))
            case LinkFault(link=link, cause=cause):
                self._send_faults += 1
                self._diagnose("send-error", None, link, {"cause": cause}, now)
            case LinkTrouble(code=code, peer=peer, link=link, fields=fields):
                self._diagnose(code, peer, link, dict(fields), now)
            case Started():
                self._on_started(event, now)
            case StopRequested(cause=cause):
                self._on_stop(cause)
            case _:
                assert_never(event)

    # ---- life ---------------------------------------------------------------------------------------------------

    def _on_started(self, event: Started, now: int) -> None:
        self._started = True
        self._last_now = now
        run = event.incarnation & wire.RUN_MASK
        self._conversation.start(run)
        self._changes.start(run, event.counter_floor, now)
        self._outbox.report("started", token_ms=self.configuration.token_ms, run=run)
        self._tick(now)

    def _on_stop(self, cause: str) -> None:
        peers = tuple(self.detector.peers)
        for _ in range(GOODBYE_COPIES):
            self._outbox.control(peers, wire.GoodBye(cause[:FIELD_CHARACTERS_MAX]))
        self._outbox.report("stopping", cause=cause)
        self._stopped = True

    def _notice_stall(self, now: int) -> None:
        gap = now - self._last_now
        self._last_now = now
        configuration = self.configuration
        if gap <= 2 * configuration.beat_ns:
            return
        self.detector.judge_after = now + configuration.beat_ns
        if gap <= configuration.token_ns // 2:
            return
        self._changes.on_stall(gap, now)
        if gap > configuration.token_ns:
            self.detector.excuse_all(now)
            self._beat_wanted = True
            self._outbox.report("paused", gap_ms=gap // MILLISECOND)
            self._tell_diagnosis("paused", None, None, {"gap_ms": str(gap // MILLISECOND)})

    # ---- timers and beats ---------------------------------------------------------------------------------------

    def _on_timer(self, name: str, now: int) -> None:
        self._outbox.timer_fired(name)
        if name == "beat":
            self._tick(now)
        elif name == "detect":
            self._judge(now)
            self._arm_detection(now)
        elif name == "round":
            self._changes.on_round_timer(now)
        elif name == "resend":
            self._conversation.on_resend_timer(now)

    @property
    def _beat_interval(self) -> int:
        return self.configuration.beat_fast_ns if self._conversation.view is None else self.configuration.beat_ns

    def _tick(self, now: int) -> None:
        self._send_beats(now)
        self._outbox.set_timer("beat", now + self._beat_interval)
        self._judge(now)
        self._arm_detection(now)
        self._diagnose_one_way(now)
        self._conversation.is_narrow = self._is_narrow()
        self._changes.consider(now)

    def _judge(self, now: int) -> None:
        turns = self.detector.judge(now)
        if turns:
            self._on_turns(turns, now)

    def _arm_detection(self, now: int) -> None:
        """A timer of its own only if silence would be a token long before the next beat."""
        deadline = self.detector.deadline()
        if deadline is not None and deadline < now + self._beat_interval:
            self._outbox.set_timer("detect", max(deadline, now + MILLISECOND))

    def _is_narrow(self) -> bool:
        view = self._conversation.view
        if view is None:
            return False
        if self._conversation.is_coordinator:
            return any(self.detector.is_slow(node) for node in view.nodes if node != self._me)
        coordinator = NodeId(view.key[1])
        narrow_there = bool(self._neighbourhood.flags_of(coordinator) & wire.FLAG_NARROW)
        return narrow_there or self.detector.is_slow(coordinator)

    def _send_beats(self, now: int) -> None:
        self._beat_wanted = False
        for link in self.configuration.links:
            self._send_beat(link.name, tuple(peer for peer, _ in link.peers), now)

    def _send_beat(self, link: str, peers: tuple[NodeId, ...], now: int) -> None:
        if not peers:
            return
        self._beat_numbers[link] += 1
        self._beat_at[link] = now
        conversation = self._conversation
        alike, rows = self._neighbourhood.reports(conversation.key)
        sequencer = conversation.sequencer
        beat = wire.Beat(
            number=self._beat_numbers[link],
            stamp=now // 1000,
            view=conversation.key,
            counter=self._changes.counter,
            flags=self._flags(),
            hears=self.detector.heard_peers,
            hears_here=self.detector.heard_on(link),
            alike=alike,
            rows=rows,
            echoes=self._echoes(link, now),
            received=conversation.log.received,
            top=sequencer.top if sequencer else 0,
            stable=sequencer.stable if sequencer else 0,
        )
        self._outbox.send(link, peers, beat, Priority.BEAT)

    def _flags(self) -> int:
        conversation = self._conversation
        return (
            (wire.FLAG_STARTING if conversation.view is None else 0)
            | (wire.FLAG_REFORM if self._changes.wants_reform else 0)
            | (wire.FLAG_NARROW if conversation.is_narrow else 0)
            | (wire.FLAG_FROZEN if conversation.frozen else 0)
        )

    def _echoes(self, link: str, now: int) -> tuple[tuple[int, int, int], ...]:
        fresh = now - 2 * self.configuration.beat_ns
        return tuple(
            (node, peer.links[link].stamp, (now - peer.links[link].stamp_at) // 1000)
            for node, peer in self.detector.peers.items()
            if link in peer.links and peer.links[link].stamp and peer.links[link].stamp_at >= fresh
        )

    # ---- packets ------------------------------------------------------------------------------------------------

    def _on_packet(self, event: PacketReceived, now: int) -> None:
        peer, packet = event.peer, event.packet
        known = self.detector.peers.get(peer)
        if known is None:
            return
        run = event.incarnation & wire.RUN_MASK
        if known.run != run:
            self._neighbourhood.forget(peer)
        is_beat = isinstance(packet, wire.Beat)
        turns = self.detector.heard(peer, event.link, run, is_beat, now)
        if turns is None:
            return
        if isinstance(packet, wire.Beat):
            self._on_beat(peer, event.link, packet, bool(turns), now)
        if turns:
            self._on_turns(turns, now)
        match packet:
            case wire.Ordered():
                self._conversation.on_ordered(packet, now)
            case wire.Submitted():
                self._changes.on_confirmed(peer, packet.view)
                self._conversation.on_submitted(peer, packet, now)
            case wire.Ack():
                self._changes.on_confirmed(peer, packet.view)
                self._conversation.on_ack(peer, packet, now)
            case wire.Top():
                self._conversation.on_top_packet(packet)
            case wire.Propose():
                self._changes.on_propose(peer, packet, now)
            case wire.State():
                self._changes.on_state(peer, packet, now)
            case wire.Install():
                self._changes.on_install(peer, packet, now)
            case wire.Refuse():
                self._changes.on_refuse(peer, packet, now)
            case wire.Fetch():
                self._conversation.on_fetch(peer, packet)
            case wire.Filled():
                self._changes.on_filled(packet, now)
            case wire.GoodBye():
                self._on_turns(self.detector.farewell(peer, now), now)
            case wire.Beat() | wire.Challenge() | wire.ChallengeAnswer():
                pass
            case _:
                assert_never(packet)

    def _on_beat(self, peer: NodeId, link_name: str, beat: wire.Beat, turned: bool, now: int) -> None:
        link = self.detector.peers[peer].links[link_name]
        if link.beat_number and beat.number > link.beat_number + 1:
            link.lost += beat.number - link.beat_number - 1
        if beat.number <= link.beat_number:
            return  # overtaken by a later one: only proves that it was sent
        link.beat_number = beat.number
        link.stamp, link.stamp_at = beat.stamp, now
        link.heard_there = self._me in beat.hears_here
        for node, stamp, held_us in beat.echoes:
            if node == self._me:
                link.rtt_us = max(0, now // 1000 - stamp - held_us)
        self._changes.saw_counter(beat.counter)
        self._changes.on_confirmed(peer, beat.view)
        self._conversation.on_beat(peer, beat, now)
        changed = self._neighbourhood.on_beat(peer, beat, now)
        if beat.flags & wire.FLAG_STARTING and now - self._beat_at[link_name] >= self.configuration.beat_fast_ns // 2:
            self._send_beat(link_name, (peer,), now)
        if changed and not turned:
            self._changes.consider(now)

    def _on_turns(self, turns: list[LinkTurn], now: int) -> None:
        for turn in turns:
            self._outbox.report("link-up" if turn.up else "link-down", peer=turn.peer, link=turn.link, cause=turn.cause)
            if self._conversation.manager:
                self._outbox.to_manager(group.LinkChanged(peer=turn.peer, link=turn.link, up=turn.up, cause=turn.cause))
            if not self.detector.hears(turn.peer):
                self._neighbourhood.forget(turn.peer)
                self._changes.on_peer_lost(turn.peer)
        self._beat_wanted = True
        self._changes.consider(now)

    # ---- the manager --------------------------------------------------------------------------------------------

    def _on_request(self, request: group.EngineRequest) -> None:
        match request:
            case group.Submit():
                self._conversation.submit(request)
            case group.Join(incarnation=incarnation):
                self._conversation.join(incarnation)
            case group.Leave():
                self._conversation.leave(tell=True)
            case group.StatusAsked():
                self._outbox.to_manager(self._status())
            case _:
                assert_never(request)

    def _status(self) -> group.EngineStatus:
        view = self._conversation.view
        shown = None
        if view is not None:
            members = tuple(NodeId(node) for node in sorted(view.managers))
            shown = group.View(id=view.id, nodes=view.nodes, members=members, transitional=())
        links = tuple(
            self._link_status(node, link) for node, peer in self.detector.peers.items() for link in peer.links.values()
        )
        counters = {**self._conversation.facts(), "dropped": self._outbox.dropped, "send_faults": self._send_faults}
        return group.EngineStatus(
            engine=ENGINE_NAME,
            node=self._me,
            token_ms=self.configuration.token_ms,
            view=shown,
            links=links,
            counters=counters,
        )

    @staticmethod
    def _link_status(node: NodeId, link: PeerLink) -> group.LinkStatus:
        return group.LinkStatus(
            peer=node,
            link=link.link.name,
            up=link.up,
            kind=link.link.kind.value,
            address=link.address,
            received=link.received,
            lost=link.lost,
            rtt_us=link.rtt_us,
        )

    # ---- diagnoses ----------------------------------------------------------------------------------------------

    def _diagnose_one_way(self, now: int) -> None:
        limit = 2 * self.configuration.token_ns
        for node, peer in self.detector.peers.items():
            for name, link in peer.links.items():
                if not link.up or link.heard_there:
                    link.one_way_since = now
                elif now - link.one_way_since >= limit:
                    self._diagnose("one-way", node, name, {"direction": "we hear the peer, it does not hear us"}, now)

    def _diagnose(self, code: str, peer: NodeId | None, link: str | None, fields: dict[str, str], now: int) -> None:
        """At most one of a kind in ten seconds."""
        key = (code, peer, link)
        at = self._diagnosed_at.get(key)
        if at is not None and now - at < DIAGNOSIS_GAP_NS:
            return
        self._diagnosed_at[key] = now
        self._tell_diagnosis(code, peer, link, fields)

    def _tell_diagnosis(self, code: str, peer: NodeId | None, link: str | None, fields: dict[str, str]) -> None:
        short = {name: value[:FIELD_CHARACTERS_MAX] for name, value in fields.items()}
        self._outbox.report("diagnosis", **{**short, "what": code, "node": peer, "by": link})
        if self._conversation.manager:
            self._outbox.to_manager(group.Diagnosis(code=code, peer=peer, link=link, fields=short))
