"""Carries out RunAgent, RunFenceAgent, KillAgent and LoadMetadata on the daemon's event loop.

Every RunAgent and RunFenceAgent is answered by exactly one AgentExited, every LoadMetadata by one MetadataLoaded, and
never from inside the call. The ledger is written before a program is executed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from quorate.core import effects as fx
from quorate.core import events as ev

from .environment import shared_environment
from .ledger import MARK, Ledger, Orphan
from .lsb_metadata import lsb_metadata
from .plans import (
    OCF_ERROR,
    OCF_NOT_INSTALLED,
    OCF_PERMISSION,
    OCF_UNIMPLEMENTED,
    NoSuchAgent,
    Plan,
    UnknownAction,
    fence_plan,
    find_lsb,
    lsb_plan,
    ocf_metadata_plan,
    ocf_plan,
)
from .process import Exit, Loop, RunningProcess, SpawnError, keep_descriptors_private
from .settings import AgentSettings
from .systemd import Systemd, SystemdError, unit_exists

METADATA_TIMEOUT_S = 30.0
METADATA_KEPT_MAX = 1000
AGENT_RESOURCES = Path("/run/resource-agents")  # where stock agents keep their state files (HA_RSCTMP)

Deliver = Callable[[ev.AgentExited | ev.MetadataLoaded], None]


class AgentRunner:
    """`deliver` is called on the loop with each answer."""

    def __init__(self, loop: Loop, deliver: Deliver, settings: AgentSettings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.run_directory / "ledger")
        self._loop = loop
        self._deliver = deliver
        self._shared = shared_environment(settings, os.environ)
        self._running: dict[str, RunningProcess] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._metadata: dict[str, tuple[int, bytes]] = {}
        self._loading: dict[str, int] = {}  # agents whose metadata is being read: how many ask
        self._systemd = Systemd(settings)
        self._number = 0

    def prepare(self) -> list[Orphan]:
        """Before the first action: the directories agents expect, and an end to what a previous manager left."""
        keep_descriptors_private()
        self.ledger.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0 and not AGENT_RESOURCES.exists():
            AGENT_RESOURCES.mkdir(mode=0o1755, parents=True, exist_ok=True)
        return self.ledger.end_orphans()

    def perform(self, effect: fx.RunAgent | fx.RunFenceAgent | fx.KillAgent | fx.LoadMetadata) -> None:
        match effect:
            case fx.RunAgent():
                self._run_agent(effect)
            case fx.RunFenceAgent():
                self._run_fence_agent(effect)
            case fx.KillAgent():
                self._kill(effect.key)
            case fx.LoadMetadata():
                self._load_metadata(effect.agent)

    @property
    def running(self) -> int:
        return len(self._running) + len(self._tasks)

    # ---- resource agents -------------------------------------------------------------------------------------------

    def _run_agent(self, effect: fx.RunAgent) -> None:
        try:
            agent_class = self._resolved(effect.agent_class, effect.agent)
            if agent_class == "systemd":
                self._run_unit(effect)
                return
            if agent_class == "lsb":
                plan = lsb_plan(self.settings, self._shared, effect)
            elif agent_class == "ocf":
                plan = ocf_plan(self.settings, self._shared, effect)
            else:
                raise NoSuchAgent(f"{agent_class}:{effect.agent}: agents of this class are not run here")
        except NoSuchAgent as error:
            self._answer(ev.AgentExited(key=effect.key, rc=OCF_NOT_INSTALLED, missing=True, reason=str(error)))
            return
        except UnknownAction as error:
            self._answer(ev.AgentExited(key=effect.key, rc=OCF_UNIMPLEMENTED, reason=str(error)))
            return
        self._start(effect.key, plan, effect.operation, effect.timeout_ms)

    def _resolved(self, agent_class: str, agent: str) -> str:
        """`service` is an init script if there is one, else a systemd unit if there is one, else an init script."""
        if agent_class != "service":
            return agent_class
        if (self.settings.init_directory / agent).is_file():
            return "lsb"
        return "systemd" if unit_exists(agent) else "lsb"

    def _run_unit(self, effect: fx.RunAgent) -> None:
        async def run() -> None:
            begun, wall = time.clock_gettime(time.CLOCK_BOOTTIME), int(time.time())
            killed = timed_out = missing = False
            rc, reason = OCF_ERROR, ""
            try:
                async with asyncio.timeout(effect.timeout_ms / 1000):
                    rc, reason, missing = await self._systemd.run(effect.agent, effect.operation)
            except TimeoutError:
                timed_out = True
            except asyncio.CancelledError:
                killed = True
            except SystemdError as error:
                reason = str(error)
            finally:
                self._tasks.pop(effect.key, None)
            elapsed = int((time.clock_gettime(time.CLOCK_BOOTTIME) - begun) * 1000)
            self._deliver(
                ev.AgentExited(
                    key=effect.key,
                    rc=rc,
                    timed_out=timed_out,
                    killed=killed,
                    missing=missing,
                    reason=reason,
                    started_at=wall,
                    execution_ms=elapsed,
                )  # fmt: skip
            )

        self._tasks[effect.key] = asyncio.ensure_future(run())

    # ---- fence agents ----------------------------------------------------------------------------------------------

    def _run_fence_agent(self, effect: fx.RunFenceAgent) -> None:
        try:
            plan = fence_plan(self.settings, self._shared, effect.agent, effect.action, effect.parameters)
        except NoSuchAgent as error:
            self._answer(ev.AgentExited(key=effect.key, rc=OCF_NOT_INSTALLED, missing=True, reason=str(error)))
            return
        self._start(effect.key, plan, effect.action, effect.timeout_ms)

    # ---- programs --------------------------------------------------------------------------------------------------

    def _start(self, key: str, plan: Plan, operation: str, timeout_ms: int) -> None:
        wall = int(time.time())
        try:
            entry, mark = self.ledger.begin(key, f"{plan.argv[0]} {operation}")
        except OSError as error:
            place = self.ledger.directory
            reason = f"cannot write {place}: {error.strerror}; without the ledger no action is begun"
            self._answer(ev.AgentExited(key=key, rc=OCF_ERROR, reason=reason, started_at=wall))
            return

        def ended(exit: Exit) -> None:
            if not exit.survives:
                self.ledger.end(entry)  # of one that survives, the entry stays: the next manager tries again
            self._running.pop(key, None)
            self._deliver(_exited(key, plan, exit, wall))

        try:
            self._running[key] = RunningProcess(
                self._loop,
                plan.argv,
                {**plan.environment, MARK: mark},
                directory=self.settings.working_directory,
                timeout_s=timeout_ms / 1000,
                on_exit=ended,
                stdin=plan.stdin,
                on_spawned=lambda pid: self.ledger.spawned(entry, pid),
            )
        except SpawnError as error:
            self.ledger.end(entry)
            rc = OCF_NOT_INSTALLED if error.missing else OCF_PERMISSION if error.forbidden else OCF_ERROR
            self._answer(ev.AgentExited(key=key, rc=rc, missing=error.missing, reason=str(error), started_at=wall))

    def _kill(self, key: str) -> None:
        process, task = self._running.get(key), self._tasks.get(key)
        if process is not None:
            process.kill()
        if task is not None:
            task.cancel()

    def _answer(self, event: ev.AgentExited | ev.MetadataLoaded) -> None:
        self._loop.call_soon(self._deliver, event)

    # ---- metadata --------------------------------------------------------------------------------------------------

    def _load_metadata(self, agent: str) -> None:
        if agent in self._loading:
            self._loading[agent] += 1
            return
        agent_class, _, rest = agent.partition(":")
        provider, _, name = rest.rpartition(":")
        try:
            match self._resolved(agent_class, name):
                case "ocf":
                    self._read_metadata(agent, ocf_metadata_plan(self.settings, self._shared, provider, name))
                case "stonith":
                    plan = fence_plan(self.settings, self._shared, name, "metadata", {})
                    self._read_metadata(agent, plan)
                case "lsb":
                    xml = lsb_metadata(find_lsb(self.settings, name))
                    self._answer(ev.MetadataLoaded(agent=agent, xml=xml))
                case "systemd":
                    asyncio.ensure_future(self._unit_metadata(agent, name))
                case other:
                    error = f"{other} is no class of agents; known are ocf, lsb, systemd, service, stonith"
                    self._answer(ev.MetadataLoaded(agent=agent, xml=None, error=error))
        except (NoSuchAgent, OSError) as error:
            self._answer(ev.MetadataLoaded(agent=agent, xml=None, error=str(error)))

    async def _unit_metadata(self, agent: str, name: str) -> None:
        try:
            xml = await self._systemd.metadata(name)
        except SystemdError as error:
            self._deliver(ev.MetadataLoaded(agent=agent, xml=None, error=str(error)))
        else:
            self._deliver(ev.MetadataLoaded(agent=agent, xml=xml))

    def _read_metadata(self, agent: str, plan: Plan) -> None:
        changed = os.stat(plan.argv[0]).st_mtime_ns
        kept = self._metadata.get(agent)
        if kept is not None and kept[0] == changed:
            self._answer(ev.MetadataLoaded(agent=agent, xml=kept[1]))
            return

        def ended(exit: Exit) -> None:
            error = _metadata_error(exit)
            if not error:
                self._metadata[agent] = (changed, exit.output)
                if len(self._metadata) > METADATA_KEPT_MAX:
                    self._metadata.pop(next(iter(self._metadata)))
            for _ in range(self._loading.pop(agent, 1)):
                self._deliver(ev.MetadataLoaded(agent=agent, xml=None if error else exit.output, error=error))

        try:
            RunningProcess(
                self._loop, plan.argv, plan.environment, directory=self.settings.working_directory,
                timeout_s=METADATA_TIMEOUT_S, on_exit=ended, stdin=plan.stdin,
            )  # fmt: skip
        except SpawnError as failure:
            self._answer(ev.MetadataLoaded(agent=agent, xml=None, error=str(failure)))
        else:
            self._loading[agent] = 1

    # ---- the end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The daemon ends. Actions under way are left to the ledger."""
        for task in self._tasks.values():
            task.cancel()
        self._systemd.close()


def _exited(key: str, plan: Plan, exit: Exit, wall: int) -> ev.AgentExited:
    reason = exit.reason
    if exit.code < 0 and not (exit.timed_out or exit.killed):
        reason = reason or f"the agent was ended by signal {-exit.code}"
    return ev.AgentExited(
        key=key,
        rc=plan.code(exit.code),
        timed_out=exit.timed_out,
        killed=exit.killed,
        alive=exit.survives,
        reason=reason,
        output=exit.output.decode("utf-8", "replace"),
        errors=exit.errors.decode("utf-8", "replace"),
        started_at=wall,
        execution_ms=exit.execution_ms,
    )


def _metadata_error(exit: Exit) -> str:
    if exit.timed_out:
        return f"it did not answer within {METADATA_TIMEOUT_S:g} s"
    if exit.code != 0:
        return exit.reason or f"it ended with code {exit.code}"
    return "" if b"<resource-agent" in exit.output else "it printed no metadata"
