"""The power switch that fence agents talk to: it really cuts a node's power, and confirms only when nothing of it is
left.

One Unix socket for each node (bound into it at /run/laboratory/power), so that the switch knows who asks and can be
made unreachable for one node. A request is a line `ACTION [PLUG]`, the answer lines: `ok`, `on`, `off`, names, or
`error TEXT`. Modes of a plug, for tests: ok, fail (says no), hang (no answer), lie (says ok, does nothing).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .machine import Machine

MODES = ("ok", "fail", "hang", "lie")


class PowerSwitch:
    def __init__(self, machines: dict[str, Machine], delay_s: float, log: Callable[..., None]) -> None:
        self._machines = machines
        self._delay_s = delay_s
        self._log = log
        self._modes: dict[str, str] = {}
        self._servers: list[asyncio.Server] = []
        self._restarts: set[asyncio.Task[None]] = set()
        self.unreachable: set[str] = set()

    def set_mode(self, plug: str | None, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"the switch knows {', '.join(MODES)}, not {mode}")
        for name in [plug] if plug else list(self._machines):
            self._modes[name] = mode
        self._log("switch-mode", plug=plug, mode=mode)

    async def listen(self, node: str, path: str) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            words = (await reader.readline()).decode().split()
            try:
                answer = await self.answer(node, words)
                writer.write(answer.encode() + b"\n")
                await writer.drain()
            except (ConnectionError, BrokenPipeError):
                pass  # the asker died meanwhile, perhaps by our own hand
            finally:
                writer.close()

        self._servers.append(await asyncio.start_unix_server(serve, path))

    async def answer(self, asker: str, words: list[str]) -> str:
        if asker in self.unreachable:
            await asyncio.sleep(3600)
        match words:
            case ["list"]:
                return "\n".join(self._machines)
            case ["monitor"]:
                return "ok"
            case [("status" | "off" | "on" | "reboot") as action, plug] if plug in self._machines:
                return await self._act(asker, action, plug)
            case [_, plug]:
                return f"error no plug {plug}; there are {' '.join(self._machines)}"
        return "error expected ACTION [PLUG]"

    async def _act(self, asker: str, action: str, plug: str) -> str:
        machine = self._machines[plug]
        if action == "status":
            return "on" if machine.is_on else "off"
        mode = self._modes.get(plug, "ok")
        self._log("switch-order", by=asker, action=action, plug=plug, mode=mode)
        if mode == "hang":
            await asyncio.sleep(3600)
        if mode == "fail":
            return f"error the switch of {plug} does not move"
        if mode == "ok":
            await asyncio.sleep(self._delay_s)
            if action in ("off", "reboot"):
                await machine.power_off()
                self._log("power", node=plug, on=False, by=asker)
            if action == "on":
                await machine.power_on()
                self._log("power", node=plug, on=True, by=asker)
            elif action == "reboot":
                task = asyncio.create_task(self._start_again(machine, asker))
                self._restarts.add(task)
                task.add_done_callback(self._restarts.discard)
        self._log("switch-confirmed", by=asker, action=action, plug=plug)
        return "ok"

    async def _start_again(self, machine: Machine, asker: str) -> None:
        await machine.power_on()
        self._log("power", node=machine.name, on=True, by=asker)
