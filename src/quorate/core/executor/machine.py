"""The executor of one node: what the log has committed is run here, and what came of it goes back into the log.

Decided here: when each action begins (one at a time for each resource, different ones side by side), whether
this node still has the right to it, when a monitor comes back and whether its result is news, and that each result is
in the log exactly once. Not decided here: which actions there are (scheduler, controller), how an agent is run (host).

Source: Pacemaker's executor, as its users see it: a state change cancels the resource's monitors, and monitors report
changes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Union

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.model.cib.status import CANCELLED, RC_REFUSED
from quorate.model.entries import ActionCancel, ActionRequest, ActionResult, Entry, HistoryCleared
from quorate.model.ids import MILLISECOND, SECOND

from . import devices, results
from .metadata import AgentFacts, read_facts
from .queue import Instance, Job, Name, Recurring
from .rights import GRANTING, Holdings

PARALLEL_MAX = 64  # agents at once; what stops or demotes is not counted
SEEN_MAX = 8192  # transition keys remembered, so that a request runs once
FACTS_MAX = 512
METADATA_WAIT_NS = 5 * SECOND  # a result does not wait longer for its agent's metadata
METADATA_RETRY_NS = 60 * SECOND
_TIMER = "executor-"
STOP_TIMEOUT_MS_LEAST = 20_000  # Pacemaker's default; the stop's own is not known to whoever only started it
STOPS_ALL = "this node stops all its resources"
_NOT_STATE_CHANGING = frozenset({"monitor", "notify", "meta-data", "validate-all"})
_ENDING = frozenset({"stop", "demote", "migrate_to"})

Incoming = Union[ev.Event, ev.Inner]


class Executor:
    """`handle(event, now) -> effects`. Timers begin with "executor-", keys of agents' runs with "run-"."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._instances: dict[Name, Instance] = {}
        self._runs: dict[str, Instance] = {}
        self._counted: dict[str, None] = {}  # runs that PARALLEL_MAX limits
        self._ready: OrderedDict[Name, None] = OrderedDict()  # held up by PARALLEL_MAX
        self._timers: dict[str, tuple[Name, Recurring | Job]] = {}
        self._active: dict[Name, ActionRequest] = {}  # in the order in which they came to life
        self._promoted: dict[Name, None] = {}
        self._holdings = Holdings()
        self._devices = devices.Devices()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._unapplied: dict[ActionResult, None] = {}
        self._facts: OrderedDict[str, AgentFacts] = OrderedDict()
        self._loading: dict[str, int] = {}  # agents whose metadata is on its way: since when
        self._lacking: dict[str, int] = {}  # agents whose metadata was not to be had: since when
        self._withheld: dict[str, list[results.Ended]] = {}  # results that wait for their agent's metadata
        self._stopping: list[Name] | None = None
        self._afterwards: tuple[tuple[fx.Effect, ...], tuple[fx.Effect, ...]] = ((), ())
        self._calls = 0
        self._run_number = 0
        self._wall = (0, 0)  # wall seconds and BOOTTIME when they were told
        self._effects: list[fx.Effect] = []

    # ---- for the manager -------------------------------------------------------------------------------------------

    def handle(self, event: Incoming, now: int) -> list[fx.Effect]:
        match event:
            case ev.Committed():
                self._committed(event.entry, now)
            case ev.Applied():
                self._applied(event.entry, mine=event.mine)
            case ev.EntryLost():
                self._lost(event.entry)
            case ev.AgentExited():
                self._exited(event, now)
            case ev.MetadataLoaded():
                self._metadata_loaded(event)
            case ev.TimerFired():
                self._timer(event.name, now)
            case ev.Situation():
                active = {name: name in self._promoted for name in self._active}
                self._holdings.situation_changed(event, active)
            case ev.Started() | ev.WallClock():
                self._wall = (event.wall, now)
            case _:
                pass  # what others are told
        effects, self._effects = self._effects, []
        return effects

    def running(self) -> tuple[str, ...]:
        """Transition keys of requests that were accepted here and whose result is not in the log yet, sorted."""
        keys = {result.key for result in self._unapplied}
        keys |= {ended.request.key for withheld in self._withheld.values() for ended in withheld}
        for instance in self._instances.values():
            jobs = [*instance.jobs, *([instance.current] if instance.current else [])]
            keys |= {job.request.key for job in jobs if not job.given_up and not job.local}
            keys |= {monitor.request.key for monitor in instance.recurring.values() if monitor.reported is None}
        keys |= {work.request.key for _, work in self._timers.values() if isinstance(work, Job)}
        return tuple(sorted(keys))

    def active(self) -> tuple[str, ...]:
        """Resources that are active here as far as this executor knows, in the order in which they came to life."""
        return tuple(resource for _, resource in self._active)

    def devices(self) -> tuple[str, ...]:
        """Fence devices that are registered here."""
        return self._devices.registered()

    @property
    def is_stopping(self) -> bool:
        """`stop_all` is under way."""
        return self._stopping is not None

    def stop_all(
        self, now: int, then: Sequence[fx.Effect] = (), otherwise: Sequence[fx.Effect] = ()
    ) -> list[fx.Effect]:
        """Stop whatever is active, the youngest first, one after the other; nothing else begins meanwhile.

        Ends with the report "all-stopped" and the effects `then`, or with "stop-all-failed", which names what did not
        stop, and `otherwise`. While it is under way a further call only replaces these effects."""
        if then or otherwise or self._stopping is None:
            self._afterwards = (tuple(then), tuple(otherwise))
        if self._stopping is None:
            self._stopping = []
            for instance in self._instances.values():
                self._cancel_all_recurring(instance)
                dropped = [job for job in instance.jobs if job.request.operation not in _ENDING]
                instance.jobs = deque(job for job in instance.jobs if job.request.operation in _ENDING)
                for job in dropped:
                    self._finish(job, results.refused(STOPS_ALL), now)
            for name, (_, work) in list(self._timers.items()):
                self._drop_timer(name)
                if isinstance(work, Job):
                    self._finish(work, results.refused(STOPS_ALL), now)
            self._report("warning", "stopping-all", resources=" ".join(self.active()))
            self._stop_next(now)
        effects, self._effects = self._effects, []
        return effects

    # ---- the log ---------------------------------------------------------------------------------------------------

    def _committed(self, entry: Entry, now: int) -> None:
        match entry:
            case ActionRequest() if entry.executor == self.node:
                self._accept(entry, now)
            case ActionCancel() if entry.executor == self.node:
                self._cancel(entry, now)
            case HistoryCleared() if entry.node in (None, self.node) or self._knows_node(entry.node):
                self._history_cleared(entry)
            case _:
                pass

    def _knows_node(self, node: str | None) -> bool:
        return any(name[0] == node for name in self._instances)

    def _applied(self, entry: Entry, *, mine: bool) -> None:
        if isinstance(entry, ActionResult) and mine:
            self._unapplied.pop(entry, None)

    def _lost(self, entry: Entry) -> None:
        if isinstance(entry, ActionResult) and entry in self._unapplied:
            self._effects.append(fx.Log(entry=entry))

    def _accept(self, request: ActionRequest, now: int) -> None:
        if request.key in self._seen:
            return
        self._seen[request.key] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        self._calls += 1
        self._want_metadata(request, now)
        instance = self._instance((request.node, request.resource))
        if self._stopping is not None and request.operation not in _ENDING:
            job = Job(request=request, call_id=self._calls, queued_at=now)
            self._finish(job, results.refused(STOPS_ALL), now)
        elif request.interval_ms:
            self._begin_recurring(instance, request, now)
        else:
            if request.operation not in _NOT_STATE_CHANGING:
                self._cancel_all_recurring(instance)
            job = Job(request=request, call_id=self._calls, queued_at=now)
            if request.start_delay_ms:
                name = f"{_TIMER}delay:{request.key}"
                self._timers[name] = (instance.name, job)
                self._set_timer(name, now + request.start_delay_ms * MILLISECOND)
            else:
                instance.jobs.append(job)
                self._advance(instance, now)

    def _history_cleared(self, cleared: HistoryCleared) -> None:
        """A forgotten monitor is not run any more; a forgotten failure is news when it shows again."""
        if not cleared.history:
            return
        for name, instance in list(self._instances.items()):
            node, resource = name
            if cleared.node not in (None, node) or not _is_of(cleared.resource, resource):
                continue
            for monitor in list(instance.recurring.values()):
                if cleared.operation not in (None, monitor.request.operation):
                    continue
                if cleared.interval_ms not in (None, monitor.request.interval_ms):
                    continue
                if cleared.failures_only:
                    monitor.reported = None
                else:
                    self._drop_recurring(instance, monitor)

    # ---- recurring actions -----------------------------------------------------------------------------------------

    def _begin_recurring(self, instance: Instance, request: ActionRequest, now: int) -> None:
        monitor = Recurring(request=request, call_id=self._calls)
        former = instance.recurring.get(monitor.slot)
        if former is not None:
            self._drop_recurring(instance, former)
        instance.recurring[monitor.slot] = monitor
        if request.start_delay_ms:
            self._rearm(instance, monitor, now + request.start_delay_ms * MILLISECOND)
        else:
            self._enqueue(instance, monitor, now)

    def _rearm(self, instance: Instance, monitor: Recurring, at: int) -> None:
        name = _monitor_timer(instance.name, monitor)
        self._timers[name] = (instance.name, monitor)
        self._set_timer(name, at)

    def _enqueue(self, instance: Instance, monitor: Recurring, now: int) -> None:
        monitor.waiting = True
        job = Job(request=monitor.request, call_id=monitor.call_id, queued_at=now, recurring=monitor)
        instance.jobs.append(job)
        self._advance(instance, now)

    def _drop_recurring(self, instance: Instance, monitor: Recurring) -> None:
        instance.recurring.pop(monitor.slot, None)
        self._drop_timer(_monitor_timer(instance.name, monitor))
        instance.jobs = deque(job for job in instance.jobs if job.recurring is not monitor)
        current = instance.current
        if current is not None and current.recurring is monitor and not current.given_up:
            current.given_up = True
            self._effects.append(fx.KillAgent(key=current.run))

    def _cancel_all_recurring(self, instance: Instance) -> None:
        for monitor in list(instance.recurring.values()):
            self._drop_recurring(instance, monitor)

    def _cancel(self, cancel: ActionCancel, now: int) -> None:
        if cancel.key in self._seen:
            return
        self._seen[cancel.key] = None
        instance = self._instances.get((cancel.node, cancel.resource))
        monitor = instance.recurring.get((cancel.operation, cancel.interval_ms)) if instance else None
        if instance is not None and monitor is not None:
            self._drop_recurring(instance, monitor)
        self._log(_cancelled(cancel, monitor))
        if instance is not None:
            self._forget_if_idle(instance)

    # ---- running ---------------------------------------------------------------------------------------------------

    def _instance(self, name: Name) -> Instance:
        found = self._instances.get(name)
        if found is None:
            found = self._instances[name] = Instance(name=name)
        return found

    def _forget_if_idle(self, instance: Instance) -> None:
        if instance.is_idle:
            self._instances.pop(instance.name, None)

    def _advance(self, instance: Instance, now: int) -> None:
        """Begin the next of the resource's actions, if none runs and there is room for one."""
        while instance.current is None and instance.jobs:
            job = instance.jobs[0]
            counted = job.request.operation not in _ENDING
            if counted and len(self._counted) >= PARALLEL_MAX:
                self._ready[instance.name] = None
                return
            instance.jobs.popleft()
            refusal = self._refusal(job, instance.name)
            if refusal:
                self._report("warning", "action-refused", key=job.request.key, resource=instance.name[1],
                             operation=job.request.operation, why=refusal)  # fmt: skip
                self._ended(instance, job, results.refused(refusal), now)
                continue
            self._begin(instance, job, counted, now)
        self._forget_if_idle(instance)

    def _refusal(self, job: Job, name: Name) -> str:
        if job.request.operation in GRANTING and self._stopping is not None:
            return STOPS_ALL
        return self._holdings.refusal(job.request.operation, job.request.agent_class, name)

    def _begin(self, instance: Instance, job: Job, counted: bool, now: int) -> None:
        request = job.request
        self._run_number += 1
        job.run = f"run-{self._run_number}:{request.resource}_{request.operation}_{request.interval_ms}"
        job.begun_at = now
        if request.agent_class == "stonith":
            self._begin_device(instance, job, now)
            if instance.current is None:
                return
        else:
            instance.current = job
            self._effects.append(
                fx.RunAgent(
                    key=job.run,
                    resource=request.resource,
                    agent_class=request.agent_class,
                    provider=request.provider,
                    agent=request.agent,
                    operation=request.operation,
                    interval_ms=request.interval_ms,
                    timeout_ms=request.timeout_ms,
                    parameters=request.parameters,
                    meta=request.meta,
                )
            )
        self._runs[job.run] = instance
        if counted:
            self._counted[job.run] = None

    def _begin_device(self, instance: Instance, job: Job, now: int) -> None:
        """A fence device: most of it is done at once; to check the device its agent is run."""
        request = job.request
        registered = self._devices.is_registered(instance.name)
        match request.operation:
            case "start":
                checks = True
            case "monitor":
                checks = registered and request.interval_ms > 0
            case "stop":
                self._devices.unregister(instance.name)
                checks = False
            case _:
                self._ended(instance, job, results.unsupported(request), now)
                return
        if checks:
            instance.current = job
            self._effects.append(devices.monitor_effect(request, job.run))
            return
        inactive = request.operation == "monitor" and not registered
        self._ended(instance, job, (results.OCF_NOT_RUNNING if inactive else results.OCF_OK, 0, ""), now)

    def _exited(self, event: ev.AgentExited, now: int) -> None:
        instance = self._runs.pop(event.key, None)
        self._counted.pop(event.key, None)
        if instance is None or instance.current is None or instance.current.run != event.key:
            return
        job, instance.current = instance.current, None
        self._wall = (event.started_at + event.execution_ms // 1000, now) if event.started_at else self._wall
        if job.given_up:
            if event.alive:
                self._report("error", "agent-survives", resource=job.request.resource, operation=job.request.operation)
        else:
            ended = results.outcome(event, job.request)
            if job.request.agent_class == "stonith":
                ended = self._device_checked(instance.name, job.request, ended)
            self._ended(instance, job, ended, now, event)
        self._advance(instance, now)
        self._room_for_more(now)

    def _device_checked(self, name: Name, request: ActionRequest, ended: tuple[int, int, str]) -> tuple[int, int, str]:
        rc, status, reason = ended
        if request.operation == "start" and rc == 0 and status == 0:
            self._devices.register(name, request)
        return (results.OCF_ERROR if rc and status == 0 else rc), status, reason

    def _room_for_more(self, now: int) -> None:
        while self._ready and len(self._counted) < PARALLEL_MAX:
            name, _ = self._ready.popitem(last=False)
            instance = self._instances.get(name)
            if instance is not None:
                self._advance(instance, now)

    # ---- what came of it -------------------------------------------------------------------------------------------

    def _ended(
        self, instance: Instance, job: Job, ended: tuple[int, int, str], now: int, event: ev.AgentExited | None = None
    ) -> None:
        self._note_activity(instance.name, job.request, ended)
        if job.recurring is None:
            self._finish(job, ended, now, event)
        else:
            self._monitored(instance, job, job.recurring, ended, now, event)
        if job.local:
            self._stopped_locally(instance.name, ended, now)

    def _monitored(
        self,
        instance: Instance,
        job: Job,
        monitor: Recurring,
        ended: tuple[int, int, str],
        now: int,
        event: ev.AgentExited | None,
    ) -> None:
        monitor.waiting = False
        started_at = event.started_at if event else 0
        if monitor.last != ended[:2]:
            monitor.last, monitor.changed_at = ended[:2], started_at or self._wall_seconds(now)
        if monitor.reported != ended:
            monitor.reported = ended
            self._finish(job, ended, now, event, changed_at=monitor.changed_at)
        if instance.recurring.get(monitor.slot) is monitor:
            self._rearm(instance, monitor, now + job.request.interval_ms * MILLISECOND)

    def _note_activity(self, name: Name, request: ActionRequest, ended: tuple[int, int, str]) -> None:
        """What is known to be active here, for `stop_all` and for the right to restart in place."""
        rc, status, _ = ended
        operation, good = request.operation, status == 0 and rc == 0
        if operation == "monitor":
            if status == 0 and rc in results.ACTIVE_CODES:
                self._came_to_life(name, request, promoted=rc in (8, 191))
            elif status == 0 and rc == results.OCF_NOT_RUNNING:
                self._active.pop(name, None)
                self._promoted.pop(name, None)
        elif operation in ("stop", "migrate_to"):
            if good:
                self._active.pop(name, None)
                self._promoted.pop(name, None)
                self._holdings.ended(name, moved=operation == "migrate_to")
        elif operation == "demote":
            if good:
                self._promoted.pop(name, None)
                self._holdings.ended(name, demoted_only=True)
        elif operation in GRANTING and rc != RC_REFUSED:
            if good:
                self._came_to_life(name, request, promoted=operation == "promote")
            else:  # what it left behind is unknown
                self._active.setdefault(name, request)

    def _came_to_life(self, name: Name, request: ActionRequest, *, promoted: bool) -> None:
        known = self._active.get(name)
        if known is None or request.operation == "start":
            self._active[name] = request
        if promoted:
            self._promoted[name] = None
        self._holdings.became_active(name, promoted)

    def _finish(
        self,
        job: Job,
        outcome: tuple[int, int, str],
        now: int,
        event: ev.AgentExited | None = None,
        changed_at: int = 0,
    ) -> None:
        """The result goes into the log, at once or when the agent's metadata is here."""
        started_at = (event.started_at if event else 0) or self._wall_seconds(now)
        ended = results.Ended(
            request=job.request,
            call_id=job.call_id,
            queue_ms=results.queue_ms(job),
            outcome=outcome,
            started_at=started_at,
            changed_at=changed_at or started_at,
            execution_ms=event.execution_ms if event else 0,
            output=event.output if event else "",
        )
        agent = results.agent_name(job.request)
        since = self._loading.get(agent) if results.needs_metadata(job.request) else None
        if since is not None and now - since < METADATA_WAIT_NS:
            if agent not in self._withheld:
                self._withheld[agent] = []
                self._set_timer(f"{_TIMER}metadata:{agent}", since + METADATA_WAIT_NS)
            self._withheld[agent].append(ended)
        else:
            self._log(results.action_result(ended, self._facts.get(agent)))

    def _log(self, result: ActionResult) -> None:
        self._unapplied[result] = None
        self._effects.append(fx.Log(entry=result))

    def _wall_seconds(self, now: int) -> int:
        wall, at = self._wall
        return wall + (now - at) // SECOND if wall else 0

    # ---- metadata --------------------------------------------------------------------------------------------------

    def _want_metadata(self, request: ActionRequest, now: int) -> None:
        agent = results.agent_name(request)
        if request.agent_class not in ("ocf", "stonith") or agent in self._facts:
            return
        last = max(self._loading.get(agent, now - METADATA_RETRY_NS), self._lacking.get(agent, now - METADATA_RETRY_NS))
        if now - last >= METADATA_RETRY_NS:
            self._loading[agent] = now
            self._effects.append(fx.LoadMetadata(agent=agent))

    def _metadata_loaded(self, event: ev.MetadataLoaded) -> None:
        facts = read_facts(event.xml) if event.xml is not None else None
        since = self._loading.pop(event.agent, None)
        if facts is not None:
            self._facts[event.agent] = facts
            self._lacking.pop(event.agent, None)
            if len(self._facts) > FACTS_MAX:
                self._facts.popitem(last=False)
        elif since is not None:
            self._lacking[event.agent] = since
            self._report("warning", "no-metadata", agent=event.agent, error=event.error or "it is not valid XML")
        self._release(event.agent)

    def _release(self, agent: str) -> None:
        """Results that waited: with what the metadata says, or without it."""
        withheld = self._withheld.pop(agent, None)
        if withheld is None:
            return
        self._effects.append(fx.CancelTimer(name=f"{_TIMER}metadata:{agent}"))
        for ended in withheld:
            self._log(results.action_result(ended, self._facts.get(agent)))

    # ---- timers ----------------------------------------------------------------------------------------------------

    def _timer(self, name: str, now: int) -> None:
        if name.startswith(f"{_TIMER}metadata:"):
            self._release(name.removeprefix(f"{_TIMER}metadata:"))
            return
        found = self._timers.pop(name, None)
        if found is None:
            return
        instance = self._instance(found[0])
        work = found[1]
        if isinstance(work, Job):
            instance.jobs.append(work)
            self._advance(instance, now)
        elif instance.recurring.get(work.slot) is work and not work.waiting:
            self._enqueue(instance, work, now)

    def _set_timer(self, name: str, at: int) -> None:
        self._effects.append(fx.SetTimer(name=name, at=at))

    def _drop_timer(self, name: str) -> None:
        if self._timers.pop(name, None) is not None:
            self._effects.append(fx.CancelTimer(name=name))

    def _report(self, severity: str, code: str, **fields: str) -> None:
        self._effects.append(fx.Report(severity=severity, code=code, fields=fields))

    # ---- stopping everything ---------------------------------------------------------------------------------------

    def _stop_next(self, now: int) -> None:
        assert self._stopping is not None
        waiting = [name for name in reversed(self._active) if name not in self._stopping]
        if not waiting:
            failed = [resource for node, resource in self._stopping if (node, resource) in self._active]
            if failed:
                self._report("critical", "stop-all-failed", resources=" ".join(failed))
            else:
                self._report("notice", "all-stopped")
            self._effects.extend(self._afterwards[1 if failed else 0])
            self._stopping = None
            return
        name = waiting[0]
        self._stopping.append(name)
        self._calls += 1
        request = _stop_request(self._active[name], self._calls)
        instance = self._instance(name)
        instance.jobs.append(Job(request=request, call_id=self._calls, queued_at=now, local=True))
        self._advance(instance, now)

    def _stopped_locally(self, name: Name, ended: tuple[int, int, str], now: int) -> None:
        if ended[:2] != (0, 0):
            self._report("error", "stop-failed", resource=name[1], reason=ended[2] or f"code {ended[0]}")
        if self._stopping is not None:
            self._stop_next(now)


def _monitor_timer(name: Name, monitor: Recurring) -> str:
    operation, interval_ms = monitor.slot
    return f"{_TIMER}{name[0]}:{name[1]}:{operation}:{interval_ms}"


def _is_of(cleared: str | None, resource: str) -> bool:
    """A clone's plain name stands for its numbered instances too."""
    return cleared is None or cleared == resource or resource.rpartition(":")[0] == cleared


def _cancelled(cancel: ActionCancel, monitor: Recurring | None) -> ActionResult:
    request = monitor.request if monitor else None
    return ActionResult(
        key=cancel.key,
        node=cancel.node,
        executor=cancel.executor,
        resource=cancel.resource,
        agent_class=request.agent_class if request else "",
        provider=request.provider if request else None,
        agent=request.agent if request else "",
        operation=cancel.operation,
        interval_ms=cancel.interval_ms,
        rc=0,
        status=CANCELLED,
        call_id=monitor.call_id if monitor else -1,
        reason="",
    )


def _stop_request(last: ActionRequest, number: int) -> ActionRequest:
    """The stop of what `last` brought to life or found: asked for by no transition, as the -1 in its key says."""
    meta = {name: value for name, value in last.meta.items() if name in ("on_node", "on_node_uuid", "timeout")}
    return ActionRequest(
        key=f"{number}:-1:0:{last.executor}",
        node=last.node,
        executor=last.executor,
        resource=last.resource,
        agent_class=last.agent_class,
        provider=last.provider,
        agent=last.agent,
        operation="stop",
        interval_ms=0,
        timeout_ms=max(last.timeout_ms, STOP_TIMEOUT_MS_LEAST),
        target_rc=0,
        parameters=last.parameters,
        meta=meta,
    )
