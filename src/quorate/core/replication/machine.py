"""The log of one node: from view to starting state, from entry to commit.

Decided here: when this node holds the view's state (*synced*), who is DC, in which order entries are applied, when
one is
committed, when this node must leave and begin anew. Not decided here: what an entry does (`apply`), whose state is
taken
(`plan`), rights (`core/quorum`).

A view goes through phases: HELLO (every member says what it has), STATE (waiting for the source's snapshot, if this
node
needs it), SAVING (the starting state and the promised epoch go to disk), SYNCED. From the last hello on, entries of
the view
count; a member that waits for the snapshot keeps them in a bounded buffer.

Commit. A configuration entry: on disk at a majority of the electorate's votes, or at all members when every absent
node is
settled (or by force). Every other entry: received by a majority of votes, or by all synced members, whose rights decide
what may be done with it. Source: the project's rules of the log 1 to 6.
"""

from __future__ import annotations

import enum
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence, settled_by
from quorate.core.quorum.rights import Electorate
from quorate.model import entries, group
from quorate.model.cib import Cib, CibError, status
from quorate.model.entries import Ack, Hello, Message, Part, Position, Proceed, Snapshot, Synced
from quorate.model.ids import SECOND

from . import apply as rules
from .courier import Courier
from .establish import establish
from .plan import Plan, make_plan, pick_dc
from .state import ReplicatedState

HELLO_DEADLINE_NS = 3 * SECOND
BUFFER_ENTRIES_MAX = 20_000  # while waiting for a snapshot
JOURNAL_BYTES_MAX = 4 * 1024 * 1024
WAITING_MAX = 20_000  # entries kept until this node may send
DIGEST_EVERY = 64  # configuration entries between comparisons of replicas
HELLO_TIMER = "replication-hello"
DISK_DEADLINE_NS = 30 * SECOND  # a write that takes longer will not come back
DISK_TIMER = "replication-disk"
FULL = "too many entries wait"


class Phase(enum.Enum):
    NO_VIEW = "no-view"
    HELLO = "hello"
    STATE = "state"
    SAVING = "saving"
    SYNCED = "synced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this replica is. `nodes`: name and id of every configured node, in the order of the configuration."""

    node: str
    node_id: int
    boot_id: str
    incarnation: int
    feature_set: str
    settings_digest: str
    nodes: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class _Slot:
    """An entry of this view that is applied and not yet committed."""

    entry: entries.Entry
    mine: bool
    config: bool
    forced: bool


Output = fx.Effect | ev.Inner


class Replication:
    """`handle_*` return effects for the driver and inner events for the manager's machines, in order."""

    def __init__(
        self,
        identity: Identity,
        electorate: Electorate,
        state: ReplicatedState,
        promised: int,
        running: Callable[[], tuple[str, ...]],
    ) -> None:
        self.identity = identity
        self.electorate = electorate
        self.state = state
        self.promised = promised
        self._running = running
        self.phase = Phase.NO_VIEW
        self.view: group.View | None = None
        self.epoch = 0
        self.lineage_reached = False
        self.seen_all = False  # this node, since it booted
        self.view_seen_all = False  # some member of this view
        self.dc: str | None = None
        self.has_state = False  # synced at least once in this incarnation
        self.dirty = False  # applied configuration entries that were never committed, or forced ones
        self._hellos: dict[str, Hello] = {}
        self._without: frozenset[int] = frozenset()
        self._plan: Plan | None = None
        self._synced: dict[str, Hello] = {}
        self._buffer: list[tuple[int, entries.Entry | Synced]] = []  # while the snapshot is awaited
        self._index = 0
        self._slots: dict[int, _Slot] = {}
        self._committed = 0
        self._received: dict[str, int] = {}
        self._durable: dict[str, int] = {}
        self._saving: dict[int, int] = {}  # key of a save -> index it covers
        self._sync_key: int | None = None
        self._next_key = 1
        self._unsaved: dict[int, int] = {}  # key of every write under way -> ns since when, oldest first
        self._doubted = 0  # key of a write that was late when last looked at
        self._now = 0
        self._courier = Courier()
        self._waiting: list[entries.Entry] = []
        self._ack_sent = (0, 0)
        self._ack_in_flight = False
        self._ack_needed = False
        self._saved_digest = ""
        self._saved_position = state.position
        self._journal_bytes = 0  # since the last generation
        self._check: tuple[int, str] = (0, "")
        self._out: list[Output] = []
        self.changes = 0  # grows whenever members, presences, the phase or the DC may have changed

    # ---- what others ask ------------------------------------------------------------------------------------------

    @property
    def is_synced(self) -> bool:
        return self.phase is Phase.SYNCED

    @property
    def synced_names(self) -> tuple[str, ...]:
        return tuple(sorted(self._synced))

    @property
    def hellos(self) -> Mapping[str, Hello]:
        return self._hellos

    @property
    def writable(self) -> bool:
        """The epoch is lineage: configuration entries can be committed."""
        return self.is_synced and self.lineage_reached

    @property
    def index(self) -> int:
        return self._index

    @property
    def committed(self) -> int:
        return self._committed

    def is_everywhere(self, index: int) -> bool:
        """Every synced member has applied the entry of this number."""
        return self.is_synced and all(self._received.get(name, 0) >= index for name in self._synced)

    def is_committed(self, request: str) -> bool:
        """Nothing that was applied for this request in this view waits for commitment."""
        return self.is_synced and all(getattr(slot.entry, "request", "") != request for slot in self._slots.values())

    def is_stable(self) -> bool:
        """Nothing of this view waits for commitment."""
        return self.is_synced and self._committed == self._index and not self._waiting

    # ---- inputs -----------------------------------------------------------------------------------------------------

    def submit(self, entry: entries.Entry) -> list[Output]:
        """Put an entry into the log, now or as soon as this node holds the state. Beyond the bound it is lost and
        told."""
        if not self.is_synced:
            if len(self._waiting) >= WAITING_MAX:
                return [ev.EntryLost(entry=entry, cause=FULL)]
            self._waiting.append(entry)
            return []
        self._send(entry)
        return self._drain()

    def handle_engine(self, event: group.EngineEvent, now: int) -> list[Output]:
        self._now = now
        match event:
            case group.ViewChanged():
                self._view_changed(event.view, now)
            case group.Delivered():
                self._delivered(event, now)
            case group.SubmissionLost():
                self._lost(event)
            case group.EngineGone():
                self._engine_gone(event)
            case _:
                pass  # reports of links and flow are the node's business
        return self._drain()

    def handle_saved(self, event: ev.Saved) -> list[Output]:
        self._unsaved.pop(event.key, None)
        if event.error:
            self._out.append(fx.Report(severity="critical", code="storage-failed", fields={"error": event.error}))
            self._saving.pop(event.key, None)
            self._leave("the state cannot be stored: " + event.error)
            self._out.append(fx.StopNode(how="exit", cause="storage: " + event.error))
            return self._drain()
        if event.key == self._sync_key:
            self._sync_key = None
            if self.phase is Phase.SAVING:
                self._became_durable()
        if self._saving.pop(event.key, None) is not None:
            self._acknowledge()
        return self._drain()

    def handle_timer(self, name: str, now: int) -> list[Output]:
        self._now = now
        if name == DISK_TIMER:
            self._watch_disk(now)
        if name == HELLO_TIMER and self.phase is Phase.HELLO and self.view is not None:
            missing = tuple(i for i in self.view.members if i not in {h.node_id for h in self._hellos.values()})
            heard = [hello.node_id for hello in self._hellos.values()]
            if missing and heard and min(heard) == self.identity.node_id:
                self._send(Proceed(view=self.view.id, without=missing))
            self._out.append(fx.SetTimer(name=HELLO_TIMER, at=now + HELLO_DEADLINE_NS))
        return self._drain()

    # ---- views ------------------------------------------------------------------------------------------------------

    def _view_changed(self, view: group.View, now: int) -> None:
        self._abandon_view()
        self.changes += 1
        self.view = view
        self.phase = Phase.HELLO
        if self.identity.node_id not in view.members:
            self.phase = Phase.NO_VIEW
            return
        hello = Hello(
            view=view.id,
            node=self.identity.node,
            node_id=self.identity.node_id,
            boot_id=self.identity.boot_id,
            incarnation=self.identity.incarnation,
            feature_set=self.identity.feature_set,
            promised=self.promised,
            position=self.state.position,
            cib_version=_version(self.state.cib),
            config_digest=self.state.cib.config_digest(),
            state_digest=self.state.digest(),
            settings_digest=self.identity.settings_digest,
            votes=self.electorate.votes.get(self.identity.node, 0),
            synced=self.has_state,
            ever_quorate=self.seen_all,
            dc=self._last_dc,
            running=self._running(),
            status=self._own_status() if self.has_state else None,
        )
        self._send(hello)
        self._out.append(fx.SetTimer(name=HELLO_TIMER, at=now + HELLO_DEADLINE_NS))

    _last_dc: str | None = None

    def _own_status(self) -> bytes | None:
        own = status.node_state_bytes(self.state.cib, self.identity.node)
        return None if own is None else zlib.compress(own, 1)

    def _abandon_view(self) -> None:
        """What was not committed in the old view is void; the entries' submitters derive them anew."""
        self.changes += 1
        if any(slot.config for slot in self._slots.values()):
            self.dirty = True
        lost = self._courier.abandon()
        if self.dc is not None:
            self._last_dc = self.dc
        self.dc = None
        self.lineage_reached = False
        self._hellos = {}
        self._without = frozenset()
        self._plan = None
        self._synced = {}
        self._buffer = []
        self._index = 0
        self._slots = {}
        self._committed = 0
        self._received = {}
        self._durable = {}
        self._saving = {}
        self._sync_key = None
        self._ack_sent = (0, 0)
        self._ack_in_flight = False
        self._ack_needed = False
        self._check = (0, "")
        for entry in lost:
            self._out.append(ev.EntryLost(entry=entry, cause="view changed"))

    def _engine_gone(self, event: group.EngineGone) -> None:
        self._abandon_view()
        self.view = None
        self.phase = Phase.NO_VIEW
        self._out.append(fx.Report(severity="critical", code="engine-gone", fields={"cause": event.cause}))

    def _leave(self, cause: str) -> None:
        """Leave the group and join it again: a full synchronisation follows."""
        self._abandon_view()
        self.view = None
        self.phase = Phase.NO_VIEW
        self._out.append(fx.Report(severity="error", code="resynchronise", fields={"cause": cause}))
        self._out.append(fx.ToEngine(request=group.Leave()))
        self._out.append(fx.ToEngine(request=group.Join(incarnation=self.identity.incarnation)))

    # ---- sending ----------------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        assert self.view is not None
        self._out.extend(self._courier.send(self.view.id, message))

    def _lost(self, event: group.SubmissionLost) -> None:
        message = self._courier.lost(event.token)
        if message is None:
            return
        if isinstance(message, entries.ENTRY_TYPES):
            self._out.append(ev.EntryLost(entry=message, cause=event.cause))
        elif isinstance(message, Ack):
            self._ack_in_flight = False
            self._ack_sent = (0, 0)
            self._acknowledge()
        elif event.cause == "overflow":
            self._leave("the engine's queue overflowed during synchronisation")

    # ---- delivery ---------------------------------------------------------------------------------------------------

    def _delivered(self, event: group.Delivered, now: int) -> None:
        received = self._courier.receive(event, None if self.view is None else self.view.id)
        if received.fault:
            fields = {"sender": str(event.sender), "error": received.fault}
            self._out.append(fx.Report(severity="error", code="bad-message", fields=fields))
        if isinstance(received.void, entries.ENTRY_TYPES):
            self._out.append(ev.EntryLost(entry=received.void, cause="delivered in another view"))
        if received.message is not None:
            self._message(event.sender, received.message, mine=event.token is not None, now=now)

    def _message(self, sender: int, message: Message, *, mine: bool, now: int) -> None:
        match message:
            case Hello():
                self._hello(sender, message)
            case Proceed():
                self._proceed(message)
            case Snapshot():
                self._snapshot(message)
            case Synced():
                self._member_synced(message)
            case Ack():
                self._acked(sender, message, mine=mine)
            case Part():
                pass
            case _:
                self._entry(sender, message, mine=mine)

    # ---- hellos, plan, snapshot -------------------------------------------------------------------------------------

    def _hello(self, sender: int, hello: Hello) -> None:
        if hello.node_id != sender or self.view is None:
            return
        if self.phase is not Phase.HELLO or sender in self._without:
            if sender == self.identity.node_id:
                self._leave("the view started without this node: its hello came too late")
            return
        if hello.settings_digest != self.identity.settings_digest:
            self._out.append(fx.Report(severity="error", code="settings-differ", fields={"node": hello.node}))
        self._hellos[hello.node] = hello
        self._maybe_plan()

    def _proceed(self, message: Proceed) -> None:
        if self.phase is not Phase.HELLO:
            return
        heard = {hello.node_id for hello in self._hellos.values()}
        self._without = frozenset(message.without) - heard
        if self.identity.node_id in self._without:
            self._leave("the view started without this node: its hello came too late")
            return
        self._maybe_plan()

    def _maybe_plan(self) -> None:
        assert self.view is not None
        heard = {hello.node_id for hello in self._hellos.values()} | self._without
        if not set(self.view.members) <= heard:
            return
        plan = self._plan = make_plan(self._hellos)
        self.epoch = plan.epoch
        self.view_seen_all = self._all_here() or any(hello.ever_quorate for hello in self._hellos.values())
        self._out.append(fx.CancelTimer(name=HELLO_TIMER))
        me = self.identity.node
        if me == plan.source and plan.needs:
            self._send(
                Snapshot(
                    view=self.view.id,
                    epoch=plan.epoch,
                    position=self.state.position,
                    state=zlib.compress(self.state.encode(), 1),
                )
            )
        if me in plan.needs:
            self.phase = Phase.STATE
        else:
            self._start_from(self.state)

    def _all_here(self) -> bool:
        return all(name in self._hellos for name in self.electorate.votes)

    def _snapshot(self, message: Snapshot) -> None:
        if self.phase is not Phase.STATE or self._plan is None or message.epoch != self.epoch:
            return
        try:
            data = zlib.decompress(message.state)
            state = ReplicatedState.decode(data, message.position)
        except (zlib.error, msgspec.MsgspecError, ValueError, CibError) as error:
            self._out.append(
                fx.Report(
                    severity="critical", code="bad-snapshot", fields={"source": self._plan.source, "error": str(error)}
                )
            )
            self._leave("the snapshot is damaged")
            return
        self._keep_fork(state)
        self._adopt(state)
        self._start_from(self.state)

    def _keep_fork(self, winner: ReplicatedState) -> None:
        """What this node had and the cluster did not choose is kept, and said."""
        mine = self.state
        if mine.cib.config_digest() == winner.cib.config_digest():
            return
        behind = mine.position < winner.position and not self.dirty and not mine.forked and not winner.forked
        if mine.position == Position(0, 0) and not self.dirty:
            return  # a configuration that nobody has ever changed
        name = f"fork-{mine.position.lineage}-{mine.position.index}-epoch{mine.cib.version.epoch}"
        self._out.append(fx.SaveFork(name=name, cib=mine.cib.copy()))
        self._out.append(
            fx.Report(
                severity="info" if behind else "warning",
                code="configuration-behind" if behind else "configuration-lost",
                fields={
                    "kept_as": name,
                    "had": _dotted(mine.cib),
                    "chosen": _dotted(winner.cib),
                    "source": self._plan.source if self._plan else "",
                    "forked": mine.forked,
                },
            )
        )

    def _adopt(self, state: ReplicatedState) -> None:
        """Keep the identity of the state object: others hold a reference to it."""
        mine = self.state
        mine.cib = state.cib
        mine.position = state.position
        mine.nodes = state.nodes
        mine.fences = state.fences
        mine.pending = state.pending
        mine.fates = state.fates
        mine.forked = state.forked
        self.dirty = False

    def _start_from(self, state: ReplicatedState) -> None:
        assert self.view is not None and self._plan is not None
        self.changes += 1
        establish(state, self._plan, self.view, self._inflated_hellos(), self.identity.nodes)
        self.has_state = True
        self.promised = self.epoch
        key = self._sync_key = self._key()
        digest = state.cib.config_digest()
        cib = state.cib.copy() if self._buffer else state.cib  # buffered entries follow at once and go to the journal
        if digest == self._saved_digest and state.position == self._saved_position:
            self._out.append(fx.SavePromise(key=key, promised=self.promised, lineage=state.position.lineage))
        else:
            self._out.append(fx.SaveState(key=key, promised=self.promised, position=state.position, cib=cib))
            self._saved_digest, self._saved_position = digest, state.position
        self.phase = Phase.SAVING
        buffered, self._buffer = self._buffer, []
        for sender, message in buffered:
            if isinstance(message, Synced):
                self._mark_synced(message.node)
            else:
                self._apply(sender, message, mine=False)

    def _inflated_hellos(self) -> dict[str, Hello]:
        inflated: dict[str, Hello] = {}
        for name, hello in self._hellos.items():
            if hello.status is not None:
                try:
                    text: bytes | None = zlib.decompress(hello.status)
                except zlib.error:
                    text = None
                hello = msgspec.structs.replace(hello, status=text)
            inflated[name] = hello
        return inflated

    def _became_durable(self) -> None:
        assert self.view is not None
        digest = hashlib.md5(self.state.cib.config_digest().encode(), usedforsecurity=False).hexdigest()
        self._send(Synced(view=self.view.id, epoch=self.epoch, node=self.identity.node, digest=digest))

    def _member_synced(self, message: Synced) -> None:
        hello = self._hellos.get(message.node)
        if hello is None or message.epoch != self.epoch or self._plan is None:
            return
        if self.phase is Phase.STATE:  # it keeps its place in the order until the snapshot is in
            self._buffer.append((hello.node_id, message))
            return
        self._mark_synced(message.node)

    def _mark_synced(self, name: str) -> None:
        hello = self._hellos[name]
        self.changes += 1
        assert self._plan is not None and self.view is not None
        self._synced[name] = hello
        record = self.state.record(name)
        record.presence = Presence.ONLINE
        rules.write_node_state(self.state, name)
        rules.bump_status(self.state)
        if name == self.identity.node:
            self.phase = Phase.SYNCED
            self.seen_all = self.seen_all or self.view_seen_all  # everybody is here, or a member vouches for it
        self._maybe_lineage()
        self._maybe_dc()
        if self.phase is Phase.SYNCED:
            waiting, self._waiting = self._waiting, []
            for entry in waiting:
                self._send(entry)
            self._acknowledge()

    def _maybe_lineage(self) -> None:
        if self.lineage_reached or self.view is None:
            return
        votes = self.electorate.count(tuple(self._synced))
        members = len(self.view.members) - len(self._without)
        if votes >= self.electorate.majority or (len(self._synced) == members and self._all_absent_settled()):
            self.lineage_reached = True
            self.state.position = Position(self.epoch, 0)
            self._saved_position = self.state.position
            self.state.forked = ""
            self._out.append(fx.SavePromise(key=self._key(), promised=self.promised, lineage=self.epoch))

    def _all_absent_settled(self) -> bool:
        """A node in its grace is up: its disk counts when its manager is back, its absence when it is fenced."""
        return all(
            name in self._synced or settled_by(self.state.presence(name)) is not None for name in self.electorate.votes
        )

    def _maybe_dc(self) -> None:
        if self.dc is not None or self.view is None or self._plan is None:
            return
        everyone = len(self._synced) == len(self.view.members) - len(self._without)
        previous = self._plan.previous_dc
        if everyone or (
            self.electorate.count(tuple(self._synced)) >= self.electorate.majority
            and (previous is None or previous in self._synced)
        ):
            self.dc = pick_dc(self._synced, previous)

    # ---- entries ----------------------------------------------------------------------------------------------------

    def _entry(self, sender: int, entry: entries.Entry, *, mine: bool) -> None:
        if self._plan is None:
            if mine:
                self._out.append(ev.EntryLost(entry=entry, cause="before the view's starting state"))
            return
        if self.phase is Phase.STATE:
            self._buffer.append((sender, entry))
            if len(self._buffer) > BUFFER_ENTRIES_MAX:
                self._leave("too many entries while waiting for the snapshot")
            return
        self._apply(sender, entry, mine=mine)

    def _apply(self, sender: int, entry: entries.Entry, *, mine: bool) -> None:
        assert self._plan is not None
        self._index += 1
        index = self._index
        outcome = rules.apply_entry(
            self.state, entry, rules.Rules(feature_set=self._plan.feature_set, lineage_reached=self.lineage_reached)
        )
        if outcome.void:
            self._slots[index] = _Slot(entries.Noted(request="", rc=0, message=outcome.message), False, False, False)
            if mine:
                self._out.append(ev.EntryLost(entry=entry, cause=outcome.message))
        else:
            forced = isinstance(entry, entries.Change) and entry.forced
            self._slots[index] = _Slot(entry, mine, outcome.config, forced)
            if outcome.config and isinstance(entry, entries.Change):
                self._journal(index, entry)
            if isinstance(entry, _MOVES_NODES):
                self.changes += 1
            self._out.append(
                ev.Applied(entry=entry, view_index=index, mine=mine, rc=outcome.rc, message=outcome.message)
            )
            if isinstance(entry, (entries.FenceResult, entries.PeerLapsed)):
                self._maybe_lineage()
        self._ack_needed = self._ack_needed or isinstance(entry, _NEEDS_ACK)
        self._acknowledge()
        self._advance()

    def _journal(self, index: int, entry: entries.Change) -> None:
        key = self._key()
        self._saving[key] = index
        record = entries.encode_change(entry)
        self._out.append(fx.AppendJournal(key=key, records=((self.state.position, record),)))
        self._saved_position = self.state.position
        self._saved_digest = ""
        self._journal_bytes += len(record)
        if self._journal_bytes > JOURNAL_BYTES_MAX:  # a new generation: the journal, and the next start, stay short
            self._journal_bytes = 0
            self._out.append(
                fx.SaveState(
                    key=self._key(), promised=self.promised, position=self.state.position, cib=self.state.cib.copy()
                )
            )
        if self.state.position.index % DIGEST_EVERY == 0:
            self._check = (index, self.state.cib.config_digest())

    def _key(self) -> int:
        key = self._next_key
        self._next_key += 1
        if not self._unsaved:
            self._out.append(fx.SetTimer(name=DISK_TIMER, at=self._now + DISK_DEADLINE_NS))
        self._unsaved[key] = self._now
        return key

    def _watch_disk(self, now: int) -> None:
        """A disk that neither takes a write nor refuses it: this member holds the others up, and must go."""
        key, oldest = next(iter(self._unsaved.items()), (0, now))
        if not key:
            return
        if now < oldest + DISK_DEADLINE_NS:
            self._out.append(fx.SetTimer(name=DISK_TIMER, at=oldest + DISK_DEADLINE_NS))
            return
        if self._doubted != key:  # after a pause of this process the answer may stand behind this timer
            self._doubted = key
            self._out.append(fx.SetTimer(name=DISK_TIMER, at=now + SECOND))
            return
        seconds = str((now - oldest) // SECOND)
        self._out.append(fx.Report(severity="critical", code="storage-hangs", fields={"after_s": seconds}))
        self._leave(f"the disk has not answered for {seconds} s")
        self._out.append(fx.StopNode(how="exit", cause=f"storage: no answer for {seconds} s"))

    # ---- acknowledgement and commit --------------------------------------------------------------

    def _durable_index(self) -> int:
        return min(self._saving.values()) - 1 if self._saving else self._index

    def _acknowledge(self) -> None:
        """Say how far this member is; one acknowledgement is under way at a time, so load makes them fewer, not
        more."""
        if self.phase is not Phase.SYNCED or self.view is None or self._ack_in_flight or not self._ack_needed:
            return
        now_at = (self._index, self._durable_index())
        if now_at <= self._ack_sent and now_at[1] <= self._ack_sent[1]:
            return
        self._ack_in_flight = True
        self._ack_sent = now_at
        if now_at[0] == now_at[1]:
            self._ack_needed = False
        checked, digest = self._check
        self._send(Ack(view=self.view.id, received=now_at[0], durable=now_at[1], checked=checked, digest=digest))

    def _acked(self, sender: int, ack: Ack, *, mine: bool) -> None:
        name = next((hello.node for hello in self._hellos.values() if hello.node_id == sender), None)
        if name is None:
            return
        self._received[name] = max(self._received.get(name, 0), ack.received)
        self._durable[name] = max(self._durable.get(name, 0), ack.durable)
        if mine:
            self._ack_in_flight = False
            self._acknowledge()
        if ack.checked and ack.checked == self._check[0] and name == self.dc and ack.digest != self._check[1]:
            self._odd_replica(name)
            return
        self._advance()

    def _odd_replica(self, dc: str) -> None:
        self._out.append(fx.Report(severity="critical", code="replica-differs", fields={"from": dc}))
        self._out.append(
            fx.SaveFork(
                name=f"odd-{self.state.position.lineage}-{self.state.position.index}", cib=self.state.cib.copy()
            )
        )
        self.state.position = Position(0, 0)
        self._saved_digest = ""
        self._leave(f"this replica differs from {dc}'s")

    def _advance(self) -> None:
        """Commit what may be committed, in order."""
        while self._committed < self._index:
            index = self._committed + 1
            slot = self._slots[index]
            if not self._may_commit(index, slot):
                return
            self._committed = index
            del self._slots[index]
            if isinstance(slot.entry, entries.Noted):
                continue
            self._out.append(ev.Committed(entry=slot.entry, view_index=index, mine=slot.mine))

    def _may_commit(self, index: int, slot: _Slot) -> bool:
        if not isinstance(slot.entry, _NEEDS_ACK):
            return True
        counted = self._durable if slot.config else self._received
        having = tuple(name for name in self._synced if counted.get(name, 0) >= index)
        if self.electorate.count(having) >= self.electorate.majority:
            return True
        if len(having) < len(self._synced) or not self._synced:
            return False
        return not slot.config or slot.forced or self._all_absent_settled()

    # ---- leaving the machine ---------------------------------------------------------------------

    def _drain(self) -> list[Output]:
        out, self._out = self._out, []
        return out


_MOVES_NODES = (
    entries.FenceResult,
    entries.ManagerLapsed,
    entries.PeerLapsed,
    entries.ShutdownDone,
    entries.NodeRemoved,
)
_NEEDS_ACK = (
    entries.Change,
    entries.ActionRequest,
    entries.ActionCancel,
    entries.FenceRequest,
    entries.FenceResult,
    entries.ManagerLapsed,
    entries.PeerLapsed,
    entries.ShutdownDone,
)


def _version(cib: Cib) -> tuple[int, int, int]:
    version = cib.version
    return (version.admin_epoch, version.epoch, version.num_updates)


def _dotted(cib: Cib) -> str:
    return ".".join(str(number) for number in _version(cib))
