"""The manager: one node's machines, wired.

Decided here: the way of every event to the machine that owns it, and of every effect to another machine or to the
driver;
the node's situation (who is here, who is DC, which rights) and when it has changed; this node's own end (a clean
departure,
a failed disk, an engine that stays away). Everything else is decided by the machines.

Shape of the work: `handle` runs one outer event through, then drains an inner queue of what the log and the machines
produced, in order, until nothing is left. Effects for the driver keep their order.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable

import msgspec

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence, is_present
from quorate.core.attributes.machine import TIMER as ATTRIBUTE_TIMER
from quorate.core.attributes.machine import Attributes
from quorate.core.controller import Controller
from quorate.core.executor import Executor
from quorate.core.fencing import Fencer
from quorate.core.quorum.rights import NO_RIGHTS, Known, rights
from quorate.core.replication.apply import operation_of
from quorate.core.replication.machine import FULL, Identity, Output, Replication
from quorate.core.replication.state import ReplicatedState
from quorate.model import entries, group
from quorate.model.cib import Cib, CibError, apply, get_option
from quorate.model.entries import Position
from quorate.model.ids import SECOND

from .configuration import ManagerConfiguration, first_cib
from .requests import Requests

INNER_MAX = 100_000  # events drained for one outer event; more is a loop of our own making
NO_VIEW_STOP_NS = 5 * SECOND  # without a view for so long, this node stops what it runs
NO_VIEW_TIMER = "node-no-view"
DEPARTURE_TIMER = "node-departure"


class InvariantError(Exception):
    """Our own mistake. The manager ends, so that fencing protects the data."""


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a manager that is killed and started again within one boot must know."""

    boot_id: str
    seen_all: bool
    presences: dict[str, tuple[str, str]]  # name -> presence, boot id: of absent nodes that were settled
    last_dc: str | None = None


class Manager:
    """`handle(event, now) -> effects`. One for each node and manager's run."""

    def __init__(self, configuration: ManagerConfiguration) -> None:
        self.configuration = configuration
        self.wall = 0
        self.electorate = configuration.electorate
        self.state = ReplicatedState(cib=first_cib(configuration))
        self.attributes = Attributes()
        self.executor = Executor(configuration.node)
        self.fencer = Fencer(configuration.node)
        self.controller = Controller(configuration.node, grace_ms=configuration.grace_ms, fencer=self.fencer)
        self.requests = Requests(self)
        self.replication: Replication | None = None
        self.situation = self._no_situation(0)
        self.links: dict[tuple[int, str], group.LinkChanged] = {}
        self.engine_status: group.EngineStatus | None = None
        self.leaving = False
        self._policy_at: tuple[int, int] = (-1, -1)
        self._policy = "stop"
        self._told_quorate = False
        self._situation_seen: tuple[int, tuple[int, int]] = (-1, (-1, -1))
        self._facts = b""
        self._incarnation = 0
        self._boot_id = ""
        self._inner: deque[Output] = deque()
        self._effects: list[fx.Effect] = []

    # ---- the one entry ------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event, now: int) -> list[fx.Effect]:
        self._route(event, now)
        self._drain(now)
        effects, self._effects = self._effects, []
        return effects

    def _route(self, event: ev.Event, now: int) -> None:
        match event:
            case ev.WallClock():
                self.wall = event.wall
                for machine in (self.executor, self.fencer, self.controller):
                    self._give(machine, event, now)
            case ev.Started():
                self._start(event, now)
            case ev.FromEngine():
                self._from_engine(event.event, now)
            case ev.TimerFired():
                self._timer(event.name, now)
            case ev.Saved():
                self._log(self._replica.handle_saved(event))
            case ev.AgentExited():
                machine = self.fencer if event.key.startswith("fence:") else self.executor
                self._give(machine, event, now)
            case ev.MetadataLoaded():
                self._log(self.requests.metadata_loaded(event))
                self._give(self.executor, event, now)
                self._give(self.fencer, event, now)
            case ev.Scheduled():
                self._give(self.controller, event, now)
            case ev.Asked():
                self._log(self.requests.asked(event, now))
            case ev.ClientGone():
                self.requests.client_gone(event.client)
            case ev.StopAsked():
                self._stop_asked(event, now)

    @property
    def _replica(self) -> Replication:
        if self.replication is None:
            raise InvariantError("an event before Started")
        return self.replication

    # ---- start --------------------------------------------------------------------------------------------------

    def _start(self, event: ev.Started, now: int) -> None:
        self.wall = event.wall
        self._boot_id, self._incarnation = event.boot_id, event.incarnation
        stored = event.stored
        position = stored.position
        if stored.report:
            self._report("error", "stored-state", text=stored.report)
        if stored.cib is not None:
            position = self._restore(stored)
        self.state.position = position
        self.replication = Replication(
            Identity(
                node=self.configuration.node,
                node_id=self.configuration.node_id,
                boot_id=event.boot_id,
                incarnation=event.incarnation,
                feature_set=self.configuration.feature_set,
                settings_digest=self.configuration.settings_digest,
                nodes=tuple((name, node_id) for name, node_id, _ in self.configuration.nodes),
            ),
            self.electorate,
            self.state,
            stored.promised,
            self._running,
        )
        self._recall(event)
        self.situation = self._no_situation(event.incarnation)
        for machine in (self.executor, self.controller, self.fencer):
            self._give(machine, event, now)
        self._effects.append(fx.ToEngine(request=group.Join(incarnation=event.incarnation)))
        self._effects.append(fx.SetTimer(name=NO_VIEW_TIMER, at=now + NO_VIEW_STOP_NS))

    def _restore(self, stored: ev.StoredState) -> Position:
        """The configuration from the disk: the last generation and the journal after it. The status is not kept."""
        position = stored.position
        assert stored.cib is not None
        try:
            cib = Cib.parse(stored.cib)
        except CibError as error:
            raise InvariantError(f"the stored configuration does not parse: {error}") from error
        for child in list(cib.status):
            cib.status.remove(child)
        cib.touch()
        for at, record in stored.journal:
            try:
                change = entries.decode_change(record)
            except msgspec.MsgspecError as error:
                self._report("error", "journal-record", text=str(error))
                position = Position(at.lineage, max(0, at.index - 1))  # no more than what is really here
                break
            outcome = apply(cib, operation_of(change))
            if outcome.rc != 0:
                self._report("error", "journal-record", text=outcome.message)
                position = Position(at.lineage, max(0, at.index - 1))
                break
            position = max(position, at)
        for name in ("have-quorum", "dc-uuid"):
            if name in cib.root.attrib:
                del cib.root.attrib[name]
        self.state.cib = cib
        return position

    def _recall(self, event: ev.Started) -> None:
        """Facts of an earlier manager of the same boot: who is settled, whether all were seen."""
        self._facts = event.facts
        if not event.facts:
            return
        try:
            facts = msgspec.msgpack.decode(event.facts, type=_Facts)
        except msgspec.MsgspecError as error:
            self._report("warning", "facts-unreadable", text=str(error))
            return
        if facts.boot_id != event.boot_id:
            return
        self._replica.seen_all = facts.seen_all
        self._replica._last_dc = facts.last_dc
        for name, (presence, boot_id) in sorted(facts.presences.items()):
            record = self.state.record(name)
            record.presence = Presence(presence)
            record.boot_id = boot_id

    def _remember(self) -> None:
        """Keep the facts when they have changed."""
        absent = {
            name: (record.presence.value, record.boot_id)
            for name, record in sorted(self.state.nodes.items())
            if not is_present(record.presence) and record.presence is not Presence.UNSEEN
        }
        facts = msgspec.msgpack.encode(
            _Facts(boot_id=self._boot_id, seen_all=self._replica.seen_all, presences=absent, last_dc=self.situation.dc)
        )
        if facts != self._facts:
            self._facts = facts
            self._effects.append(fx.SaveFacts(data=facts))

    def _running(self) -> tuple[str, ...]:
        """Transition keys and fencing requests that this node has taken on and not answered in the log."""
        return tuple(sorted((*self.executor.running(), *(f"fence:{key}" for key in self.fencer.running()))))

    # ---- engine, timers -------------------------------------------------------------------------------------------

    def _from_engine(self, event: group.EngineEvent, now: int) -> None:
        match event:
            case group.LinkChanged():
                self.links[(event.peer, event.link)] = event
                self._report(
                    "info" if event.up else "warning",
                    "link-up" if event.up else "link-down",
                    peer=self.configuration.name_of(event.peer),
                    link=event.link,
                    cause=event.cause,
                )
                return
            case group.Diagnosis():
                peer = "" if event.peer is None else self.configuration.name_of(event.peer)
                self._report("warning", "wire-" + event.code, peer=peer, link=event.link or "", **event.fields)
                return
            case group.EngineStatus():
                self.engine_status = event
                return
            case group.FlowControl():
                return
            case group.ViewChanged():
                self._effects.append(fx.CancelTimer(name=NO_VIEW_TIMER))
                self._tell_view(event.view)
            case group.EngineGone():
                self._effects.append(fx.SetTimer(name=NO_VIEW_TIMER, at=now + NO_VIEW_STOP_NS))
        self._log(self._replica.handle_engine(event, now))

    def _tell_view(self, view: group.View) -> None:
        before = self._replica.view
        gone = sorted(set(before.members) - set(view.members)) if before is not None else []
        name = self.configuration.name_of
        self._report(
            "warning" if gone else "notice",
            "view-changed",
            view=str(view.id),
            nodes=" ".join(name(i) for i in view.nodes),
            members=" ".join(name(i) for i in view.members),
            lost=" ".join(name(i) for i in gone),
        )

    def _timer(self, name: str, now: int) -> None:
        if name.startswith("replication-"):
            self._log(self._replica.handle_timer(name, now))
        elif name.startswith(ATTRIBUTE_TIMER):
            self._log(self.attributes.timer(name))
        elif name.startswith("request-"):
            self._log(self.requests.timer(name, now))
        elif name == NO_VIEW_TIMER:
            if (
                not self._replica.is_synced
                and self._replica.view is None
                and self.situation.rights.policy not in ("ignore", "freeze")
            ):
                self._report("critical", "no-view", after_s=str(NO_VIEW_STOP_NS // SECOND))
                self._log(self.executor.stop_all(now))
        elif name == DEPARTURE_TIMER:
            self._effects.append(fx.StopNode(how="exit", cause="the cluster did not let this node go in time"))
        else:
            event = ev.TimerFired(name=name)
            machine = (
                self.executor
                if name.startswith("executor-")
                else self.fencer
                if name.startswith("fencing-")
                else self.controller
            )
            self._give(machine, event, now)

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _stop_asked(self, event: ev.StopAsked, now: int) -> None:
        if event.at_once:
            self._effects.append(fx.StopNode(how="exit", cause="asked to stop at once"))
            return
        self.leaving = True
        self._log(self.attributes.flush())
        if self._replica.view is None:
            left = fx.StopNode(how="left", cause="asked to stop; this node is in no view")
            stays = fx.StopNode(how="exit", cause="asked to stop; this node is in no view and not all could be stopped")
            self._log(self.executor.stop_all(now, then=(left,), otherwise=(stays,)))
            return
        self._log([fx.Log(entry=entries.ShutdownAsked(node=self.configuration.node, at=self.wall))])

    # ---- the inner queue -------------------------------------------------------------------------

    def _log(self, outputs: Iterable[Output]) -> None:
        self._inner.extend(outputs)

    def _give(self, machine: Controller | Executor | Fencer, event: ev.Event | ev.Inner, now: int) -> None:
        if isinstance(machine, Executor):
            self._inner.extend(machine.handle(event, now))
        else:
            self._inner.extend(machine.handle(event, now, self.state))

    def _drain(self, now: int) -> None:
        for _ in range(INNER_MAX):
            if not self._inner:
                if not self._situation_changed(now):
                    return
                continue
            output = self._inner.popleft()
            match output:
                case fx.Log():
                    self._inner.extend(self._replica.submit(output.entry))
                case ev.Applied() | ev.EntryLost():
                    self._log(self.requests.inner(output, now))
                    self._leave_all_the_same(output)
                    self._tell_all(output, now)
                case ev.Committed():
                    self._log(self.requests.inner(output, now))
                    if self._own_departure(output):
                        return
                    self._tell_all(output, now)
                case ev.Situation():
                    self._tell_all(output, now)
                case _:
                    self._effects.append(output)
        raise InvariantError("the machines of this node keep each other busy without end")

    def _tell_all(self, event: ev.Inner, now: int) -> None:
        for machine in (self.executor, self.fencer, self.controller):
            self._give(machine, event, now)

    def _leave_all_the_same(self, event: ev.Applied | ev.EntryLost) -> None:
        """This node's wish to leave must not be lost with a view."""
        entry = event.entry
        if isinstance(event, ev.EntryLost) and isinstance(entry, entries.ShutdownAsked) and self.leaving:
            if entry.node == self.configuration.node and event.cause != FULL:
                self._log([fx.Log(entry=entry)])

    def _own_departure(self, committed: ev.Committed) -> bool:
        entry = committed.entry
        if isinstance(entry, entries.ShutdownDone) and entry.node == self.configuration.node:
            self._effects.append(fx.ToEngine(request=group.Leave()))
            self._effects.append(fx.StopNode(how="left", cause="emptied and let go by the DC"))
            self._inner.clear()
            return True
        return False

    # ---- the situation ---------------------------------------------------------------------------

    def _no_situation(self, incarnation: int) -> ev.Situation:
        return ev.Situation(
            view=None,
            synced=False,
            node=self.configuration.node,
            dc=None,
            online=(),
            graced=(),
            absent=(),
            rights=NO_RIGHTS,
            boot_ids=(),
            incarnation=incarnation,
        )

    def _policy_key(self) -> tuple[int, int]:
        """Changes with the configuration (the document may be another one after a snapshot: the replica counts that)."""
        return (self._replica.changes if self.replication is not None else 0, self.state.cib.configuration_changes)

    def _effective_policy(self) -> str:
        at = self._policy_key()
        if at != self._policy_at:
            self._policy_at = at
            self._policy = get_option(self.state.cib, "no-quorum-policy") or "stop"
            if self._policy == "fence":
                self._policy = "suicide"
        return self._policy

    def _situation_now(self) -> ev.Situation:
        replica = self._replica
        # a DC stands once a majority (or everybody) is synced: before that, rights would flap with each member's disk
        synced = replica.is_synced and replica.dc is not None
        presences = self.state.presences
        if not synced or replica.view is None:
            nobody = rights(
                self.electorate,
                Known(presences={}, seen_all=False, synced=False, writable=False, policy=self._effective_policy()),
            )
            return dataclasses.replace(self._no_situation(self._incarnation), view=replica.view, rights=nobody)
        granted = rights(
            self.electorate,
            Known(
                presences=presences,
                seen_all=replica.view_seen_all or replica.seen_all,
                synced=True,
                writable=replica.writable,
                policy=self._effective_policy(),
                vetoed=replica.view.vetoed,
            ),
        )
        return ev.Situation(
            view=replica.view,
            synced=True,
            node=self.configuration.node,
            dc=replica.dc,
            online=tuple(name for name, presence in presences.items() if presence is Presence.ONLINE),
            graced=tuple(name for name, presence in presences.items() if presence is Presence.GRACED),
            absent=tuple(
                name
                for name, presence in presences.items()
                if not is_present(presence) and name in self.electorate.votes
            ),
            rights=granted,
            boot_ids=tuple(self.state.boot_ids.items()),
            incarnation=self._incarnation,
        )

    def _situation_changed(self, now: int) -> bool:
        """Queue the new situation if it is one; also what hangs on it."""
        if self.replication is None:
            return False
        before = self.situation
        seen = (self._replica.changes, self._policy_key())
        if seen == self._situation_seen:
            situation = before
        else:
            self._situation_seen = seen
            situation = self._situation_now()
        if situation == before:
            self._log(self.requests.settle(now))
            return bool(self._inner)
        self.situation = situation
        root = self.state.cib.root
        root.set("have-quorum", "1" if situation.rights.quorate else "0")
        if situation.dc is not None:
            root.set("dc-uuid", str(self.state.record(situation.dc).id))
        elif "dc-uuid" in root.attrib:
            del root.attrib["dc-uuid"]
        if situation.dc != before.dc and situation.dc is not None:
            self._report("notice", "dc", node=situation.dc)
        if situation.synced and situation.rights.quorate != self._told_quorate:
            self._told_quorate = situation.rights.quorate
            self._report(
                "notice" if situation.rights.quorate else "warning",
                "quorum-gained" if situation.rights.quorate else "quorum-lost",
                why=" ".join(f"{right}:{reason}" for right, reason in situation.rights.why),
            )
        if situation.synced:
            self._remember()
        self._inner.append(situation)
        return True

    def _report(self, severity: str, code: str, **fields: str) -> None:
        self._effects.append(fx.Report(severity=severity, code=code, fields=fields))
