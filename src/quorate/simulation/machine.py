"""A whole node in virtual time: engine, manager, supervisor, agents and disk of one machine, driven as the daemons do.

Decided here: nothing about the cluster. This is the driver of `HeartbeatEngine` and `Manager`, with delays and failures
drawn from the world's seed. Faults act on the machine (power), the engine's or the manager's process (kill, stop), its
agents and its disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.core import scheduler
from quorate.core.messaging import effects as engine_fx
from quorate.core.messaging import events as engine_ev
from quorate.core.messaging.configuration import EngineConfiguration
from quorate.core.messaging.engine import HeartbeatEngine
from quorate.core.node import Manager, ManagerConfiguration
from quorate.model import group, protocol, wire
from quorate.model.entries import Position
from quorate.model.ids import MILLISECOND, SECOND, NodeId

from .ground import Ground, Machine, Running

WALL_EPOCH = 1_700_000_000
METADATA_OCF = b"""<resource-agent name="Simulated"><version>1.0</version><parameters><parameter name="p" unique="0">
<content type="string"/></parameter></parameters><actions><action name="start" timeout="20s"/><action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s" interval="10s"/></actions></resource-agent>"""
METADATA_FENCE = b"""<resource-agent name="fence_sim"><parameters><parameter name="port" required="0"><content type="string"/>
</parameter></parameters><actions><action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/>
<action name="list"/><action name="monitor"/><action name="metadata"/></actions></resource-agent>"""


class Clock(Protocol):
    """What a node needs of the world."""

    @property
    def now(self) -> int: ...
    def after(self, delay: int, action: Callable[[], None]) -> int: ...


@dataclass(slots=True)
class AgentFaults:
    """Chances, 0..1, drawn for each action while trouble lasts."""

    fail: float = 0.0
    slow: float = 0.0


class Surroundings(Protocol):
    """What a node asks of the cluster around it: the wire, luck, the fence devices, the observers."""

    @property
    def clock(self) -> Clock: ...
    @property
    def ground(self) -> Ground: ...
    @property
    def faults(self) -> AgentFaults: ...
    def send(self, node: str, link: str, peers: tuple[NodeId, ...], packet: wire.Packet) -> None: ...
    def chance(self, probability: float) -> bool: ...
    def between(self, low: int, high: int) -> int: ...
    def fence(self, by: str, effect: fx.RunFenceAgent, done: Callable[[int], None]) -> None: ...
    def observe(self, node: str, effect: fx.Effect) -> None: ...
    def answered(self, node: str, client: int, answer: protocol.Answer) -> None: ...


@dataclass(slots=True)
class _Process:
    """A process of the node: `run` counts its starts (events for an older run are dropped), `stopped_until` is
    SIGSTOP."""

    run: int = 0
    alive: bool = False
    stopped_until: int = 0
    backlog: list[Callable[[], None]] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)


class SimulatedNode:
    """One node. `boot`, `power_off`, `kill_manager`, `stop_process` are the faults; the rest runs by itself."""

    def __init__(
        self,
        machine: Machine,
        around: Surroundings,
        engine: EngineConfiguration,
        manager: ManagerConfiguration,
        make_engine: Callable[[EngineConfiguration], HeartbeatEngine] = HeartbeatEngine,
        make_manager: Callable[[ManagerConfiguration], Manager] = Manager,
    ) -> None:
        self.machine = machine
        self.around = around
        self.engine_configuration = engine
        self.manager_configuration = manager
        self._make_engine, self._make_manager = make_engine, make_manager
        self.engine: HeartbeatEngine | None = None
        self.manager: Manager | None = None
        self.engine_process = _Process()
        self.manager_process = _Process()
        self.departed = False
        self._incarnations = 0

    # ---- power and processes ----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.machine.name

    def boot(self) -> None:
        if self.machine.is_on:
            return
        self.departed = False
        self.machine.power_on()
        self._start_engine()
        boot = self.machine.boot
        self.around.clock.after(200 * MILLISECOND, lambda: self._start_manager(boot))

    def power_off(self) -> None:
        self.machine.power_off(self.around.clock.now)
        for process in (self.engine_process, self.manager_process):
            process.alive = False
            process.run += 1
            process.backlog.clear()
            process.timers.clear()
            process.stopped_until = 0
        self.engine = self.manager = None

    def kill_manager(self) -> None:
        """kill -9: services stay, agents become orphans until the next run ends them; the supervisor starts it
        again."""
        if not self.manager_process.alive:
            return
        self._end(self.manager_process)
        self.manager = None
        self._to_engine(engine_ev.ManagerGone(cause="socket closed"))
        boot = self.machine.boot
        self.around.clock.after(300 * MILLISECOND, lambda: self._start_manager(boot))

    def kill_engine(self) -> None:
        if not self.engine_process.alive:
            return
        self._end(self.engine_process)
        self.engine = None
        self._to_manager(ev.FromEngine(event=group.EngineGone(cause="killed")))
        boot = self.machine.boot
        self.around.clock.after(300 * MILLISECOND, lambda: self._restart_engine(boot))

    def stop_process(self, which: str, duration: int) -> None:
        """SIGSTOP for `duration`, then SIGCONT. A manager whose stamp goes stale is reported absent by the engine; the
        guardian kills it after that."""
        until = self.around.clock.now + duration
        for name, process in (("engine", self.engine_process), ("manager", self.manager_process)):
            if which in (name, "both") and process.alive:
                process.stopped_until = max(process.stopped_until, until)
                run = process.run
                self.around.clock.after(duration, lambda p=process, r=run: self._wake(p, r))  # type: ignore[misc]
                if name == "manager" and duration > 10 * SECOND:
                    self.around.clock.after(10 * SECOND, lambda r=run: self._guardian(r))  # type: ignore[misc]

    def _guardian(self, run: int) -> None:
        if self.manager_process.run == run and self.manager_process.stopped_until > self.around.clock.now:
            self.manager_process.stopped_until = 0
            self.kill_manager()

    def _end(self, process: _Process) -> None:
        process.alive = False
        process.run += 1
        process.backlog.clear()
        process.timers.clear()
        process.stopped_until = 0

    def wake(self, process: _Process) -> None:
        """SIGCONT before its time."""
        self._wake(process, process.run)

    def _wake(self, process: _Process, run: int) -> None:
        if process.run != run or process.stopped_until > self.around.clock.now:
            return
        process.stopped_until = 0
        backlog, process.backlog = process.backlog, []
        for action in backlog:
            if process.run == run:
                action()

    def _start_engine(self) -> None:
        self._incarnations += 1
        process = self.engine_process
        process.run += 1
        process.alive = True
        self.engine = self._make_engine(self.engine_configuration)
        self.engine_incarnation = self.machine.id << 64 | self.machine.boot << 32 | self._incarnations
        started = engine_ev.Started(incarnation=self.engine_incarnation, counter_floor=self.machine.disk.counter)
        self._to_engine(started)

    def _restart_engine(self, boot: int) -> None:
        if self.machine.is_on and self.machine.boot == boot and not self.engine_process.alive and not self.departed:
            self._start_engine()
            if self.manager is not None:
                self._to_engine(engine_ev.ManagerRequest(request=group.Join(incarnation=self._manager_incarnation)))

    def _start_manager(self, boot: int) -> None:
        machine = self.machine
        if not machine.is_on or machine.boot != boot or self.manager_process.alive or self.departed:
            return
        self._incarnations += 1
        process = self.manager_process
        process.run += 1
        process.alive = True
        for running in list(machine.agents.values()):  # the ledger: orphans are ended first
            if self.ends_orphans:
                del machine.agents[running.key]
        self._manager_incarnation = machine.boot * 1000 + self._incarnations
        self.manager = self._make_manager(self.manager_configuration)
        disk = machine.disk
        stored = ev.StoredState(
            promised=disk.promised,
            position=max(disk.position, Position(disk.lineage, 0)),
            cib=disk.cib,
            journal=tuple(disk.journal),
        )
        self._to_manager(
            ev.Started(
                boot_id=machine.boot_id,
                incarnation=self._manager_incarnation,
                stored=stored,
                wall=self._wall(),
                facts=machine.facts,
            )
        )

    _manager_incarnation = 0
    engine_incarnation = 0
    ends_orphans = True  # as the ledger has it

    def _wall(self) -> int:
        return WALL_EPOCH + self.around.clock.now // SECOND

    # ---- the engine's driver ---------------------------------------------------------------------

    def _guarded(self, process: _Process, action: Callable[[], None]) -> None:
        """Run now, or when the process wakes, or never if it is dead."""
        if not process.alive:
            return
        if process.stopped_until > self.around.clock.now:
            process.backlog.append(action)
            return
        action()

    def _to_engine(self, event: engine_ev.Event) -> None:
        def run() -> None:
            if self.engine is not None:
                self._engine_effects(self.engine.handle(event, self.around.clock.now))

        self._guarded(self.engine_process, run)

    def receive(self, event: engine_ev.PacketReceived) -> None:
        """A packet from the wire (authenticated)."""
        if self.engine_process.stopped_until > self.around.clock.now and len(self.engine_process.backlog) > 2_000:
            return  # the socket's buffer is full
        self._to_engine(event)

    def _engine_effects(self, effects: list[engine_fx.Effect]) -> None:
        clock = self.around.clock
        process = self.engine_process
        for effect in effects:
            match effect:
                case engine_fx.SendPacket():
                    self.around.send(self.name, effect.link, effect.peers, effect.packet)
                case engine_fx.SetTimer():
                    process.timers[effect.name] = effect.at
                    run = process.run
                    clock.after(
                        max(0, effect.at - clock.now),
                        lambda name=effect.name, at=effect.at, run=run: self._engine_timer(name, at, run),  # type: ignore[misc]
                    )
                case engine_fx.CancelTimer():
                    process.timers.pop(effect.name, None)
                case engine_fx.ToManager():
                    event = effect.event
                    clock.after(50_000, lambda event=event: self._to_manager(ev.FromEngine(event=event)))  # type: ignore[misc]
                case engine_fx.StoreCounter():
                    self.machine.disk.counter = max(self.machine.disk.counter, effect.value)
                case engine_fx.Report():
                    pass

    def _engine_timer(self, name: str, at: int, run: int) -> None:
        process = self.engine_process
        if process.run != run or process.timers.get(name) != at:
            return
        if process.stopped_until > self.around.clock.now:
            process.backlog.append(lambda: self._engine_timer(name, at, run))
            return
        del process.timers[name]
        self._to_engine(engine_ev.TimerFired(name=name))

    # ---- the manager's driver --------------------------------------------------------------------

    def _to_manager(self, event: ev.Event) -> None:
        def run() -> None:
            manager = self.manager
            if manager is None:
                return
            now = self.around.clock.now
            manager.handle(ev.WallClock(wall=self._wall()), now)
            self._manager_effects(manager.handle(event, now))

        self._guarded(self.manager_process, run)

    def ask(self, client: int, request: protocol.Request) -> None:
        self._to_manager(ev.Asked(client=client, uid=0, user="root", request=request))

    def ask_to_stop(self) -> None:
        self._to_manager(ev.StopAsked())

    def _later(self, delay: int, event: ev.Event) -> None:
        run = self.manager_process.run
        self.around.clock.after(delay, lambda: self._to_manager(event) if self.manager_process.run == run else None)

    def _manager_effects(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            self.around.observe(self.name, effect)
            if not self.manager_process.alive:
                return
            self._manager_effect(effect)

    def _manager_effect(self, effect: fx.Effect) -> None:
        clock = self.around.clock
        process = self.manager_process
        match effect:
            case fx.SetTimer():
                process.timers[effect.name] = effect.at
                run = process.run
                clock.after(max(0, effect.at - clock.now), lambda: self._manager_timer(effect.name, effect.at, run))
            case fx.CancelTimer():
                process.timers.pop(effect.name, None)
            case fx.ToEngine():
                request = effect.request
                run = self.engine_process.run
                clock.after(
                    50_000,
                    lambda: (
                        self._to_engine(engine_ev.ManagerRequest(request=request))
                        if self.engine_process.run == run
                        else None
                    ),
                )
            case fx.SaveState() | fx.SavePromise() | fx.AppendJournal():
                self._save(effect)
            case fx.SaveFork():
                self.machine.disk.forks.append(effect.name)
            case fx.SaveFacts():
                self.machine.facts = effect.data
            case fx.RunAgent():
                self._run_agent(effect)
            case fx.RunFenceAgent():
                self._run_fence_agent(effect)
            case fx.KillAgent():
                self._kill_agent(effect.key)
            case fx.LoadMetadata():
                xml = METADATA_FENCE if effect.agent.startswith("stonith") else METADATA_OCF
                self._later(5 * MILLISECOND, ev.MetadataLoaded(agent=effect.agent, xml=xml))
            case fx.RunScheduler():
                self._schedule(effect)
            case fx.Answer():
                self.around.answered(self.name, effect.client, effect.answer)
            case fx.StopNode():
                self._stop_node(effect)
            case fx.Report() | fx.Log():
                pass

    def _manager_timer(self, name: str, at: int, run: int) -> None:
        process = self.manager_process
        if process.run != run or process.timers.get(name) != at:
            return
        if process.stopped_until > self.around.clock.now:
            process.backlog.append(lambda: self._manager_timer(name, at, run))
            return
        del process.timers[name]
        self._to_manager(ev.TimerFired(name=name))

    def _stop_node(self, effect: fx.StopNode) -> None:
        if effect.how == "exit":
            self.kill_manager()
        elif effect.how == "left":
            self.departed = True
            self._end(self.manager_process)
            self.manager = None
            self._to_engine(engine_ev.StopRequested(cause="left"))
            self._end(self.engine_process)
            self.engine = None
        else:
            self.power_off()
            if effect.how == "reboot":
                self.around.clock.after(8 * SECOND, self.boot)

    # ---- disk ------------------------------------------------------------------------------------

    def _save(self, effect: fx.SaveState | fx.SavePromise | fx.AppendJournal) -> None:
        """Durable after a moment; a crash before that loses it."""
        data = effect.cib.serialize() if isinstance(effect, fx.SaveState) else b""
        run, boot = self.manager_process.run, self.machine.boot
        delay = self.around.between(*self.machine.disk.delay_ns)
        self.around.clock.after(delay, lambda: self._saved(effect, data, run, boot))

    def _saved(
        self, effect: fx.SaveState | fx.SavePromise | fx.AppendJournal, data: bytes, run: int, boot: int
    ) -> None:
        machine = self.machine
        if not machine.is_on or machine.boot != boot:
            return
        if self.manager_process.run != run:
            return
        disk = machine.disk
        if disk.is_full:
            self._to_manager(ev.Saved(key=effect.key, error="no space left on device"))
            return
        match effect:
            case fx.SaveState():
                disk.promised, disk.position, disk.cib = effect.promised, effect.position, data
                disk.journal = [record for record in disk.journal if record[0] > effect.position]
            case fx.SavePromise():
                disk.promised = max(disk.promised, effect.promised)
                disk.lineage = max(disk.lineage, effect.lineage)
            case fx.AppendJournal():
                disk.journal.extend(effect.records)
        self._to_manager(ev.Saved(key=effect.key))

    # ---- scheduler, agents -----------------------------------------------------------------------

    def _schedule(self, effect: fx.RunScheduler) -> None:
        import lxml.etree as etree

        root = etree.fromstring(effect.cib.serialize())
        result = scheduler.schedule(root, self._wall())
        self._later(
            self.around.between(5 * MILLISECOND, 60 * MILLISECOND), ev.Scheduled(key=effect.key, graph=result.graph)
        )

    def _run_agent(self, effect: fx.RunAgent) -> None:
        """An action takes some time; a start is true from somewhere within, a stop at its end."""
        around, machine = self.around, self.machine
        now = around.clock.now
        slow = around.chance(around.faults.slow)
        fails = around.chance(around.faults.fail) and effect.operation != "monitor"
        duration = (
            effect.timeout_ms * MILLISECOND + SECOND if slow else around.between(5 * MILLISECOND, 300 * MILLISECOND)
        )
        running = Running(
            key=effect.key,
            resource=effect.resource,
            operation=effect.operation,
            began_at=now,
            manager_run=self.manager_process.run,
        )
        machine.agents[effect.key] = running
        boot = machine.boot
        if effect.operation in ("start", "promote") and not (fails and around.chance(0.5)):
            around.clock.after(
                around.between(0, min(duration, effect.timeout_ms * MILLISECOND)),
                lambda: self._becomes_active(running, boot),
            )
        timeout = effect.timeout_ms * MILLISECOND
        around.clock.after(
            min(duration, timeout),
            lambda: self._agent_ends(effect, running, boot, fails=fails, timed_out=duration > timeout),
        )

    def _is_current(self, running: Running, boot: int) -> bool:
        return self.machine.is_on and self.machine.boot == boot and self.machine.agents.get(running.key) is running

    def _becomes_active(self, running: Running, boot: int) -> None:
        if self._is_current(running, boot):
            self.around.ground.activate(self.machine, running.resource, self.around.clock.now)

    def _agent_ends(self, effect: fx.RunAgent, running: Running, boot: int, *, fails: bool, timed_out: bool) -> None:
        if not self._is_current(running, boot):
            return
        machine = self.machine
        del machine.agents[running.key]
        active = effect.resource in machine.services
        rc = 0
        if effect.operation in ("start", "promote"):
            if not fails and not timed_out:
                self.around.ground.activate(machine, effect.resource, self.around.clock.now)
            rc = 1 if fails or timed_out else 0
        elif effect.operation == "stop":
            if not fails and not timed_out:
                self.around.ground.deactivate(machine, effect.resource)
            rc = 1 if fails or timed_out else 0
        elif effect.operation == "monitor":
            rc = 0 if active else 7
        exited = ev.AgentExited(
            key=effect.key,
            rc=rc,
            timed_out=timed_out,
            started_at=self._wall(),
            execution_ms=(self.around.clock.now - running.began_at) // MILLISECOND,
        )
        if self.manager_process.run == running.manager_run:
            self._to_manager(exited)

    def _kill_agent(self, key: str) -> None:
        running = self.machine.agents.pop(key, None)
        if running is not None:
            self._later(MILLISECOND, ev.AgentExited(key=key, rc=1, killed=True))

    def _run_fence_agent(self, effect: fx.RunFenceAgent) -> None:
        run = self.manager_process.run

        def done(rc: int) -> None:
            if self.manager_process.run == run:
                late = rc == 124
                self._to_manager(
                    ev.AgentExited(key=effect.key, rc=1 if late else rc, timed_out=late, started_at=self._wall())
                )

        self.around.fence(self.name, effect, done)
