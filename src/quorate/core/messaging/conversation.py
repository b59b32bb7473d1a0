"""Agreed messages in one view after another, and the managers that take part.

Decided here: what is sent, numbered, delivered and reported to the manager in a view; how a view is ended (`freeze`,
`standing`) and the next begun (`prepare`, `complete`). Not decided here: who is in a view and when it changes
(core/membership/rounds.py).

The view's coordinator numbers blocks (order.Sequencer) and multicasts them; a member delivers in number order as soon
as there is no gap. A member's blocks go to the coordinator in a stream of their own per view and are resent until
seen in the order. Nothing waits for a timer unless something was lost. Between `freeze` and `complete` nothing is
delivered, numbered or accepted, except blocks up to the cut that an Install names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from quorate.core.membership.conclusion import Marks, packed_marks
from quorate.core.membership.links import FailureDetector
from quorate.core.messaging.configuration import EngineConfiguration
from quorate.core.messaging.effects import Priority
from quorate.core.messaging.order import OrderLog, Sequencer
from quorate.core.messaging.outbox import Outbox
from quorate.core.messaging.submissions import ITEM_OVERHEAD_BYTES, SubmissionQueue
from quorate.model import group, wire
from quorate.model.ids import NodeId, ViewId

BLOCK_OVERHEAD_BYTES = 12
ACK_EVERY_BLOCKS = 4
COORDINATOR_UNSTABLE_FREE = 12  # own blocks are sent half full below so many unstable ones
MEMBER_OUTSTANDING_FREE = 4
RESEND_PACKETS = 4
NARROW_WINDOW_BLOCKS = 16  # a slow line holds no more without delaying a view change by seconds
NARROW_SUBMIT_BLOCKS = 8
REPAIR_BLOCKS = 48  # sent again for one request
BEYOND_MAX = 256


@dataclass(slots=True)
class GroupView:
    """The view this node is in. `managers`: node -> incarnation, in agreed order."""

    key: wire.ViewKey
    runs: dict[int, int]
    managers: dict[int, int]
    minor: int = 0
    nodes: tuple[NodeId, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = tuple(NodeId(node) for node in sorted(self.runs))

    @property
    def id(self) -> ViewId:
        return ViewId(self.key[0], self.key[1], self.minor)


class Conversation:
    """One node's part in the order, over all its views."""

    def __init__(self, configuration: EngineConfiguration, detector: FailureDetector, outbox: Outbox) -> None:
        self._configuration = configuration
        self._me = configuration.node
        self._detector = detector
        self._outbox = outbox
        self._queue = SubmissionQueue(self._me)
        self._run = 0
        self.view: GroupView | None = None
        self.log = OrderLog(wire.NO_KEY)
        self._previous: OrderLog | None = None
        self.sequencer: Sequencer | None = None
        self._marks: Marks = {}
        self._assembly: dict[int, tuple[int, list[bytes]]] = {}
        self.manager = 0
        self.frozen = True
        self.is_narrow = False
        self.pending: wire.Install | None = None
        self._fetch_attempt = 0
        self._acked = 0
        self._ack_wanted = False
        self._asked_gap_at = -1
        self._resend_gap = configuration.resend_ns
        self._resend_seen = (0, 0)
        self._told_room: int | None = None
        self._accepted_since_told = 0
        self._delivering = False
        self.counters = {"delivered": 0, "views": 0, "lost": 0, "resent": 0, "repaired": 0}

    def start(self, run: int) -> None:
        self._run = run

    @property
    def key(self) -> wire.ViewKey:
        return self.view.key if self.view else wire.NO_KEY

    @property
    def is_coordinator(self) -> bool:
        return self.sequencer is not None

    @property
    def _others(self) -> tuple[NodeId, ...]:
        return tuple(node for node in self.view.nodes if node != self._me) if self.view else ()

    @property
    def _fragment_bytes(self) -> int:
        return self._configuration.fragment_slow_bytes if self.is_narrow else self._configuration.fragment_bytes

    # ---- the manager --------------------------------------------------------------------------------------------

    def join(self, incarnation: int) -> None:
        manager = (incarnation & wire.RUN_MASK) or 1
        if manager == self.manager:
            return
        if self.manager:
            self.leave(tell=False)
        self.manager = manager
        self._told_room = None
        if self.view is not None:
            self._queue.control(wire.KIND_JOIN, manager)

    def leave(self, *, tell: bool) -> None:
        """Leave (`tell`: its submissions are answered) or be gone."""
        if not self.manager:
            return
        tokens = self._queue.forget_manager()
        if tell:
            for token in tokens:
                self._outbox.to_manager(group.SubmissionLost(token=token, cause="left"))
        if self.view is not None:
            self._queue.control(wire.KIND_LEAVE, self.manager)
        self.manager = 0

    def submit(self, request: group.Submit) -> None:
        cause = None
        if not self.manager:
            cause = "left"
        elif len(request.payload) > group.MESSAGE_BYTES_MAX:
            cause = "too-long"
        elif self._queue.queued_bytes + len(request.payload) > 2 * self._configuration.queue_bytes:
            cause = "overflow"
        if cause is not None:
            self._outbox.to_manager(group.SubmissionLost(token=request.token, cause=cause))
            return
        self._queue.add(request.token, request.payload, request.bulk)
        self._accepted_since_told += len(request.payload)

    def _tell_room(self) -> None:
        if not self.manager:
            return
        configuration = self._configuration
        bound = configuration.queue_slow_bytes if self.is_narrow else configuration.queue_bytes
        room = max(0, bound - self._queue.queued_bytes)
        told = self._told_room
        if (
            told is None
            or (room == 0) != (told == 0)
            or abs(room - told) * 4 >= bound
            or self._accepted_since_told * 8 >= bound
        ):
            self._told_room = room
            self._accepted_since_told = 0
            self._outbox.to_manager(group.FlowControl(room_bytes=room))

    # ---- between views ------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Nothing more happens in this view until `complete`; what an unfinished `prepare` fetched stays."""
        self.frozen = True
        self.pending = None

    def standing(self, round_key: wire.ViewKey) -> wire.State:
        """Where this node stands; only while frozen, so that it stays true."""
        log = self.log
        marks = dict(self._marks)
        for number in range(log.delivered + 1, log.received + 1):
            block = log.blocks[number]
            if last := _last_submission(block):
                marks[block.sender, self._run_of(block.sender)] = (last, self.key[0])
        beyond = tuple(
            (
                number,
                log.blocks[number].sender,
                self._run_of(log.blocks[number].sender),
                _last_submission(log.blocks[number]),
            )
            for number in log.beyond()[:BEYOND_MAX]
        )
        before = self.view.managers.get(self._me, 0) if self.view else 0
        alive = set(self.view.runs.items()) if self.view else set()
        return wire.State(
            round_key, self._run, self.key, log.received, beyond, packed_marks(marks, alive), self.manager, before
        )

    def _run_of(self, node: int) -> int:
        assert self.view is not None
        return self.view.runs[node]

    def prepare(self, install: wire.Install, now: int) -> bool:
        """The round's end is known. True if nothing is missing up to the cut, so that `complete` may follow."""
        if self.pending is None or self.pending.round != install.round:
            self.pending = install
            self._fetch_attempt = 0
            self._fetch(now)
        return self.is_filled

    @property
    def _section(self) -> wire.Section | None:
        if self.pending is None or self.view is None:
            return None
        return next((s for s in self.pending.sections if s.view == self.view.key), None)

    @property
    def is_filled(self) -> bool:
        if self.pending is None:
            return False
        section = self._section
        return section is None or self.log.received >= section.cut

    def _fetch(self, now: int) -> None:
        """Asks one source for each missing number; each attempt turns to the next source."""
        section = self._section
        if section is None or self.is_filled:
            return
        wanted: dict[int, list[tuple[int, int]]] = {}
        asked = 0
        for low, high in self.log.missing(section.cut):
            for number in range(low, min(high, low + REPAIR_BLOCKS - asked) + 1):
                sources = [n for n, received, beyond in section.sources if received >= number or number in beyond]
                source = sources[self._fetch_attempt % len(sources)]
                ranges = wanted.setdefault(source, [])
                if ranges and ranges[-1][1] == number - 1:
                    ranges[-1] = (ranges[-1][0], number)
                else:
                    ranges.append((number, number))
                asked += 1
            if asked >= REPAIR_BLOCKS:
                break
        for source, ranges in wanted.items():
            self._outbox.control((NodeId(source),), wire.Fetch(section.view, tuple(ranges)))
        self._fetch_attempt += 1

    def complete(self, now: int) -> None:
        """Delivers the old view up to the cut and begins the new one."""
        install = self.pending
        assert install is not None and self.is_filled
        section = self._section
        if section is not None:
            self._deliver(section.cut)
        self.pending = None
        transitional: tuple[int, ...] = ()
        if section is not None and self._me in section.transitional:
            transitional = section.transitional
        self._previous, self.log = self.log, OrderLog(install.round)
        self._assembly.clear()
        self._acked = 0
        self._ack_wanted = False
        self._asked_gap_at = -1
        self._resend_gap = self._configuration.resend_ns
        self.view = GroupView(
            install.round,
            {node: run for node, run, _ in install.members},
            {node: manager for node, _, manager in install.members if manager},
        )
        self._marks = {(node, run): (mark, touched) for node, run, mark, touched in install.marks}
        self.sequencer = None
        if install.round[1] == self._me:
            self.sequencer = Sequencer(
                self.view.nodes, self._configuration.window_blocks, self._configuration.submit_window_blocks
            )
        self.frozen = False
        self.counters["views"] += 1
        for token in self._queue.begin_view(self._marks.get((self._me, self._run), (0, 0))[0]):
            self.counters["lost"] += 1
            self._outbox.to_manager(group.SubmissionLost(token=token, cause="view-change"))
        self._tell_view(transitional)
        self._reconcile_manager()

    def _reconcile_manager(self) -> None:
        """What the Install says of our manager is what was true when this node answered the proposal."""
        assert self.view is not None
        agreed = self.view.managers.get(self._me, 0)
        if agreed == self.manager:
            return
        if agreed:
            self._queue.control(wire.KIND_LEAVE, agreed)
        if self.manager:
            self._queue.control(wire.KIND_JOIN, self.manager)

    @property
    def _is_member(self) -> bool:
        return self.manager != 0 and self.view is not None and self.view.managers.get(self._me) == self.manager

    def _tell_view(self, transitional: Iterable[int]) -> None:
        view = self.view
        if not self._is_member or view is None:
            return
        members = tuple(NodeId(node) for node in sorted(view.managers))
        together = {*transitional, self._me}
        self._outbox.to_manager(
            group.ViewChanged(
                view=group.View(
                    id=view.id,
                    nodes=view.nodes,
                    members=members,
                    transitional=tuple(node for node in members if node in together),
                )
            )
        )

    # ---- in a view: packets -------------------------------------------------------------------------------------

    def on_submitted(self, peer: NodeId, packet: wire.Submitted, now: int) -> None:
        if self.frozen or self.sequencer is None or packet.view != self.key:
            return
        self._on_progress(peer, packet.received, now)
        self.sequencer.submit(peer, packet.first, packet.blocks, packet.bulk)

    def on_ordered(self, packet: wire.Ordered, now: int) -> None:
        if self.frozen or packet.view != self.key:
            return
        for number, block in enumerate(packet.blocks, packet.first):
            self.log.add(number, block)
        self.on_top(packet.top, packet.stable)

    def on_top(self, top: int, stable: int) -> None:
        """The coordinator says where the order of this view stands."""
        self.log.top = max(self.log.top, top)
        self._deliver()
        self.log.free(stable)

    def on_top_packet(self, packet: wire.Top) -> None:
        if self.frozen or packet.view != self.key:
            return
        self.on_top(packet.top, packet.stable)
        self._ack_wanted = True

    def on_ack(self, peer: NodeId, packet: wire.Ack, now: int) -> None:
        if self.frozen or self.sequencer is None or packet.view != self.key:
            return
        self._on_progress(peer, packet.received, now)
        if packet.missing:
            self._send_blocks(peer, self.log, packet.missing)

    def on_beat(self, peer: NodeId, beat: wire.Beat, now: int) -> None:
        if self.frozen or beat.view != self.key:
            return
        if self.sequencer is not None:
            self._on_progress(peer, beat.received, now)
        elif peer == self.key[1]:
            self.on_top(beat.top, beat.stable)

    def _on_progress(self, peer: NodeId, received: int, now: int) -> None:
        assert self.sequencer is not None
        self.sequencer.acknowledge(peer, received, now)
        self.log.free(self.sequencer.stable)

    def on_fetch(self, peer: NodeId, packet: wire.Fetch) -> None:
        for log in (self.log, self._previous):
            if log is not None and log.view == packet.view and log.view != wire.NO_KEY:
                self._send_blocks(peer, log, packet.ranges)

    def on_filled(self, packet: wire.Filled, now: int) -> bool:
        """True if this made `complete` possible."""
        section = self._section
        if section is None or packet.view != section.view:
            return False
        new = False
        for number, block in enumerate(packet.blocks, packet.first):
            if number <= section.cut:
                new = self.log.add(number, block) or new
        if new and not self.is_filled and not self.log.missing(section.cut)[0][0] < packet.first:
            self._fetch_attempt = 0
            self._fetch(now)
        return self.is_filled

    def _send_blocks(self, peer: NodeId, log: OrderLog, ranges: Iterable[tuple[int, int]]) -> None:
        """Again, to one peer: as Ordered while the view lasts, as Filled for a view that ended or is frozen."""
        sent = 0
        live = log is self.log and not self.frozen and self.sequencer is not None
        for low, high in ranges:
            run: list[wire.Block] = []
            for number in range(low, min(high, low + REPAIR_BLOCKS - sent - 1) + 1):
                block = log.blocks.get(number)
                if block is None:
                    break
                run.append(block)
            sent += len(run)
            for first, blocks in self._packed(low, run):
                if live:
                    assert self.sequencer is not None
                    again: wire.Packet = wire.Ordered(
                        log.view, first, self.sequencer.top, self.sequencer.stable, blocks
                    )
                else:
                    again = wire.Filled(log.view, first, blocks)
                self._outbox.data((peer,), again)
            if sent >= REPAIR_BLOCKS:
                break
        self.counters["repaired"] += sent

    def _packed(self, first: int, blocks: list[wire.Block]) -> list[tuple[int, tuple[wire.Block, ...]]]:
        """Consecutive blocks in packets of about one frame."""
        packets: list[tuple[int, tuple[wire.Block, ...]]] = []
        budget = self._fragment_bytes + 2 * BLOCK_OVERHEAD_BYTES
        start, size = 0, 0
        for index, block in enumerate(blocks):
            cost = BLOCK_OVERHEAD_BYTES + sum(len(item) + ITEM_OVERHEAD_BYTES for item in block.items)
            if index > start and size + cost > budget:
                packets.append((first + start, tuple(blocks[start:index])))
                start, size = index, 0
            size += cost
        if start < len(blocks):
            packets.append((first + start, tuple(blocks[start:])))
        return packets

    # ---- in a view: what is due at the end of each event ----------------------------------------------------------

    def flush(self, now: int) -> None:
        """Sends, numbers and delivers all that may be; arms the timer that repairs losses."""
        if self.view is not None and not self.frozen:
            while self._submit() | self._order(now):
                self._deliver()
            self._acknowledge(now)
        self._tell_room()
        if self._outbox.timer("resend") is None and self._may_need_repair():
            self._outbox.set_timer("resend", now + self._resend_gap)

    def _submit(self) -> bool:
        formed: list[tuple[int, wire.Block, bool]] = []
        queue = self._queue
        window = NARROW_SUBMIT_BLOCKS if self.is_narrow else self._configuration.submit_window_blocks
        while len(queue.outstanding) < window:
            if self.sequencer is not None:
                must_be_full = self.sequencer.top - self.sequencer.stable >= COORDINATOR_UNSTABLE_FREE
            else:
                must_be_full = len(queue.outstanding) >= MEMBER_OUTSTANDING_FREE
            entry = queue.next_block(self._fragment_bytes, must_be_full)
            if entry is None:
                break
            formed.append(entry)
            if self.sequencer is not None:
                self.sequencer.submit(self._me, entry[0], (entry[1],), entry[2])
        if formed and self.sequencer is None:
            self._send_submitted(formed)
        return bool(formed)

    def _send_submitted(self, entries: list[tuple[int, wire.Block, bool]], packets_max: int | None = None) -> None:
        """`entries` are consecutive in the stream."""
        sent = start = 0
        while start < len(entries) and (packets_max is None or sent < packets_max):
            bulk = entries[start][2]
            end = start
            while end < len(entries) and entries[end][2] == bulk:
                end += 1
            for first, blocks in self._packed(entries[start][0], [block for _, block, _ in entries[start:end]]):
                if packets_max is not None and sent >= packets_max:
                    break
                packet = wire.Submitted(self.key, first, self.log.received, bulk, blocks)
                priority = Priority.BULK if bulk else Priority.NORMAL
                self._outbox.data((NodeId(self.key[1]),), packet, priority)
                self._acked = self.log.received
                sent += 1
            start = end

    def _order(self, now: int) -> bool:
        if self.sequencer is None:
            return False
        numbered: list[wire.Block] = []
        first = self.sequencer.top + 1
        window = NARROW_WINDOW_BLOCKS if self.is_narrow else None
        while (block := self.sequencer.next_block(window)) is not None:
            self.log.add(self.sequencer.top, block)
            numbered.append(block)
            if len(self.sequencer.acked) == 1:
                self.sequencer.acknowledge(self._me, self.log.received, now)
        if not numbered:
            return False
        self.sequencer.acknowledge(self._me, self.log.received, now)
        others = self._others
        if others:
            for number, blocks in self._packed(first, numbered):
                packet = wire.Ordered(self.key, number, self.sequencer.top, self.sequencer.stable, blocks)
                self._outbox.data(others, packet)
        return True

    def _deliver(self, up_to: int | None = None) -> None:
        while (block := self.log.next_block(up_to)) is not None:
            self._deliver_block(block)
        if self.sequencer is not None:
            self.log.free(self.sequencer.stable)

    def _deliver_block(self, block: wire.Block) -> None:
        sender = block.sender
        if sender == self._me:
            self._queue.seen()
        if block.kind == wire.KIND_MESSAGES:
            for number, payload in enumerate(block.items, block.start):
                self._deliver_message(sender, number, payload)
        elif block.kind == wire.KIND_FIRST:
            self._assembly[sender] = (block.start, [block.items[0]])
            return
        elif block.kind in (wire.KIND_MIDDLE, wire.KIND_LAST):
            number, parts = self._assembly[sender]
            assert number == block.start, "fragments of one sender come in its order"
            parts.append(block.items[0])
            if block.kind == wire.KIND_MIDDLE:
                return
            self._deliver_message(sender, number, b"".join(parts))
        else:
            self._deliver_control(sender, block.kind, int(block.items[0]))
        self._assembly.pop(sender, None)
        if last := _last_submission(block):
            self._marks[sender, self._run_of(sender)] = (last, self.key[0])

    def _deliver_message(self, sender: int, number: int, payload: bytes) -> None:
        token = self._queue.delivered(number) if sender == self._me else None
        view = self.view
        assert view is not None
        if sender not in view.managers or not self._is_member:
            return
        self.counters["delivered"] += 1
        self._outbox.to_manager(group.Delivered(view=view.id, sender=NodeId(sender), payload=payload, token=token))

    def _deliver_control(self, sender: int, kind: int, incarnation: int) -> None:
        view = self.view
        assert view is not None
        before = dict(view.managers)
        if kind == wire.KIND_JOIN and before.get(sender) != incarnation:
            view.managers[sender] = incarnation
        elif kind == wire.KIND_LEAVE and before.get(sender) == incarnation:
            del view.managers[sender]
        else:
            return
        view.minor += 1
        together = [node for node, manager in view.managers.items() if before.get(node) == manager]
        self._tell_view(together if self._me in together else ())

    def _acknowledge(self, now: int) -> None:
        """A member's answer: every few blocks, when asked, and at once when a gap appears."""
        if self.sequencer is not None:
            return
        log = self.log
        missing: tuple[tuple[int, int], ...] = ()
        if log.top > log.received and self._asked_gap_at != log.received:
            self._asked_gap_at = log.received
            missing = log.missing(log.top)
        if missing or self._ack_wanted or log.received - self._acked >= ACK_EVERY_BLOCKS:
            self._send_ack(missing)

    def _send_ack(self, missing: tuple[tuple[int, int], ...]) -> None:
        self._ack_wanted = False
        self._acked = self.log.received
        self._outbox.data((NodeId(self.key[1]),), wire.Ack(self.key, self.log.received, missing))

    def confirm(self) -> None:
        """Tells the coordinator that its view is installed here."""
        if self.view is not None and not self.frozen and self.sequencer is None:
            self._outbox.control((NodeId(self.key[1]),), wire.Ack(self.key, self.log.received, ()))

    # ---- repair -------------------------------------------------------------------------------------------------

    def _may_need_repair(self) -> bool:
        if self.pending is not None:
            return True
        if self.view is None or self.frozen:
            return False
        if self.sequencer is not None:
            return self.sequencer.stable < self.sequencer.top
        return bool(self._queue.outstanding) or self.log.top > self.log.received

    def on_resend_timer(self, now: int) -> None:
        if self.pending is not None:
            self._fetch(now)
            self._resend_gap = self._configuration.retry_ns
            return
        if self.view is None or self.frozen:
            return
        if self.sequencer is not None:
            self._repair_as_coordinator(now)
        else:
            self._repair_as_member()

    def _repair_as_coordinator(self, now: int) -> None:
        """Members that said nothing for a while are told the top: they answer with what they miss."""
        assert self.sequencer is not None
        sequencer = self.sequencer
        silent = tuple(
            NodeId(node)
            for node in sequencer.behind()
            if now - sequencer.acked_at[node] >= self._configuration.resend_ns
        )
        if silent:
            self._outbox.data(silent, wire.Top(self.key, sequencer.top, sequencer.stable))
        self._back_off((sequencer.stable, sequencer.top))

    def _repair_as_member(self) -> None:
        head = self._queue.outstanding[0][0] if self._queue.outstanding else 0
        stuck = self._resend_seen == (head, self.log.received)
        self._back_off((head, self.log.received))
        if not stuck:
            return
        if self.log.top > self.log.received:
            self._send_ack(self.log.missing(self.log.top))
        if self._queue.outstanding:
            self.counters["resent"] += 1
            entries = list(islice(self._queue.outstanding, RESEND_PACKETS * 4))
            self._send_submitted(entries, RESEND_PACKETS)

    def _back_off(self, seen: tuple[int, int]) -> None:
        configuration = self._configuration
        least = configuration.beat_ns if self.is_narrow else configuration.resend_ns
        most = 5 * configuration.beat_ns if self.is_narrow else configuration.beat_ns
        self._resend_gap = min(2 * self._resend_gap, most) if seen == self._resend_seen else least
        self._resend_seen = seen

    def facts(self) -> dict[str, int]:
        """Counters for the status."""
        return {
            **self.counters,
            "queued_bytes": self._queue.queued_bytes,
            "received": self.log.received,
            "stable": self.sequencer.stable if self.sequencer else self.log.stable,
        }


def _last_submission(block: wire.Block) -> int:
    """The last submission that the block completes, or 0."""
    if block.kind == wire.KIND_MESSAGES:
        return block.start + len(block.items) - 1
    return block.start if block.kind == wire.KIND_LAST else 0
