"""The manager process, `quorated`: an asyncio loop that drives `core/node`'s Manager and carries its effects out.

asyncio, because agents (processes, D-Bus) and many clients wait here at once; nothing in this process is bound to the
heartbeat's punctuality. What takes long is elsewhere: fsync in the storage thread, scheduling in the worker, heartbeats
in the engine. The loop stamps shared memory every 250 ms; when it has stalled too long the engine reports the manager
absent and the supervisor kills it.

Events are queued and handled one after the other; the effects of one are carried out, in order, before the next event.

Exit codes: 0 the node has left (the whole stack may stop), 1 this manager cannot go on (the supervisor starts it
again), 70 an error of ours, 75 the node must go down but would not, 78 the configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from quorate import __version__
from quorate.core import effects, events
from quorate.host import clock, places, realtime
from quorate.host.engine_client import EngineClient
from quorate.host.ipc import IpcServer
from quorate.host.log import Log
from quorate.host.scheduler_client import SchedulerClient
from quorate.host.stamp import STAMP_EVERY_NS, StampWriter
from quorate.host.storage import Storage, StorageError
from quorate.host.timers import Timers
from quorate.host.writer import Disk, Writer
from quorate.model import group, settings
from quorate.model.ids import SECOND

if TYPE_CHECKING:
    from quorate.core.node import ManagerConfiguration

EXIT_LEFT = 0
EXIT_AGAIN = 1
EXIT_INTERNAL = 70
EXIT_NODE = 75
EXIT_CONFIGURATION = 78
_EVENTS_PER_TURN = 200
_LAST_WRITES_SECONDS = 10.0
_SELF_FENCE_SECONDS = 5.0


class Machine(Protocol):
    """`core/node.Manager`, or a stand-in of the same shape."""

    def handle(self, event: events.Event, now: int) -> list[effects.Effect]: ...


class Agents(Protocol):
    """`host/agents.AgentRunner`, as far as it is used here."""

    def perform(
        self, effect: effects.RunAgent | effects.RunFenceAgent | effects.KillAgent | effects.LoadMetadata
    ) -> None: ...

    def close(self) -> None: ...


class Daemon:
    """One manager's run. Made inside the running loop; `finished` gives the exit code."""

    def __init__(
        self,
        machine: Machine,
        chosen: settings.Settings,
        where: places.Places,
        log: Log,
        make_agents: Callable[[asyncio.AbstractEventLoop, Callable[[events.Event], None]], Agents],
        disk: Disk,
    ) -> None:
        self._machine = machine
        self._settings = chosen
        self._places = where
        self._log = log
        self._loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[int] = self._loop.create_future()
        self._queue: deque[events.Event] = deque()
        self._pumping = False
        self._stops = 0
        self._wall = -1
        self._timers = Timers()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0
        self._facts_file = where.run / "manager.facts"
        self._stamp = StampWriter(where.stamp, clock.now())
        self._writer = Writer(disk, self._post_from_thread, self._tell_from_thread)
        self._agents = make_agents(self._loop, self.post)
        self._scheduler = SchedulerClient(where.worker_socket, self.post, self._tell)
        self._ipc = IpcServer(where.manager_socket, self.post, log)
        self._engine = EngineClient(where.engine_socket, self._from_engine)
        self._next_beat = self._loop.call_soon(self._beat)

    def start(self, stored: events.StoredState) -> None:
        self._loop.set_exception_handler(self._failed)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._asked_to_stop)
        self._loop.add_signal_handler(signal.SIGHUP, self._log.reopen)
        self._log.write("notice", "started", {"process": "The manager", "version": __version__})
        self.post(
            events.Started(
                boot_id=clock.boot_id(),
                incarnation=int.from_bytes(os.urandom(8), "big") >> 1,
                stored=stored,
                wall=clock.wall(),
                facts=self._load_facts(),
            )
        )

    def post(self, event: events.Event) -> None:
        """Queue an event; it is handled before the loop turns to anything else, never inside another event."""
        self._queue.append(event)
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    async def close(self) -> None:
        """Let go of everything; what was to be written is written."""
        self._ipc.close()
        self._agents.close()
        self._engine.close()
        self._scheduler.close()
        if self._alarm is not None:
            self._alarm.cancel()
        self._next_beat.cancel()
        await asyncio.wait_for(asyncio.to_thread(self._writer.close), _LAST_WRITES_SECONDS)

    # ---- events -------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Handle what is queued; after some hundred events the loop may look at its sockets in between."""
        for _ in range(_EVENTS_PER_TURN):
            if not self._queue or self.finished.done():
                break
            self._handle(self._queue.popleft())
        if self._queue and not self.finished.done():
            self._loop.call_soon(self._pump)
        else:
            self._pumping = False
        self._arm()

    def _handle(self, event: events.Event) -> None:
        now = clock.now()
        try:
            wall = clock.wall()
            if wall != self._wall:
                self._wall = wall
                self._carry_out(self._machine.handle(events.WallClock(wall=wall), now))
            self._carry_out(self._machine.handle(event, now))
        except Exception as error:
            self._end_on(error, f"handling {type(event).__name__}")

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that reached the loop."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self._end_on(error, str(context.get("message", "")))
        else:
            self._log.write("error", "internal-error", {"at": str(context.get("message", ""))})

    def _end_on(self, error: Exception, where: str) -> None:
        """An error of ours: this manager ends, a new one starts from what is stored; others decide about the node."""
        self._log.write("critical", "internal-error", {"at": where})
        for text in traceback.format_exception(error):
            for line in text.splitlines():
                self._log.write("critical", "internal-error", {"at": line})
        self._finish(EXIT_INTERNAL)

    def _from_engine(self, event: group.EngineEvent) -> None:
        if isinstance(event, group.EngineGone):
            self._log.write("error", "engine-gone", {"cause": event.cause})
        self.post(events.FromEngine(event=event))

    def _post_from_thread(self, event: events.Event) -> None:
        try:
            self._loop.call_soon_threadsafe(self.post, event)
        except RuntimeError:
            return  # the loop has ended; nobody waits for the answer any more

    def _tell_from_thread(self, severity: str, code: str, fields: dict[str, str]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell, severity, code, fields)
        except RuntimeError:
            return

    def _asked_to_stop(self) -> None:
        self._stops += 1
        self._log.write("notice", "stopping", {"process": "The manager", "cause": f"signal number {self._stops}"})
        self.post(events.StopAsked(at_once=self._stops > 1))

    # ---- effects ------------------------------------------------------------------------------------------------

    def _carry_out(self, wanted: list[effects.Effect]) -> None:
        for effect in wanted:
            self._do(effect)

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.ToEngine():
                self._engine.send(effect.request)
            case effects.SetTimer():
                self._timers.set(effect.name, effect.at)
            case effects.CancelTimer():
                self._timers.cancel(effect.name)
            case effects.Answer():
                self._ipc.answer(effect.client, effect.answer)
            case effects.AppendJournal() | effects.SaveState() | effects.SavePromise() | effects.SaveFork():
                self._writer.put(effect)
            case effects.SaveFacts():
                self._save_facts(effect.data)
            case effects.RunAgent() | effects.RunFenceAgent() | effects.KillAgent() | effects.LoadMetadata():
                self._agents.perform(effect)
            case effects.RunScheduler():
                self._scheduler.run(effect)
            case effects.Report():
                self._tell(effect.severity, effect.code, effect.fields)
            case effects.StopNode():
                self._stop_node(effect)
            case _:
                raise TypeError(f"an effect that no driver knows: {type(effect).__name__}")

    def _stop_node(self, effect: effects.StopNode) -> None:
        severity = "notice" if effect.how == "left" else "critical"
        if effect.how in ("reboot", "off"):
            self._log.write(severity, "self-fencing", {"how": effect.how, "cause": effect.cause})
            end_node(effect.how, self._settings.self_fence_command, self._log)
            self._finish(EXIT_NODE)
            return
        self._log.write(severity, "stopping", {"process": "The manager", "cause": effect.cause})
        self._finish(EXIT_LEFT if effect.how == "left" or self._stops else EXIT_AGAIN)

    def _finish(self, code: int) -> None:
        if not self.finished.done():
            self.finished.set_result(code)

    def _tell(self, severity: str, code: str, fields: dict[str, str]) -> None:
        self._log.write(severity, code, fields)

    def _save_facts(self, data: bytes) -> None:
        """In the run directory, which does not survive the boot; whole or not at all."""
        scratch = self._facts_file.with_suffix(".new")
        try:
            scratch.write_bytes(data)
            os.replace(scratch, self._facts_file)
        except OSError as error:
            self._tell("error", "storage-failed", {"what": "What a restart must know", "error": str(error.strerror)})

    def _load_facts(self) -> bytes:
        try:
            return self._facts_file.read_bytes()
        except FileNotFoundError:
            return b""

    # ---- time ---------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One alarm of the loop for the earliest timer."""
        at = self._timers.next_at()
        if self._alarm is not None:
            if at == self._alarm_at:
                return
            self._alarm.cancel()
            self._alarm = None
        if at is not None:
            self._alarm_at = at
            self._alarm = self._loop.call_later(max(0, at - clock.now()) / SECOND, self._fire)

    def _fire(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        now = clock.now()
        while (name := self._timers.pop_due(now)) is not None:
            self.post(events.TimerFired(name=name))
        self._arm()

    def _beat(self) -> None:
        """The sign of life; also finds timers that came due while the machine slept, which asyncio's clock does not
        see."""
        now = clock.now()
        self._stamp.stamp(now)
        self._next_beat = self._loop.call_later(STAMP_EVERY_NS / SECOND, self._beat)
        at = self._timers.next_at()
        if at is not None and at < now:
            self._fire()
        self._ipc.cut_stuck(now)


def end_node(how: str, command: tuple[str, ...], log: Log) -> None:
    """Self-fencing: the configured command, else the end of the PID namespace that is this node, else the kernel's
    immediate reboot (sysrq). Where none of them works the supervisor ends everything, so that the peers fence this
    node."""
    if command:
        try:
            subprocess.run([*command, how], timeout=_SELF_FENCE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            log.write("critical", "self-fencing-failed", {"command": " ".join(command), "error": str(error)})
        return
    if clock.in_own_pid_namespace():
        refused = realtime.end_pid_namespace(how == "off")
        log.write("critical", "self-fencing-failed", {"command": "reboot(2)", "error": refused})
        return
    try:
        with open("/proc/sysrq-trigger", "w") as file:
            file.write("o" if how == "off" else "b")
    except OSError as error:
        log.write("critical", "self-fencing-failed", {"command": "sysrq", "error": str(error.strerror)})


# ---- making one ---------------------------------------------------------------------------------------------------


def manager_configuration(chosen: settings.Settings) -> ManagerConfiguration:
    from quorate.core.node import ManagerConfiguration

    return ManagerConfiguration(
        cluster=chosen.cluster,
        node=chosen.node,
        nodes=tuple((node.name, node.id, node.votes) for node in chosen.nodes),
        two_node=chosen.quorum.two_node,
        wait_for_all=chosen.quorum.wait_for_all,
        settings_digest=chosen.digest(),
        grace_ms=chosen.manager_grace_ms,
        token_ms=chosen.token_ms,
        version=__version__,
        engine=chosen.engine,
    )


def _make_agents(
    chosen: settings.Settings, where: places.Places, log: Log
) -> Callable[[asyncio.AbstractEventLoop, Callable[[events.Event], None]], Agents]:
    """The runner of agents, after what a former manager left under way has been ended."""
    from quorate.host.agents import AgentRunner, AgentSettings

    variables = {"QUORATE_CONFIG": chosen.source, "QUORATE_RUN": str(where.run)}

    def make(loop: asyncio.AbstractEventLoop, post: Callable[[events.Event], None]) -> Agents:
        runner = AgentRunner(loop, post, AgentSettings(run_directory=where.run, variables=variables))
        for orphan in runner.prepare():
            severity = "error" if orphan.outcome == "survives" else "notice"
            log.write(severity, "orphan", {"what": orphan.what, "pid": str(orphan.pid), "outcome": orphan.outcome})
        return runner

    return make


async def serve(machine: Machine, chosen: settings.Settings, where: places.Places, log: Log) -> int:
    """Until the node has left or the manager cannot go on."""
    storage = Storage(where.state / "cib")
    try:
        stored = storage.load()
    except StorageError as error:
        log.write("critical", "cannot-start", {"error": str(error)})
        return EXIT_CONFIGURATION
    daemon = Daemon(machine, chosen, where, log, _make_agents(chosen, where, log), storage)
    gc.collect()
    gc.freeze()
    daemon.start(stored)
    code = await daemon.finished
    await daemon.close()
    storage.close()
    return code


def run(chosen: settings.Settings) -> int:
    """The process, once forked or started."""
    from quorate.core.node import Manager

    where = places.places(chosen)
    log = Log(chosen.node, "manager", chosen.log_file)
    try:
        places.make_places(where)
    except places.PlaceError as error:
        log.write("critical", "cannot-start", {"error": str(error)})
        return EXIT_CONFIGURATION
    return asyncio.run(serve(Manager(manager_configuration(chosen)), chosen, where, log))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="quorated", description="The manager's process of one node.")
    parser.add_argument("--config", help="quorate.toml of the node")
    chosen = parser.parse_args(arguments)
    try:
        return run(places.load_settings(places.config_path(chosen.config)))
    except (places.PlaceError, settings.SettingsError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION


if __name__ == "__main__":
    sys.exit(main())
