"""The executor's side of fencing: one job for each request that this node was asked to carry out.

Decided here: when the next agent is run, what its end means, when the request is done or has failed. A job goes on only
while the request is open, this node has the right to fence, and the target has not booted since; this is asked again
before each agent is run, also after a delay. While this node is between views a job waits. An agent under way is
never cut short: half a reboot is worse than a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence, is_present
from quorate.core.replication.state import ReplicatedState
from quorate.model import entries
from quorate.model.ids import MILLISECOND, SECOND

from .devices import UNKNOWN_AGENT, AgentFacts, Device, HostCheck
from .options import stonith_timeout_ms
from .plan import CHECK_TIMEOUT_MS, Level, Step, levels_for, may_end_itself, steps_of
from .wall import WallTime

CONTROLLER = "quorate-controller"  # the client of the DC's own requests
JOB_TIMER = "fencing-job:"
METADATA_WAIT_NS = 5 * SECOND  # then the agent is taken to be as most are
LIST_VALID_NS = 60 * SECOND  # how long a device's list of hosts is believed, as Pacemaker
RETRY_SHARE = 0.7  # an action that has used more of its timeout is not tried again, as Pacemaker
REASON_CHARS_MAX = 300


@dataclass(slots=True)
class Job:
    """One request under way. `level`, `step`: where it stands. `agent_key`: of the agent that runs now, "" if none."""

    request: entries.FenceRequest
    deadline: int
    levels: tuple[Level, ...] = ()
    level: int = -1
    steps: list[Step] = field(default_factory=list)
    step: int = 0
    tries: int = 0
    runs: int = 0
    agent_key: str = ""
    agent_began: int = 0
    check: Device | None = None  # the agent that runs now only asks this device whether it knows the target
    checked: set[str] = field(default_factory=set)
    waits_until: int = 0
    waits_for: set[str] = field(default_factory=set)  # agents whose metadata is awaited
    held: bool = False  # between views
    was_absent: bool = False  # the target, when this began
    acted: bool = False  # an agent has done something to the target
    told: bool = False  # the result is in the log or on its way; what follows (`on` after `off`) is a courtesy
    reasons: list[str] = field(default_factory=list)


class Execution:
    """`results` are what this node has said and the log has not yet taken: said again when lost."""

    def __init__(self, node: str, facts: Mapping[str, AgentFacts], wall: WallTime) -> None:
        self.node = node
        self.jobs: dict[str, Job] = {}
        self.results: dict[str, entries.FenceResult] = {}
        self._facts = facts
        self._wall = wall
        self._lists: dict[str, tuple[int, frozenset[str]]] = {}  # device -> read at, hosts
        self._situation: ev.Situation | None = None
        self._effects: list[fx.Effect] = []

    def running(self) -> tuple[str, ...]:
        """Requests taken on and not yet answered in the log."""
        return tuple(sorted({key for key, job in self.jobs.items() if not job.told} | set(self.results)))

    # ---- inputs -----------------------------------------------------------------------------------------------------

    def begin(self, request: entries.FenceRequest, now: int, state: ReplicatedState) -> list[fx.Effect]:
        """The request is committed and names this node."""
        fence = state.fences.get(request.id)
        if request.id in self.jobs or fence is None or not fence.is_open:
            return []
        delay_ms = max(0, request.delay_ms)
        job = Job(
            request=request,
            deadline=now + (request.timeout_ms + delay_ms) * MILLISECOND,
            was_absent=not is_present(state.presence(request.target)),
        )
        self.jobs[request.id] = job
        if request.target == self.node and request.action != "on":
            if self._situation is not None and may_end_itself(self._situation, self.node) and not request.devices:
                self._report("critical", "self-fencing", job, cause=request.cause)
                how = "off" if request.action == "off" else "reboot"
                self._effects.append(
                    fx.StopNode(how=how, cause=f"no quorum, no-quorum-policy=suicide: {request.cause}")
                )
                return self._take()
            self._finish(job, now, reason="a node does not execute its own fencing")
            return self._take()
        self._report("notice", "fencing-begun", job, devices=" ".join(request.devices), cause=request.cause)
        levels = levels_for(state.cib, request.target, self._facts)
        job.levels = tuple(level for level in levels if all(device.id in request.devices for device in level.devices))
        agents = sorted({device.agent for level in job.levels for device in level.devices} - set(self._facts))
        if agents:
            job.waits_for = set(agents)
            self._effects += [fx.LoadMetadata(agent=f"stonith:{agent}") for agent in agents]
            self._wait(job, now + METADATA_WAIT_NS)
        elif delay_ms:
            self._wait(job, now + delay_ms * MILLISECOND)
        else:
            self._next_level(job, now, state)
        return self._take()

    def metadata(self, agent: str, now: int, state: ReplicatedState) -> list[fx.Effect]:
        for job in list(self.jobs.values()):
            if agent in job.waits_for:
                job.waits_for.discard(agent)
                if not job.waits_for:
                    self._wait(job, now + max(0, job.request.delay_ms) * MILLISECOND)
        return self._take()

    def situation(self, situation: ev.Situation, now: int, state: ReplicatedState) -> list[fx.Effect]:
        self._situation = situation
        if not situation.synced:
            return []
        for key, result in sorted(self.results.items()):
            fence = state.fences.get(key)
            if fence is None or not fence.is_open:
                del self.results[key]
            else:
                self._effects.append(fx.Log(entry=result))
        for job in list(self.jobs.values()):
            if job.held:
                job.held = False
                self._go_on(job, now, state)
            elif not job.agent_key and not job.told and self._obstacle(job, now, state):
                self._go_on(job, now, state)
        return self._take()

    def timer(self, name: str, now: int, state: ReplicatedState) -> list[fx.Effect]:
        job = self.jobs.get(name.removeprefix(JOB_TIMER))
        if job is None or job.agent_key or not job.waits_until or now < job.waits_until:
            return []
        job.waits_until = 0
        job.waits_for.clear()
        self._go_on(job, now, state)
        return self._take()

    def settled(self, result: entries.FenceResult, now: int) -> list[fx.Effect]:
        """A result took its place in the log, ours or another's."""
        self.results.pop(result.id, None)
        job = self.jobs.get(result.id)
        if job is not None and not job.told:
            job.told = True  # nothing more to say; an agent under way comes to its end
            if not job.agent_key:
                self._drop(job)
        return self._take()

    def lost(self, result: entries.FenceResult, state: ReplicatedState) -> list[fx.Effect]:
        """Our result did not get into the log: it is said again, at the latest in the next view."""
        kept = self.results.get(result.id)
        fence = state.fences.get(result.id)
        if kept is None or fence is None or not fence.is_open:
            self.results.pop(result.id, None)
            return []
        if self._situation is not None and self._situation.synced:
            return [fx.Log(entry=kept)]
        return []

    def exited(self, event: ev.AgentExited, now: int, state: ReplicatedState) -> list[fx.Effect]:
        job = self.jobs.get(event.key.split(":")[1]) if event.key.count(":") == 2 else None
        if job is None or event.key != job.agent_key:
            return []
        job.agent_key = ""
        device, job.check = job.check, None
        if device is not None:
            self._checked(job, device, event, now, state)
        else:
            self._stepped(job, event, now, state)
        return self._take()

    # ---- the way of a job -------------------------------------------------------------------------------------------

    def _go_on(self, job: Job, now: int, state: ReplicatedState) -> None:
        if job.level < 0:
            self._next_level(job, now, state)
        else:
            self._run(job, now, state)

    def _next_level(self, job: Job, now: int, state: ReplicatedState) -> None:
        if self._stopped(job, now, state):
            return
        job.level += 1
        if job.level >= len(job.levels):
            reason = "; ".join(job.reasons) or f"no fencing device can fence {job.request.target}"
            self._finish(job, now, reason=reason)
            return
        request = job.request
        default_ms = self._step_timeout_ms(state, request)
        job.steps = steps_of(job.levels[job.level], request.action, request.target, request.id, default_ms, self._facts)
        job.step, job.tries = 0, 0
        self._run(job, now, state)

    def _step_timeout_ms(self, state: ReplicatedState, request: entries.FenceRequest) -> int:
        return min(stonith_timeout_ms(state.cib), request.timeout_ms)

    def _run(self, job: Job, now: int, state: ReplicatedState) -> None:
        """Run the present step: first its device may have to be asked, then its delay must have passed."""
        if self._stopped(job, now, state):
            return
        step = job.steps[job.step]
        if not self._knows(job, step.device, now, state):
            return
        if job.tries == 0 and step.delay_ms and job.request.delay_ms >= 0:
            job.tries = 1
            self._report("info", "fencing-delayed", job, device=step.device.id, delay_ms=str(step.delay_ms))
            self._wait(job, now + step.delay_ms * MILLISECOND)
            return
        job.tries = max(1, job.tries)
        self._start_agent(job, step.device, step.action, step.timeout_ms, now, state)

    def _knows(self, job: Job, device: Device, now: int, state: ReplicatedState) -> bool:
        """Whether the device can fence the target; if it must be asked, the answer continues the job."""
        facts = self._facts.get(device.agent, UNKNOWN_AGENT)
        check = device.host_check(facts)
        target = job.request.target
        if check in (HostCheck.STATIC, HostCheck.NONE) or device.id in job.checked:
            return True
        job.check = device
        if check is HostCheck.DYNAMIC:
            known = self._lists.get(device.id)
            if known is not None and now - known[0] < LIST_VALID_NS:
                job.check = None
                if device.alias(target) in known[1]:
                    job.checked.add(device.id)
                    return True
                self._level_failed(job, f"{device.id} does not know {target}", now, state)
                return False
            self._start_agent(job, device, "list", CHECK_TIMEOUT_MS, now, state)
        else:
            self._start_agent(job, device, "status", CHECK_TIMEOUT_MS, now, state)
        return False

    def _checked(self, job: Job, device: Device, event: ev.AgentExited, now: int, state: ReplicatedState) -> None:
        target = job.request.target
        if device.host_check(self._facts.get(device.agent, UNKNOWN_AGENT)) is HostCheck.DYNAMIC:
            if event.rc == 0 and not event.timed_out:
                self._lists[device.id] = (now, parse_hosts(event.output))
            knows = event.rc == 0 and device.alias(target) in self._lists.get(device.id, (0, frozenset()))[1]
        else:
            knows = event.rc in (0, 2) and not event.timed_out
        if job.told:
            self._drop(job)
        elif knows:
            job.checked.add(device.id)
            self._run(job, now, state)
        else:
            reason = f"{device.id} does not know {target}" if event.rc == 0 else f"{device.id}: {_reason(event)}"
            self._level_failed(job, reason, now, state)

    def _start_agent(
        self, job: Job, device: Device, action: str, timeout_ms: int, now: int, state: ReplicatedState
    ) -> None:
        facts = self._facts.get(device.agent, UNKNOWN_AGENT)
        target = None if action == "list" else job.request.target
        record = state.nodes.get(job.request.target)
        parameters = device.agent_parameters(facts, action, target, record.id if record is not None else 0)
        job.runs += 1
        job.agent_key = f"fence:{job.request.id}:{job.runs}"
        job.agent_began = now
        self._effects.append(
            fx.RunFenceAgent(
                key=job.agent_key,
                agent=device.agent,
                action=parameters["action"],
                timeout_ms=timeout_ms,
                parameters=parameters,
            )
        )

    def _stepped(self, job: Job, event: ev.AgentExited, now: int, state: ReplicatedState) -> None:
        step = job.steps[job.step]
        if event.rc == 0 and not event.timed_out and not event.alive:
            job.acted = True
            self._report("info", "fencing-step", job, device=step.device.id, step=step.action)
            self._step_done(job, now, state)
            return
        reason = f"{step.device.id} {step.action}: {_reason(event)}"
        self._report("warning", "fencing-step-failed", job, device=step.device.id, step=step.action, reason=reason)
        if not step.essential:
            self._step_done(job, now, state)
            return
        if job.told:
            self._drop(job)
            return
        used = (now - job.agent_began) / MILLISECOND / max(1, step.timeout_ms)
        if job.tries < step.tries and used < RETRY_SHARE and not event.missing and not event.alive:
            job.tries += 1
            self._run(job, now, state)
            return
        self._level_failed(job, reason, now, state)

    def _step_done(self, job: Job, now: int, state: ReplicatedState) -> None:
        device = job.steps[job.step].device.id
        job.step += 1
        job.tries = 0
        left = job.steps[job.step :]
        if not any(step.essential for step in left) and not job.told:
            self._tell(job, now, confirmed=True, device=device)
        if not left:
            self._drop(job)
            return
        self._run(job, now, state)

    def _level_failed(self, job: Job, reason: str, now: int, state: ReplicatedState) -> None:
        job.reasons.append(reason)
        self._next_level(job, now, state)

    # ---- whether it may go on ---------------------------------------------------------------------------------------

    def _obstacle(self, job: Job, now: int, state: ReplicatedState) -> str:
        """Why nothing more may be done for this request; "" if there is nothing in the way."""
        situation = self._situation
        fence = state.fences.get(job.request.id)
        if fence is None or not fence.is_open:
            return "settled"
        known = state.boot_ids.get(job.request.target, "")
        if job.request.action != "on" and known not in ("", job.request.boot_id):
            return "booted"
        if situation is not None and not situation.rights.fence:
            return "no-right"
        if job.was_absent and not job.acted and job.request.client == CONTROLLER:
            if state.presence(job.request.target) is Presence.ONLINE:
                return "back"
        return "timeout" if now > job.deadline else ""

    def _stopped(self, job: Job, now: int, state: ReplicatedState) -> bool:
        """Stop or hold the job if it must not go on now."""
        if job.told:  # only what follows a fencing that is done: power on again
            return False
        if self._situation is None or not self._situation.synced:
            job.held = True
            return True
        obstacle = self._obstacle(job, now, state)
        match obstacle:
            case "":
                return False
            case "settled":
                self._drop(job)
            case "booted":
                self._finish(job, now, reason=f"{job.request.target} has booted since", void=True)
            case "back":
                self._finish(job, now, reason=f"{job.request.target} is a member again and was not touched", void=True)
            case "no-right":
                self._finish(job, now, reason="this partition lost the right to fence")
            case _:
                self._finish(job, now, reason="; ".join(job.reasons) or "the time allowed is used up")
        return True

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _finish(self, job: Job, now: int, *, reason: str, void: bool = False) -> None:
        self._tell(job, now, confirmed=False, device="", reason=reason, void=void)
        self._drop(job)

    def _tell(self, job: Job, now: int, *, confirmed: bool, device: str, reason: str = "", void: bool = False) -> None:
        request = job.request
        result = entries.FenceResult(
            id=request.id,
            target=request.target,
            boot_id=request.boot_id,
            action=request.action,
            executor=self.node,
            device=device,
            confirmed=confirmed,
            reason=reason[:REASON_CHARS_MAX],
            at=self._wall.seconds(now),
            void=void,
        )
        job.told = True
        self.results[request.id] = result
        self._effects.append(fx.Log(entry=result))

    def _drop(self, job: Job) -> None:
        self.jobs.pop(job.request.id, None)

    def _wait(self, job: Job, until: int) -> None:
        job.waits_until = until
        self._effects.append(fx.SetTimer(name=JOB_TIMER + job.request.id, at=until))

    def _report(self, severity: str, code: str, job: Job, **fields: str) -> None:
        request = job.request
        about = {"target": request.target, "action": request.action, "request": request.id}
        self._effects.append(fx.Report(severity=severity, code=code, fields=about | fields))

    def _take(self) -> list[fx.Effect]:
        effects, self._effects = self._effects, []
        return effects


def parse_hosts(output: str) -> frozenset[str]:
    """The first field of each line of an agent's `list` (name,alias), and the aliases."""
    found: set[str] = set()
    for line in output.splitlines():
        fields = [part.strip() for part in re.split(r"[,\t]", line.strip())]
        found.update(part for part in fields[:2] if part)
        found.update(fields[0].split()[:1])
    return frozenset(found)


def _reason(event: ev.AgentExited) -> str:
    if event.timed_out:
        return "timed out"
    if event.missing:
        return "the agent is not installed"
    if event.alive:
        return "the agent could not be ended"
    lines = [line.strip() for line in (event.reason or event.errors).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {event.rc}"
