"""Fencing on one node: asks for it (as the DC, or for an operator), sees it through, and carries out what it is asked
to.

Decided here: when a request is put into the log, when one that is open anyway serves as well, how long to wait before
the next attempt, when a request whose executor is gone counts as of unknown outcome. Who is fenced and why is decided
by the scheduler and the operator; devices and steps are in `plan`, their execution in `execution`.

What is owed is never given up: each failure doubles the pause (1 s to 60 s), and only success, a newer boot of the
target or the operator's word ends it. A request names the target's boot id, so that a node that has booted since is
not shot for what it owed before. Source: the project's rules of the log 4 and 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core.arbitration.conditions import Presence, is_present
from quorate.core.replication.state import FenceState, ReplicatedState
from quorate.model import entries, protocol
from quorate.model.agents import AgentError
from quorate.model.ids import MILLISECOND, SECOND

from .devices import AgentFacts, parse_agent, read_devices
from .execution import CONTROLLER, JOB_TIMER, Execution
from .options import stonith_timeout_ms
from .plan import Level, choose_executor, levels_for, may_end_itself, total_timeout_ms
from .wall import WallTime

BACKOFF_NS_MAX = 60 * SECOND
LOST_RETRY_NS = 200 * MILLISECOND
GUARD_MARGIN_NS = 30 * SECOND  # beyond a request's own time, before its outcome counts as unknown
WANTS_MAX = 1_000

WANT_TIMER = "fencing-want"
GUARD_TIMER = "fencing-guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A fencing that is to be asked for. `boot_id`: of the target when the need arose; another one settles it."""

    target: str
    action: str
    boot_id: str
    cause: str
    client: str
    delay_ms: int
    timeout_ms: int
    not_before: int = 0
    by_operator: bool = False
    id: str = ""

    @property
    def need(self) -> tuple[str, bool]:
        """`reboot` and `off` serve the same need."""
        return (self.target, self.action == "on")


class Fencer:
    """`handle(event, now, state)` on every node; `want`, `want_only` and `release` are for the controller of the DC,
    `asked` for an operator's request on any node."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._facts: dict[str, AgentFacts] = {}  # by agent
        self._metadata_asked: set[str] = set()
        self._wall = WallTime()
        self._execution = Execution(node, self._facts, self._wall)
        self._situation: ev.Situation | None = None
        self._incarnation = 0
        self._number = 0
        self._wants: dict[tuple[str, bool], Want] = {}
        self._sent: dict[str, Want] = {}  # request id -> want, given to the log and not yet applied
        self._asked: dict[str, Want] = {}  # an operator's requests, until they are answered
        self._failures: dict[tuple[str, str], tuple[int, int]] = {}  # (target, boot id) -> failures, ns of the last
        self._open_since: dict[str, int] = {}
        self._given_up: set[str] = set()  # requests whose unknown outcome this node has put into the log
        self._configuration_at: tuple[int, int] = (-1, -1)
        self._effects: list[fx.Effect] = []

    # ---- what others ask --------------------------------------------------------------------------------------------

    def running(self) -> tuple[str, ...]:
        """Ids of the requests that this node has taken on and not yet answered in the log."""
        return self._execution.running()

    def devices(self, state: ReplicatedState, target: str | None = None) -> tuple[str, ...]:
        """Ids of the enabled devices; with `target` those that may fence it, in the order in which they are tried."""
        if target is None:
            return tuple(device.id for device in read_devices(state.cib))
        found = [device.id for level in levels_for(state.cib, target, self._facts) for device in level.devices]
        return tuple(dict.fromkeys(found))

    def is_final(self, result: entries.FenceResult) -> bool:
        """Whether a failed result is the last word for the operator who asked: all but one that was never begun."""
        return result.id not in self._asked or not result.void

    # ---- the one entry ----------------------------------------------------------------------------------------------

    def handle(self, event: ev.Event | ev.Inner, now: int, state: ReplicatedState) -> list[fx.Effect]:
        match event:
            case ev.Started():
                self._incarnation = event.incarnation
                self._wall.set(event.wall, now)
            case ev.WallClock():
                self._wall.set(event.wall, now)
            case ev.Situation():
                self._situation_changed(event, now, state)
            case ev.Applied():
                if not (event.rc and isinstance(event.entry, entries.FenceResult)):  # a refused word settles nothing
                    self._applied(event.entry, now, state)
            case ev.Committed():
                if isinstance(event.entry, entries.FenceRequest) and event.entry.executor == self.node:
                    self._effects += self._execution.begin(event.entry, now, state)
            case ev.EntryLost():
                self._lost(event.entry, now, state)
            case ev.AgentExited():
                self._effects += self._execution.exited(event, now, state)
            case ev.MetadataLoaded():
                self._metadata(event, now, state)
            case ev.TimerFired():
                self._timer(event.name, now, state)
            case _:
                pass
        effects, self._effects = self._effects, []
        return effects

    def _situation_changed(self, situation: ev.Situation, now: int, state: ReplicatedState) -> None:
        self._situation = situation
        self._incarnation = situation.incarnation
        self._effects += self._execution.situation(situation, now, state)
        if not situation.synced:
            return
        boot_ids = dict(situation.boot_ids)
        for target, boot_id in [key for key in self._failures if boot_ids.get(key[0], key[1]) != key[1]]:
            del self._failures[(target, boot_id)]
        self._learn_agents(state)
        self._ask_again(now, state)
        self._given_up.clear()
        for fence in state.fences.values():
            if fence.is_open:
                self._open_since.setdefault(fence.request.id, now)
        self._guard(now, state)
        self._pursue(now, state)

    def _applied(self, entry: entries.Entry, now: int, state: ReplicatedState) -> None:
        match entry:
            case entries.Change():
                self._learn_agents(state)
            case entries.FenceRequest():
                self._sent.pop(entry.id, None)
                self._open_since[entry.id] = now
                self._set_guard(now, state)
            case entries.FenceResult():
                self._result(entry, now)
            case _:
                pass

    def _result(self, result: entries.FenceResult, now: int) -> None:
        self._effects += self._execution.settled(result, now)
        self._open_since.pop(result.id, None)
        self._given_up.discard(result.id)
        self._asked.pop(result.id, None)
        owed = (result.target, result.boot_id)
        if result.confirmed:
            self._failures.pop(owed, None)
        elif not result.void:
            count, _ = self._failures.get(owed, (0, 0))
            self._failures[owed] = (count + 1, now)
        severity, code = ("notice", "fenced") if result.confirmed else ("error", "fencing-failed")
        if result.void:
            severity, code = "notice", "fencing-void"
        self._report(
            severity,
            code,
            target=result.target,
            action=result.action,
            executor=result.executor,
            device=result.device,
            reason=result.reason,
            by_hand=str(result.by_hand).lower(),
            request=result.id,
        )

    def _lost(self, entry: entries.Entry, now: int, state: ReplicatedState) -> None:
        if isinstance(entry, entries.FenceRequest):
            want = self._sent.pop(entry.id, None)
            if want is not None and want.need not in self._wants:
                self._keep(want, now + LOST_RETRY_NS)
        elif isinstance(entry, entries.FenceResult):
            if entry.unknown:
                self._given_up.discard(entry.id)
                self._set_guard(now, state, at=now + LOST_RETRY_NS)
            elif entry.by_hand:
                self._effects.append(fx.Log(entry=entry))
            else:
                self._effects += self._execution.lost(entry, state)

    def _timer(self, name: str, now: int, state: ReplicatedState) -> None:
        if name.startswith(JOB_TIMER):
            self._effects += self._execution.timer(name, now, state)
        elif name == WANT_TIMER:
            self._pursue(now, state)
        elif name == GUARD_TIMER:
            self._guard(now, state)

    # ---- asking for a fencing ---------------------------------------------------------------------------------------

    def want(
        self, target: str, action: str, *, cause: str, delay_ms: int, timeout_ms: int, now: int, state: ReplicatedState
    ) -> list[fx.Effect]:
        """The DC's graph asks for it: at once, after the pause that earlier failures demand, or not anew when a
        request for the same need is open. Its end is an `Applied(FenceResult)` for the target."""
        boot_id = state.boot_ids.get(target, "")
        count, last = self._failures.get((target, boot_id), (0, 0))
        pause = min(BACKOFF_NS_MAX, SECOND << min(count - 1, 10)) if count else 0
        want = Want(
            target=target,
            action=action,
            boot_id=boot_id,
            cause=cause,
            client=CONTROLLER,
            delay_ms=delay_ms,
            timeout_ms=timeout_ms,
            not_before=last + pause if count else now,
        )
        self._wants[want.need] = want
        self._pursue(now, state)
        effects, self._effects = self._effects, []
        return effects

    def want_only(self, needs: Sequence[tuple[str, str]]) -> list[fx.Effect]:
        """A new graph: what it does not ask for is wanted no longer (requests that are open come to their end)."""
        kept = {(target, action == "on") for target, action in needs}
        self._wants = {need: want for need, want in self._wants.items() if want.by_operator or need in kept}
        return []

    def release(self) -> None:
        """This node is not the DC any more."""
        self._wants = {need: want for need, want in self._wants.items() if want.by_operator}

    def asked(
        self,
        request: protocol.FenceAsked | protocol.FenceConfirmed,
        user: str,
        now: int,
        state: ReplicatedState,
        wall: int,
    ) -> list[fx.Effect]:
        """An operator's request. The answer is the `FenceResult` for its target that gets into the log."""
        self._wall.set(wall, now)
        client = request.client or user or "operator"
        if isinstance(request, protocol.FenceConfirmed):
            return [fx.Log(entry=self._confirmation(request, client, now, state))]
        want = Want(
            target=request.target,
            action=request.action,
            boot_id=state.boot_ids.get(request.target, ""),
            cause=f"asked for by {client}",
            client=client,
            delay_ms=request.delay_ms,
            timeout_ms=stonith_timeout_ms(state.cib),
            not_before=now,
            by_operator=True,
            id=request.request,
        )
        if self._open(want.need, state) is None:
            self._wants[want.need] = want
            self._pursue(now, state)
        effects, self._effects = self._effects, []
        return effects

    def _confirmation(
        self, request: protocol.FenceConfirmed, client: str, now: int, state: ReplicatedState
    ) -> entries.FenceResult:
        """The operator's word that a node is off; not taken for one that is here."""
        target = request.target
        presence = state.presence(target)
        refusal = ""
        if target not in state.nodes:
            refusal = f"{target} is not a node of this cluster"
        elif is_present(presence) and presence is not Presence.GRACED:
            refusal = f"{target} is a member and alive; fence it instead (stonith_admin --fence {target})"
        open_request = self._open((target, False), state)
        return entries.FenceResult(
            id=open_request.request.id if open_request is not None and not refusal else request.request,
            target=target,
            boot_id=state.boot_ids.get(target, ""),
            action="off",
            executor=self.node,
            device="manual",
            confirmed=not refusal,
            by_hand=True,
            reason=refusal or f"confirmed by {client}",
            at=self._wall.seconds(now),
        )

    def _keep(self, want: Want, not_before: int) -> None:
        if len(self._wants) < WANTS_MAX:
            self._wants[want.need] = replace(want, not_before=not_before)
            self._effects.append(fx.SetTimer(name=WANT_TIMER, at=not_before))

    def _pursue(self, now: int, state: ReplicatedState) -> None:
        """Put into the log what is due."""
        situation = self._situation
        if situation is None or not situation.synced:
            return
        later: list[int] = []
        for need, want in sorted(self._wants.items()):
            if self._open(need, state) is not None or any(sent.need == need for sent in self._sent.values()):
                del self._wants[need]  # that one serves as well
                continue
            if want.action != "on" and state.boot_ids.get(want.target, "") != want.boot_id:
                del self._wants[need]  # it has booted since: nothing is owed
                continue
            if now < want.not_before:
                later.append(want.not_before)
                continue
            if may_end_itself(situation, want.target):
                self._put(want, want.target, (), 1, now)
                continue
            if not situation.rights.fence and not want.by_operator:
                continue  # a change of the situation brings us here again
            self._request(want, now, state, situation)
            if need in self._wants:
                later.append(self._wants[need].not_before)
        if later:
            self._effects.append(fx.SetTimer(name=WANT_TIMER, at=min(later)))

    def _request(self, want: Want, now: int, state: ReplicatedState, situation: ev.Situation) -> None:
        levels = levels_for(state.cib, want.target, self._facts)
        owed = (want.target, want.boot_id)
        attempt = self._failures.get(owed, (0, 0))[0] + 1
        executor = choose_executor(
            state, situation.online, want.target, want.action, levels, self._facts, attempt, self.node
        )
        if executor is None and want.by_operator and want.target != self.node:
            executor, levels = self.node, ()  # to be refused there, for the record and the answer
        if executor is None:
            self._failures[owed] = (attempt, now)
            pause = min(BACKOFF_NS_MAX, SECOND << min(attempt - 1, 10))
            self._keep(want, now + pause)
            self._report("error", "fencing-no-executor", target=want.target, action=want.action, cause=want.cause)
            return
        self._put(want, executor, levels, attempt, now)

    def _put(self, want: Want, executor: str, levels: Sequence[Level], attempt: int, now: int) -> None:
        del self._wants[want.need]
        self._number += 1
        request = entries.FenceRequest(
            id=want.id or self._new_id(),
            target=want.target,
            boot_id=want.boot_id,
            action=want.action,
            origin=self.node,
            client=want.client,
            executor=executor,
            devices=tuple(dict.fromkeys(device.id for level in levels for device in level.devices)),
            timeout_ms=total_timeout_ms(levels, want.action, want.target, want.id, want.timeout_ms, self._facts),
            delay_ms=want.delay_ms,
            cause=want.cause,
            at=self._wall.seconds(now),
            attempt=attempt,
        )
        self._sent[request.id] = want
        if want.by_operator:
            self._asked[request.id] = want
        self._report(
            "notice",
            "fencing-requested",
            target=want.target,
            action=want.action,
            executor=executor,
            cause=want.cause,
            attempt=str(attempt),
            request=request.id,
        )
        self._effects.append(fx.Log(entry=request))

    def _new_id(self) -> str:
        digest = hashlib.sha256(f"fence:{self.node}:{self._incarnation}:{self._number}".encode()).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"

    @staticmethod
    def _open(need: tuple[str, bool], state: ReplicatedState) -> FenceState | None:
        """An open request that serves the need."""
        for fence in state.fences.values():
            request = fence.request
            if not fence.is_open or (request.target, request.action == "on") != need:
                continue
            if need[1] or state.boot_ids.get(request.target, "") == request.boot_id:
                return fence
        return None

    def _ask_again(self, now: int, state: ReplicatedState) -> None:
        """An operator's request that a change of view made void before it was begun is asked for anew."""
        for key, want in sorted(self._asked.items()):
            fence = state.fences.get(key)
            if fence is None or fence.result is None:
                continue
            del self._asked[key]
            if fence.result.void and state.boot_ids.get(want.target, "") == want.boot_id:
                self._keep(replace(want, id=""), now)

    # ---- the DC's guard over open requests --------------------------------------------------------------------------

    def _guard(self, now: int, state: ReplicatedState) -> None:
        """A request whose executor is gone, or that never came to its end, has an unknown outcome: it must not be
        counted on, and the need stays."""
        situation = self._situation
        if situation is None or not situation.synced or situation.dc != self.node:
            return
        for fence in list(state.fences.values()):
            request = fence.request
            if not fence.is_open or request.id in self._given_up:
                continue
            reason = ""
            if state.presence(request.executor) not in (Presence.ONLINE, Presence.JOINING):
                reason = f"{request.executor}, which should do it, is gone"
            elif now >= self._deadline(request, now):
                reason = f"{request.executor} gave no answer in time"
            if reason:
                self._given_up.add(request.id)
                self._effects.append(fx.Log(entry=self._unknown(request, reason, now)))
        self._set_guard(now, state)

    def _deadline(self, request: entries.FenceRequest, now: int) -> int:
        since = self._open_since.setdefault(request.id, now)
        return since + (request.timeout_ms + max(0, request.delay_ms)) * MILLISECOND + GUARD_MARGIN_NS

    def _set_guard(self, now: int, state: ReplicatedState, at: int | None = None) -> None:
        times = [
            self._deadline(fence.request, now)
            for fence in state.fences.values()
            if fence.is_open and fence.request.id not in self._given_up
        ]
        if at is not None:
            times.append(at)
        if times:
            self._effects.append(fx.SetTimer(name=GUARD_TIMER, at=min(times)))

    def _unknown(self, request: entries.FenceRequest, reason: str, now: int) -> entries.FenceResult:
        return entries.FenceResult(
            id=request.id,
            target=request.target,
            boot_id=request.boot_id,
            action=request.action,
            executor=request.executor,
            device="",
            confirmed=False,
            unknown=True,
            reason=reason,
            at=self._wall.seconds(now),
        )

    # ---- what agents can do -----------------------------------------------------------------------------------------

    def _learn_agents(self, state: ReplicatedState) -> None:
        """Metadata of the devices' agents, once for each configuration, long before it is needed."""
        at = (id(state.cib), state.cib.configuration_changes)
        if at == self._configuration_at:
            return
        self._configuration_at = at
        for agent in sorted({device.agent for device in read_devices(state.cib)}):
            if agent not in self._facts and agent not in self._metadata_asked:
                self._metadata_asked.add(agent)
                self._effects.append(fx.LoadMetadata(agent=f"stonith:{agent}"))

    def _metadata(self, event: ev.MetadataLoaded, now: int, state: ReplicatedState) -> None:
        if not event.agent.startswith("stonith:"):
            return
        agent = event.agent.removeprefix("stonith:")
        self._metadata_asked.discard(agent)
        try:
            if event.xml is None:
                raise ValueError(event.error or "no metadata")
            self._facts[agent] = parse_agent(event.xml, event.agent)
        except (AgentError, ValueError) as error:
            self._report("warning", "fence-agent-metadata", agent=agent, error=str(error))
        self._effects += self._execution.metadata(agent, now, state)

    def _report(self, severity: str, code: str, **fields: str) -> None:
        self._effects.append(fx.Report(severity=severity, code=code, fields=fields))
