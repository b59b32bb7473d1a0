"""The controller of one node: sleeps unless this node is the DC, then keeps the cluster moving to its wanted state.

Decided here: when to schedule (at once when something relevant has changed and nothing is under way; else as soon as
the run or the transition under way allows it), what becomes of a transition when the world changes, how long patience
lasts (a manager's grace, start-up fencing, an answer that does not come), when there is nothing left to do. Not
decided here: what should run where (`core/scheduler`), how a node is fenced (`core/fencing`), what is allowed
(`core/quorum`; the executor asks for the right itself).

Aborts. A change of configuration or an unexpected result stops the transition: what is under way is awaited, then all
is computed anew. When the members change, nothing is awaited: operations that have not ended are pending in the
status, the new graph meets them and waits for their own end instead of asking again. So does a new DC with what the
former one has begun.

Names of the states are Pacemaker's, because crmadmin and the shells wait for them.
Source: Pacemaker Development, "Controller"; the project's rules of the log 4, 5, 7, 8, 9.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import assert_never

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence, settled_by
from quorate.core.fencing import Fencer
from quorate.core.fencing.plan import may_end_itself
from quorate.core.fencing.wall import WallTime
from quorate.core.replication.state import ReplicatedState
from quorate.model import entries
from quorate.model.cib import status
from quorate.model.graph import Action, ActionKind, Graph
from quorate.model.ids import MILLISECOND, SECOND

from . import requests
from .options import ControllerOptions, read_options
from .transition import INFINITY, Flight, Transition, executor_of, fence_action, is_fencing

DISCARDS_MAX = 5  # answers of the scheduler thrown away in a row because the world had moved on; then one is used
RETRY_NS = 200 * MILLISECOND  # before asking again for what the log refused
REFUSED_NS = SECOND  # before scheduling again what an executor refused; a change of the situation comes first
REFUSED_NS_MAX = 30 * SECOND  # each refusal doubles the pause up to this
ERROR_RETRY_NS = 10 * SECOND  # before scheduling again what the scheduler could not
DEGRADED = {190: 0, 191: 8}  # OCF codes of a service that runs degraded: as good as expected, but told

STREAM_NS = 300 * MILLISECOND  # clients that write without a pause are scheduled for so often,
STREAM_RUNS = 3  # after so many runs at once

RECHECK_TIMER = "controller-recheck"
RETRY_TIMER = "controller-retry"
PATIENCE_TIMER = "controller-patience"
GUARD_TIMER = "controller-guard"
GRACE_TIMER = "controller-grace:"

# what `_want` is told about a change's urgency
AWAIT = "await"  # abort, wait for what is under way
AT_ONCE = "at-once"  # abort, wait for nothing


class Controller:
    """`handle(event, now, state)`; the state is the replicated one as it stands after the event."""

    def __init__(self, node: str, *, grace_ms: int, fencer: Fencer) -> None:
        self.node = node
        self.fencer = fencer
        self.situation: ev.Situation | None = None
        self.transition: Transition | None = None
        self._grace_ms = grace_ms
        self._wall = WallTime()
        self._began: int | None = None  # start of this manager
        self._incarnation = 0
        self._active = False
        self._dirty = ""  # why a run of the scheduler is wanted
        self._not_before = 0  # ns: no run before
        self._stream: deque[int] = deque(maxlen=STREAM_RUNS)  # ns: the last runs that clients' writes wanted
        self._is_calm = False  # only clients' writes want the next run
        self._refusals = 0  # by executors, since the situation last changed
        self._run_key = 0
        self._running = False  # the scheduler
        self._outdated = False  # members changed since the scheduler was started: its answer is of no use
        self._discards = 0
        self._transitions = 0
        self._graced_since: dict[str, int] = {}
        self._lapsing: set[tuple[str, str]] = set()  # (node, boot id) whose PeerLapsed is on its way
        self._watched: dict[str, int] = {}  # key of a pending action -> ns by which its end must be known
        self._guard_at = 0  # ns for which the guard's timer is set, 0: not set
        self._patience_set = 0
        self._in_transit: set[str] = set()  # keys of actions that were given to the log and have no place in it yet
        self._lapsed_managers: set[tuple[str, int]] = set()
        self._now = 0
        self._adoptable: dict[tuple[str, str, str, str, int], entries.ActionRequest] = {}
        self._attributes: dict[tuple[str, str, str], str | None] = {}
        self._options_at: tuple[int, int] = (-1, -1)
        self._options = ControllerOptions()
        self._effects: list[fx.Effect] = []

    # ---- what others ask --------------------------------------------------------------------------------------------

    @property
    def state_name(self) -> str:
        """Pacemaker's name of what the controller is doing."""
        situation = self.situation
        if situation is None or not situation.synced or situation.dc is None:
            return "S_PENDING"
        if situation.dc != self.node:
            return "S_NOT_DC"
        if self._running:
            return "S_POLICY_ENGINE"
        if self.transition is not None:
            return "S_TRANSITION_ENGINE"
        if self._dirty or self._lapsing:
            return "S_INTEGRATION"
        return "S_IDLE"

    @property
    def is_idle(self) -> bool:
        """This node is the DC and has nothing left to do."""
        return self.state_name == "S_IDLE"

    def options(self, state: ReplicatedState) -> ControllerOptions:
        at = (id(state.cib), state.cib.configuration_changes)
        if at != self._options_at:
            self._options_at, self._options = at, read_options(state.cib)
        return self._options

    # ---- the one entry ----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event | ev.Inner, now: int, state: ReplicatedState) -> list[fx.Effect]:
        self._now = now
        match event:
            case ev.Started():
                self._began, self._incarnation = now, event.incarnation
                self._wall.set(event.wall, now)
            case ev.WallClock():
                self._wall.set(event.wall, now)
            case ev.Situation():
                self._situation_changed(event, now, state)
            case ev.Applied():
                self._applied(event, now, state)
            case ev.EntryLost():
                self._lost(event, now)
            case ev.Scheduled():
                self._scheduled(event, now, state)
            case ev.TimerFired():
                self._timer(event.name, now, state)
            case ev.Committed():
                return []
            case (
                ev.FromEngine()
                | ev.Saved()
                | ev.AgentExited()
                | ev.MetadataLoaded()
                | ev.Asked()
                | ev.ClientGone()
                | ev.StopAsked()
            ):
                return []
            case _:
                assert_never(event)
        if self._active:
            self._advance(now, state)
        effects, self._effects = self._effects, []
        return effects

    # ---- the situation ----------------------------------------------------------------------------------------------

    def _situation_changed(self, situation: ev.Situation, now: int, state: ReplicatedState) -> None:
        before, self.situation = self.situation, situation
        if self._began is None:
            self._began = now
        self._incarnation = situation.incarnation
        self._note_grace(situation, now)
        active = situation.synced and situation.dc == self.node
        if not active:
            if self._active:
                self._retire()
            return
        if not self._active:
            self._take_office(situation, now, state)
            return
        if before is None or before.rights != situation.rights:
            self._not_before = self._refusals = 0  # what was refused may be allowed now
        if before is None or self._differs(before, situation):
            self._not_before = self._refusals = 0
            self._want("the members or their rights have changed", AT_ONCE)

    @staticmethod
    def _differs(before: ev.Situation, after: ev.Situation) -> bool:
        """Whether the change can make a difference to what should run: a new minor view alone does not, and neither
        does the right to take over, which a fencing brings in the middle of the very transition that waits for it."""

        def facts(situation: ev.Situation) -> tuple[object, ...]:
            rights = situation.rights
            return (
                situation.online, situation.graced, situation.absent, situation.boot_ids, situation.synced,
                rights.keep, rights.fence, rights.quorate, rights.policy,
            )  # fmt: skip

        return facts(before) != facts(after)

    def _take_office(self, situation: ev.Situation, now: int, state: ReplicatedState) -> None:
        self._active = True
        self._lapsing.clear()
        self._attributes.clear()
        self._watched.clear()
        self._guard_at = self._patience_set = 0
        self._in_transit.clear()
        self._lapsed_managers.clear()
        self._discards = 0
        self._not_before = self._refusals = 0
        for key in sorted(state.pending):
            self._watch(state.pending[key], now, state)
        self._want("this node has become DC", AT_ONCE)
        self._report("notice", "dc-active", transition_uuid=self._uuid(), members=" ".join(situation.online))

    def _retire(self) -> None:
        """Not DC any more: forget what was under way; the new DC finds it in the replicated state."""
        self._active = False
        self.transition = None
        self._running = False
        self._dirty = ""
        self._lapsing.clear()
        self._watched.clear()
        self.fencer.release()
        for name in (RECHECK_TIMER, RETRY_TIMER, PATIENCE_TIMER, GUARD_TIMER):
            self._effects.append(fx.CancelTimer(name=name))

    def _note_grace(self, situation: ev.Situation, now: int) -> None:
        """Every node counts the grace of a manager that is gone, so that a change of DC does not prolong it."""
        if not situation.synced:
            return
        for name in sorted(set(self._graced_since) - set(situation.graced)):
            del self._graced_since[name]
            self._effects.append(fx.CancelTimer(name=GRACE_TIMER + name))
        for name in situation.graced:
            if name not in self._graced_since:
                self._graced_since[name] = now
                at = now + self._grace_ms * MILLISECOND
                self._effects.append(fx.SetTimer(name=GRACE_TIMER + name, at=at))
                self._report("warning", "manager-gone", node=name, grace_ms=str(self._grace_ms))

    def _lapse_managers(self, now: int, state: ReplicatedState) -> None:
        for name, since in sorted(self._graced_since.items()):
            if now < since + self._grace_ms * MILLISECOND:
                continue
            record = state.nodes.get(name)
            if record is None or record.presence is not Presence.GRACED:
                continue
            if (name, record.incarnation) in self._lapsed_managers:
                continue
            self._lapsed_managers.add((name, record.incarnation))
            self._report("error", "manager-lapsed", node=name, grace_ms=str(self._grace_ms))
            self._log(entries.ManagerLapsed(node=name, incarnation=record.incarnation))

    # ---- what the log says ------------------------------------------------------------------------------------------

    def _applied(self, event: ev.Applied, now: int, state: ReplicatedState) -> None:
        if not self._active:
            return
        entry = event.entry
        match entry:
            case entries.Change():
                if event.rc == 0:
                    self._want(f"{entry.kind} by {entry.client or entry.user or entry.origin}", AWAIT, calm=True)
            case entries.AttributeUpdate():
                self._attribute(entry, state)
            case entries.ActionRequest():
                self._in_transit.discard(entry.key)
                self._watch(entry, now, state)
            case entries.ActionResult():
                self._result(entry, now)
            case entries.ActionCancel():
                self._confirm_key(entry.key)
            case entries.HistoryCleared():
                if not self._confirm_key(entry.request):
                    self._want("history was cleared", AWAIT)
            case entries.ShutdownDone():
                self._confirm_key(f"left:{entry.node}")
            case entries.FenceRequest():
                pass
            case entries.FenceResult():
                if event.rc == 0:
                    self._fenced(entry, state)
            case entries.ManagerLapsed() | entries.NodeRemoved() | entries.ShutdownAsked():
                self._want(f"{type(entry).__name__} of {entry.node}", AWAIT)
            case entries.PeerLapsed():
                self._lapsing.discard((entry.node, entry.boot_id))
                self._want(f"{entry.node} is taken for off ({entry.cause})", AT_ONCE)
            case entries.Noted():
                pass
            case _:
                assert_never(entry)

    def _attribute(self, entry: entries.AttributeUpdate, state: ReplicatedState) -> None:
        if self._confirm_key(entry.request) or entry.private:
            return
        if not entry.pattern:
            name = (entry.node, entry.set_type, entry.name)
            value = status.get_attribute(state.cib, entry.node, entry.name, entry.set_type)
            if name in self._attributes and self._attributes[name] == value:
                return
            self._attributes[name] = value
        self._want(f"attribute {entry.name} of {entry.node}", AWAIT)

    def _result(self, entry: entries.ActionResult, now: int) -> None:
        self._watched.pop(entry.key, None)
        if entry.rc == status.RC_REFUSED:  # its executor had not the right: asked again, but not at full speed
            self._not_before = now + min(REFUSED_NS_MAX, REFUSED_NS << min(self._refusals, 10))
            self._refusals += 1
            self._effects.append(fx.SetTimer(name=RETRY_TIMER, at=self._not_before))
        expected = status.transition_target(entry.key) or 0
        fine = entry.status == status.COMPLETE and DEGRADED.get(entry.rc, entry.rc) == expected
        flight = self.transition.flight_of(entry.key) if self.transition is not None else None
        if flight is None or self.transition is None:
            if entry.status != status.CANCELLED:
                self._want(f"{entry.resource} {entry.operation} on {entry.node}: {entry.rc}", AWAIT)
            return
        if fine or entry.status == status.CANCELLED:
            self.transition.confirm(flight.action)
            if flight.outdated:
                self._want(f"{entry.resource} {entry.operation} ran with former parameters", AWAIT)
            return
        probe = entry.operation == "monitor" and not entry.interval_ms
        self._report(
            "info" if probe and entry.status == status.COMPLETE else "warning",
            "action-failed",
            resource=entry.resource,
            operation=entry.operation,
            node=entry.node,
            rc=str(entry.rc),
            status=str(entry.status),
            expected=str(expected),
            reason=entry.reason,
            key=entry.key,
        )
        reason = f"{entry.resource} {entry.operation} on {entry.node}: {entry.rc} instead of {expected}"
        self.transition.fail(flight.action, reason)
        self._dirty = self._dirty or reason

    def _fenced(self, entry: entries.FenceResult, state: ReplicatedState) -> None:
        flight = self.transition.flight_of(_fence_key(entry.target, entry.action)) if self.transition else None
        if flight is None or self.transition is None:
            if entry.confirmed:
                self._want(f"{entry.target} is fenced", AWAIT)
            return
        if entry.confirmed and (entry.action == "on" or settled_by(state.presence(entry.target)) is not None):
            if entry.action == "on":
                self._mark_unfenced(flight.action)
            self.transition.confirm(flight.action)
            return
        if entry.void or entry.unknown:
            reason = f"fencing of {entry.target} has no known outcome: {entry.reason}"
        else:
            reason = f"fencing of {entry.target} failed: {entry.reason}"
        self.transition.fail(flight.action, reason)
        self._dirty = self._dirty or reason

    def _mark_unfenced(self, action: Action) -> None:
        """What Pacemaker records on a node that was unfenced: when, and with which device parameters."""
        values = {"#node-unfenced": str(self._wall.seconds(self._now))}
        for attribute, meta in (("#digests-all", "digests_all"), ("#digests-secure", "digests_secure")):
            if (value := action.attributes.get(f"CRM_meta_{meta}")) is not None:
                values[attribute] = value
        for name, value in values.items():
            request = f"unfence:{action.node}:{name}:{self._transitions}:{self._uuid()}"
            self._log(entries.AttributeUpdate(request=request, node=action.node or "", name=name, value=value))

    def _confirm_key(self, key: str) -> bool:
        """An entry of ours has taken its place: the action that asked for it is done."""
        flight = self.transition.flight_of(key) if self.transition is not None else None
        if flight is None or self.transition is None:
            return False
        self.transition.confirm(flight.action)
        return True

    def _lost(self, event: ev.EntryLost, now: int) -> None:
        entry = event.entry
        match entry:
            case entries.PeerLapsed():
                self._lapsing.discard((entry.node, entry.boot_id))
            case entries.ManagerLapsed():
                self._lapsed_managers.discard((entry.node, entry.incarnation))
            case entries.ActionRequest():
                self._in_transit.discard(entry.key)
            case _:
                pass
        if not self._active:
            return
        ours = (
            entries.ActionRequest,
            entries.ActionCancel,
            entries.HistoryCleared,
            entries.ShutdownDone,
            entries.PeerLapsed,
            entries.ManagerLapsed,
        )
        if isinstance(entry, ours):
            self._not_before = now + RETRY_NS
            self._want(f"an entry was lost: {event.cause}", AT_ONCE)
            self._effects.append(fx.SetTimer(name=RETRY_TIMER, at=self._not_before))

    # ---- time -------------------------------------------------------------------------------------------------------

    def _timer(self, name: str, now: int, state: ReplicatedState) -> None:
        if not self._active:
            return
        if name == RECHECK_TIMER:
            self._want("time has passed", AWAIT)
        elif name == GUARD_TIMER:
            self._guard(now, state)
        # the others only make `_advance` look again

    def _watch(self, request: entries.ActionRequest, now: int, state: ReplicatedState) -> None:
        """Set the time by which an action's end must be known, though its executor keeps the action's own timeout."""
        allowed = request.timeout_ms + request.start_delay_ms + self.options(state).cluster_delay_ms
        at = self._watched[request.key] = now + allowed * MILLISECOND
        if not self._guard_at or at < self._guard_at:
            self._guard_at = at
            self._effects.append(fx.SetTimer(name=GUARD_TIMER, at=at))

    def _guard(self, now: int, state: ReplicatedState) -> None:
        """An executor that gave no answer: its action counts as timed out. Absent nodes are left to fencing."""
        online = self.situation.online if self.situation is not None else ()
        for key in [key for key, at in self._watched.items() if at <= now]:
            request = state.pending.get(key)
            if request is None:
                del self._watched[key]
                continue
            self._watched[key] = now + self.options(state).cluster_delay_ms * MILLISECOND  # asked again if this is lost
            if request.executor in online:
                self._report(
                    "error",
                    "action-lost",
                    key=key,
                    resource=request.resource,
                    operation=request.operation,
                    node=request.node,
                    executor=request.executor,
                )
                self._log(requests.lost_result(request, self._wall.seconds(now)))
        self._guard_at = min(self._watched.values(), default=0)
        if self._guard_at:
            self._effects.append(fx.SetTimer(name=GUARD_TIMER, at=self._guard_at))

    def _is_patient(self, now: int, state: ReplicatedState) -> bool:
        """Nodes never seen are given `dc-deadtime` from this manager's start to appear."""
        situation = self.situation
        if situation is None or self._began is None:
            return False
        unseen = any(state.presence(name) is Presence.UNSEEN for name in situation.absent)
        return unseen and now < self._patience_end(state)

    def _patience_end(self, state: ReplicatedState) -> int:
        return (self._began or 0) + self.options(state).dc_deadtime_ms * MILLISECOND

    # ---- scheduling -------------------------------------------------------------------------------------------------

    def _want(self, reason: str, urgency: str, *, calm: bool = False) -> None:
        """Something changed: the present plan is no longer right. `calm`: others of its kind may be put together."""
        self._is_calm = calm and (self._is_calm or not self._dirty)
        self._dirty = self._dirty or reason
        if self._running and urgency == AT_ONCE:
            self._outdated = True
        if self.transition is None:
            return
        self.transition.abort(INFINITY, reason)
        if urgency == AT_ONCE:
            self._end_transition()

    def _advance(self, now: int, state: ReplicatedState) -> None:
        """Do what can be done now: lapse, run the transition, or schedule."""
        situation = self.situation
        assert situation is not None
        patient = self._is_patient(now, state)
        if patient and self._patience_set != self._patience_end(state):
            self._patience_set = self._patience_end(state)
            self._effects.append(fx.SetTimer(name=PATIENCE_TIMER, at=self._patience_set))
        self._lapse_managers(now, state)
        self._lapse_absent(situation, state, patient)
        moving = self._may_move(situation, state)
        if self.transition is not None:
            if moving:
                self._fire(now, state, patient)
            if self.transition.is_aborted and not self.transition.is_blocked:
                self._end_transition()
            elif self.transition is not None and self.transition.is_over:
                self._end_transition()
        if not self._dirty or self._running or self.transition is not None or not moving or now < self._not_before:
            return
        if self._in_transit:
            return  # what was asked for must stand in the status before it is scheduled again
        if self._lapsing or (patient and not self.options(state).fencing):
            return  # first it must be known what the absent nodes hold
        if self._is_calm:
            if len(self._stream) == STREAM_RUNS and now < self._stream[0] + STREAM_NS:
                self._effects.append(fx.SetTimer(name=RETRY_TIMER, at=self._stream[0] + STREAM_NS))
                return
            self._stream.append(now)
        self._run_key += 1
        self._running, self._outdated = True, False
        self._report("debug", "scheduling", reason=self._dirty, run=str(self._run_key))
        self._dirty = ""
        self._effects.append(fx.RunScheduler(key=self._run_key, cib=state.cib))

    def _may_move(self, situation: ev.Situation, state: ReplicatedState) -> bool:
        """While a manager is in its grace nothing moves, unless another node is lost and must be dealt with."""
        if not situation.graced:
            return True
        return any(state.presence(name) is Presence.LOST for name in situation.absent)

    def _lapse_absent(self, situation: ev.Situation, state: ReplicatedState, patient: bool) -> None:
        """Without fencing the operator's standing word is all there is: said aloud each time it is used."""
        if not situation.absent or not situation.rights.fence or self.options(state).fencing:
            return
        for name in situation.absent:
            record = state.nodes.get(name)
            if record is None or record.presence not in (Presence.LOST, Presence.UNSEEN):
                continue
            if record.presence is Presence.UNSEEN and patient:
                continue
            owed = (name, record.boot_id)
            if owed in self._lapsing:
                continue
            self._lapsing.add(owed)
            self._report("warning", "fencing-disabled", node=name, option="stonith-enabled=false")
            self._log(entries.PeerLapsed(node=name, boot_id=record.boot_id, cause="stonith-disabled"))

    def _scheduled(self, event: ev.Scheduled, now: int, state: ReplicatedState) -> None:
        if not self._active or not self._running or event.key != self._run_key:
            return
        self._running = False
        for message in event.messages:
            self._report("warning", "scheduler", text=message)
        if event.graph is None:
            self._report("error", "scheduling-failed", error=event.error, input=event.input_name)
            self._dirty = self._dirty or "the scheduler failed"
            self._not_before = now + ERROR_RETRY_NS
            self._effects.append(fx.SetTimer(name=RETRY_TIMER, at=self._not_before))
            return
        if self._dirty and (self._outdated or self._discards < DISCARDS_MAX):
            self._discards += 1
            return
        self._discards = 0
        self._begin(event.graph, event.input_name, now, state)

    def _begin(self, graph: Graph, input_name: str, now: int, state: ReplicatedState) -> None:
        self._transitions += 1
        self.transition = Transition(graph, self._transitions, self._uuid())
        self._adoptable = {
            requests.operation_identity(request): request for _, request in sorted(state.pending.items())
        }
        self._effects += self.fencer.want_only(self.transition.fencing_targets())
        self._set_recheck(graph, now, state)
        if graph.synapses:
            self._report(
                "info",
                "transition-begun",
                number=str(self._transitions),
                input=input_name,
                actions=str(self.transition.left),
            )
        if self._dirty:  # too many changes in a row: the first actions of this graph are better than none
            assert self.situation is not None
            if self._may_move(self.situation, state):
                self._fire(now, state, self._is_patient(now, state))
            self.transition.abort(INFINITY, self._dirty)

    def _set_recheck(self, graph: Graph, now: int, state: ReplicatedState) -> None:
        times = []
        interval_ms = self.options(state).recheck_ms
        if interval_ms:
            times.append(now + interval_ms * MILLISECOND)
        if graph.recheck_at is not None:
            times.append(now + max(1, graph.recheck_at - self._wall.seconds(now)) * SECOND)
        if times:
            self._effects.append(fx.SetTimer(name=RECHECK_TIMER, at=min(times)))

    def _end_transition(self) -> None:
        transition, self.transition = self.transition, None
        if transition is None or not transition.graph.synapses:
            return
        self._report(
            "info",
            "transition-ended",
            number=str(transition.number),
            confirmed=str(transition.confirmed),
            failed=str(transition.failed),
            left=str(transition.left),
            reason=transition.abort_reason,
        )

    # ---- carrying the graph out -------------------------------------------------------------------------------------

    def _fire(self, now: int, state: ReplicatedState, patient: bool) -> None:
        transition, situation = self.transition, self.situation
        assert transition is not None and situation is not None

        def may_fire(action: Action) -> bool:
            if action.kind is ActionKind.PSEUDO:
                return True
            if action.operation == "do_shutdown":  # not before all that the graph asks of the node is known, probes too
                return transition.is_done_on(action.node or "") and not _is_busy(action.node or "", state)
            if is_fencing(action):
                unseen = state.presence(action.node or "") is Presence.UNSEEN
                if may_end_itself(situation, action.node or ""):
                    return True
                return situation.rights.fence and not (patient and unseen)
            if action.kind is ActionKind.RESOURCE and not requests.is_delete(action):
                if patient and not situation.rights.take_over and requests.needs_takeover(action):
                    return False
                return executor_of(action) in situation.online
            return True

        for action in transition.fire(may_fire):
            self._fire_one(transition, action, now, state)

    def _fire_one(self, transition: Transition, action: Action, now: int, state: ReplicatedState) -> None:
        key = transition.key(action)
        if action.kind is ActionKind.PSEUDO:
            transition.confirm(action)
        elif is_fencing(action):
            self._fence(transition, action, now, state)
        elif requests.is_delete(action) or action.operation == "clear_failcount":
            transition.begin(Flight(action=action, key=key))
            self._log(requests.history_request(action, key))
        elif action.operation == "do_shutdown":
            transition.begin(Flight(action=action, key=f"left:{action.node}"))
            self._log(entries.ShutdownDone(node=action.node or ""))
        elif action.kind is ActionKind.CLUSTER:
            self._report("debug", "cluster-event", operation=action.operation, node=action.node or "")
            transition.confirm(action)
        elif requests.is_cancel(action):
            transition.begin(Flight(action=action, key=key))
            self._log(requests.cancel_request(action, key))
        else:
            self._request(transition, action, key, state)

    def _request(self, transition: Transition, action: Action, key: str, state: ReplicatedState) -> None:
        request = requests.action_request(action, key)
        pending = self._adoptable.pop(requests.operation_identity(request), None)
        if pending is not None and pending.key in state.pending:
            outdated = pending.parameters != request.parameters
            transition.begin(Flight(action=action, key=pending.key, adopted=True, outdated=outdated))
            return
        transition.begin(Flight(action=action, key=key))
        self._in_transit.add(key)
        self._log(request)

    def _fence(self, transition: Transition, action: Action, now: int, state: ReplicatedState) -> None:
        target, what = action.node or "", fence_action(action)
        transition.begin(Flight(action=action, key=_fence_key(target, what), blocking=False))
        delay = action.attributes.get("CRM_meta_priority_fencing_delay")
        self._effects += self.fencer.want(
            target,
            what,
            cause=requests.fence_cause(action, state),
            delay_ms=int(delay) * 1000 if delay and delay.isdigit() else 0,
            timeout_ms=transition.graph.stonith_timeout_ms,
            now=now,
            state=state,
        )

    # ---- effects ----------------------------------------------------------------------------------------------------

    def _log(self, entry: entries.Entry) -> None:
        self._effects.append(fx.Log(entry=entry))

    def _report(self, severity: str, code: str, **fields: str) -> None:
        self._effects.append(fx.Report(severity=severity, code=code, fields=fields))

    def _uuid(self) -> str:
        """Of this manager's run: transition keys of two runs never meet."""
        digest = hashlib.sha256(f"{self.node}:{self._incarnation}".encode()).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def _is_busy(node: str, state: ReplicatedState) -> bool:
    """Whether operations that are not recurring are under way there, whoever asked for them."""
    return any(request.executor == node and not request.interval_ms for request in state.pending.values())


def _fence_key(target: str, action: str) -> str:
    """`reboot` and `off` are the same need; `on` is another."""
    return f"fence:{target}:{'on' if action == 'on' else 'off'}"
