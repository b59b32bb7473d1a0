"""systemd units as resources, over D-Bus: no systemctl process for each monitor.

A unit that the cluster runs must not be restarted by systemd behind its back, and must be stopped before the cluster at
shutdown: an override file says so while the resource is started, and is removed when it is stopped.
Source: org.freedesktop.systemd1(5); Pacemaker's behaviour as described in Pacemaker Administration.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from .listing import UNIT_DIRECTORIES
from .lsb_metadata import service_metadata
from .plans import OCF_ERROR, OCF_NOT_INSTALLED, OCF_NOT_RUNNING, OCF_OK, OCF_UNIMPLEMENTED
from .settings import AgentSettings

SERVICE = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
UNIT = "org.freedesktop.systemd1.Unit"
POLL_S_FIRST, POLL_S_MOST = 0.02, 2.0
OVERRIDE_NAME = "50-quorate.conf"
OVERRIDE = """\
# While the cluster runs this unit: it is stopped before the cluster is, and restarted by the cluster only.
[Unit]
Description=Cluster Controlled {agent}
Before=quorate.service

[Service]
Restart=no
"""
_SUFFIXES = (".service", ".socket", ".mount", ".timer", ".path", ".target", ".device", ".swap", ".slice", ".automount")
_ACTIVE, _MOVING = ("active", "reloading"), ("activating", "deactivating")


class SystemdError(Exception):
    """systemd cannot be reached or has refused."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


def unit_name(agent: str) -> str:
    return agent if agent.endswith(_SUFFIXES) else f"{agent}.service"


def unit_exists(agent: str) -> bool:
    """Whether there is a unit file; templates count for their instances."""
    name = unit_name(agent)
    stem, at, rest = name.partition("@")
    names = (name, f"{stem}@.{rest.rpartition('.')[2]}") if at else (name,)
    return any(Path(directory, each).exists() for directory in UNIT_DIRECTORIES for each in names)


class Systemd:
    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._bus: Any = None

    async def run(self, agent: str, operation: str) -> tuple[int, str, bool]:
        """(OCF code, reason, whether the unit is missing). Takes as long as systemd does; the caller has a timeout."""
        unit = unit_name(agent)
        try:
            match operation:
                case "monitor" | "status":
                    return await self._monitor(unit)
                case "start":
                    return await self._begin(unit, agent)
                case "stop":
                    return await self._end(unit)
                case "reload" | "restart":
                    await self._manager(operation.capitalize() + "Unit", "ss", unit, "replace")
                    return await self._monitor(unit)
                case _:
                    return OCF_UNIMPLEMENTED, f"a systemd unit has no action {operation}", False
        except SystemdError as error:
            if not error.name.endswith((".NoSuchUnit", ".LoadFailed")):
                raise
            if operation == "stop":
                return OCF_OK, "", False
            return OCF_NOT_INSTALLED, f"systemd knows no unit {unit}", True

    async def metadata(self, agent: str) -> bytes:
        unit = unit_name(agent)
        path = await self._manager("LoadUnit", "s", unit)
        if await self._property(path, "LoadState") == "not-found":
            raise SystemdError(f"systemd knows no unit {unit}")
        description = await self._property(path, "Description")
        actions = (("start", "100"), ("stop", "100"), ("status", "100"), ("monitor", "100"), ("meta-data", "5"))
        return service_metadata(agent, f"systemd unit file for {agent}", description, actions)

    def close(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None

    # ---- operations ------------------------------------------------------------------------------------------------

    async def _monitor(self, unit: str) -> tuple[int, str, bool]:
        path = await self._manager("LoadUnit", "s", unit)
        if await self._property(path, "LoadState") == "not-found":
            return OCF_NOT_INSTALLED, f"systemd knows no unit {unit}", True
        state = await self._settled(path)
        return (OCF_OK, "", False) if state in _ACTIVE else (OCF_NOT_RUNNING, await self._why(path, state), False)

    async def _begin(self, unit: str, agent: str) -> tuple[int, str, bool]:
        path = await self._manager("LoadUnit", "s", unit)
        if await self._property(path, "LoadState") == "not-found":
            return OCF_NOT_INSTALLED, f"systemd knows no unit {unit}", True
        override = self._override(unit)
        try:
            override.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            override.write_text(OVERRIDE.format(agent=agent), encoding="utf-8")
        except OSError as error:
            raise SystemdError(f"cannot write {override}: {error.strerror}") from error
        await self._manager("Reload", "")
        await self._manager("StartUnit", "ss", unit, "replace")
        state = await self._settled(path)
        if state in _ACTIVE:
            return OCF_OK, "", False
        return OCF_ERROR, await self._why(path, state), False

    async def _end(self, unit: str) -> tuple[int, str, bool]:
        override = self._override(unit)
        try:
            override.unlink(missing_ok=True)
            override.parent.rmdir()
        except OSError:
            pass  # others have files there, or it was never there
        await self._manager("Reload", "")
        path = await self._manager("LoadUnit", "s", unit)
        if await self._property(path, "LoadState") == "not-found":
            return OCF_OK, "", False
        await self._manager("StopUnit", "ss", unit, "replace")
        state = await self._settled(path)
        return (OCF_ERROR, f"{unit} is still {state}", False) if state in _ACTIVE else (OCF_OK, "", False)

    def _override(self, unit: str) -> Path:
        return self._settings.systemd_directory / f"{unit}.d" / OVERRIDE_NAME

    async def _settled(self, path: str) -> str:
        """The unit's state once it is no more on its way somewhere; a job that has not begun yet counts as well."""
        delay = POLL_S_FIRST
        while True:
            state = str(await self._property(path, "ActiveState"))
            if state not in _MOVING and not (await self._has_job(path)):
                return state
            await asyncio.sleep(delay)
            delay = min(delay * 1.5, POLL_S_MOST)

    async def _has_job(self, path: str) -> bool:
        job = await self._property(path, "Job")
        return bool(job) and job[0] != 0

    async def _why(self, path: str, state: str) -> str:
        sub_state = await self._property(path, "SubState")
        return f"the unit is {state} ({sub_state})" if state == "failed" else ""

    # ---- the bus ---------------------------------------------------------------------------------------------------

    async def _property(self, path: str, name: str) -> Any:
        found = await self._call(path, "org.freedesktop.DBus.Properties", "Get", "ss", [UNIT, name])
        return found.value

    async def _manager(self, member: str, signature: str, *arguments: str) -> Any:
        return await self._call(MANAGER_PATH, MANAGER, member, signature, list(arguments))

    async def _call(self, path: str, interface: str, member: str, signature: str, arguments: list[str]) -> Any:
        from dbus_fast import Message, MessageType

        bus = await self._connected()
        message = Message(destination=SERVICE, path=path, interface=interface, member=member,
                          signature=signature, body=arguments)  # fmt: skip
        try:
            reply = await bus.call(message)
        except (OSError, EOFError) as error:
            self.close()
            raise SystemdError(f"the connection to systemd is lost: {error}") from error
        if reply is None or reply.message_type == MessageType.ERROR:
            text = str(reply.body[0]) if reply is not None and reply.body else "no answer"
            raise SystemdError(f"systemd refused {member}: {text}", reply.error_name or "" if reply is not None else "")
        return reply.body[0] if reply.body else None

    async def _connected(self) -> Any:
        """One connection, made at the first need: the library costs time and memory that most nodes never need."""
        if self._bus is None or not self._bus.connected:
            from dbus_fast import BusType
            from dbus_fast.aio import MessageBus

            try:
                if self._settings.system_bus:
                    self._bus = await MessageBus(bus_address=self._settings.system_bus).connect()
                else:
                    self._bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            except Exception as error:  # the library raises many kinds; all mean that there is no bus to talk to
                self._bus = None
                raise SystemdError(f"cannot reach systemd over D-Bus: {error}") from error
        return self._bus
