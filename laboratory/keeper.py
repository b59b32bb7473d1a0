"""The process that owns a laboratory: bridges, nodes, cables, the power switch and the client outside.

Started as `python -m laboratory.keeper DIRECTORY [--detached]`. It lives in network, mount and process namespaces of
its own, so that nothing of the laboratory is seen on the host and the kernel ends all of it when the keeper ends,
however it ends. The keeper ends with the process that started it, unless detached. Orders come as JSON lines on
DIRECTORY/control.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from . import kernel
from .cable import NullModem
from .machine import HERE, LaboratoryError, Machine, Process, ip
from .plan import Plan
from .power_switch import PowerSwitch

Answer = Any


class Keeper:
    def __init__(self, directory: str, plan: Plan) -> None:
        self.directory = directory
        self.plan = plan
        self.cables = [NullModem(cable.name, tuple(cable.ends)) for cable in plan.cables]  # type: ignore[arg-type]
        self.machines: dict[str, Machine] = {}
        for node in plan.nodes:
            devices = {
                cable.ends[node]: modem.devices[node]
                for cable, modem in zip(plan.cables, self.cables, strict=True)
                if node in cable.ends
            }
            self.machines[node] = Machine(plan, node, directory, devices)
        self.switch = PowerSwitch(self.machines, plan.switch_delay_s, self.log)
        self.client: Process | None = None
        self.stopped = asyncio.Event()
        self._events = open(f"{directory}/events.log", "a", buffering=1)  # noqa: SIM115 - open as long as the keeper

    def log(self, event: str, **fields: object) -> None:
        self._events.write(json.dumps({"t": kernel.boottime_ns(), "event": event, **fields}) + "\n")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self.stopped.set)
        commands = ["link set lo up"]
        for number in range(len(self.plan.networks)):
            commands += [f"link add br{number} type bridge forward_delay 0", f"link set br{number} up"]
        await ip(*commands)
        for modem in self.cables:
            modem.start(loop)
        for machine in self.machines.values():
            machine.prepare()
            await self.switch.listen(machine.name, f"{machine.directory}/power")
        server = await asyncio.start_unix_server(self.serve, f"{self.directory}/control.new", limit=1 << 22)
        os.rename(f"{self.directory}/control.new", f"{self.directory}/control")
        async with server:
            await self.stopped.wait()
        await asyncio.gather(*(machine.power_off() for machine in self.machines.values()))
        await self.client_stop()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve_orders(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass  # the laboratory is closed, or whoever gave orders is gone
        finally:
            writer.close()

    async def serve_orders(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            try:
                order = json.loads(line)
                handler: Callable[..., Awaitable[Answer]] = getattr(self, "do_" + order.pop("op"))
                answer = {"result": await handler(**order)}
            except Exception as error:  # reported to whoever gave the order
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    # ---- orders -----------------------------------------------------------------------------------------------------

    async def do_power(self, node: str, on: bool) -> None:
        machine = self.machines[node]
        self.log("power-order", node=node, on=on, by="operator")
        await (machine.power_on() if on else machine.power_off())
        self.log("power", node=node, on=on, by="operator")

    async def do_state(self) -> dict[str, Answer]:
        return {
            "nodes": {
                name: {
                    "on": machine.is_on,
                    "pid": machine.process.host_pid if machine.process else 0,
                    "boot_id": machine.boot_id,
                    "boots": machine.boots,
                    "cut": sorted(machine.cut),
                }
                for name, machine in self.machines.items()
            },
            "client": self.client.host_pid if self.client else 0,
            "keeper": int(os.readlink("/proc/self")),
        }

    async def do_link(self, node: str, networks: list[str], up: bool) -> None:
        self.log("link", node=node, networks=networks, up=up)
        for network in networks:
            await self.machines[node].set_link(self.plan.networks.index(network), up)

    async def do_one_way(self, source: str, network: str, blocked: bool) -> None:
        """Drop what `source` sends on `network` while it still hears the others."""
        machine = self.machines[source]
        if machine.process is None:
            raise LaboratoryError(f"{source} is off")
        self.log("one-way", node=source, network=network, blocked=blocked)
        interface = f"eth{self.plan.networks.index(network)}"
        if blocked:
            rules = (
                f"add table inet {interface}; add chain inet {interface} out {{ type filter hook output priority 0; }}; "
                f'add rule inet {interface} out oifname "{interface}" drop'
            )
        else:
            rules = f"delete table inet {interface}"
        await self.inside(machine.process, "nft", rules)

    async def inside(self, process: Process, *argv: str) -> None:
        done = await asyncio.create_subprocess_exec(
            "nsenter", f"--net=/proc/{process.host_pid}/ns/net", *argv,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await done.communicate()
        if done.returncode:
            raise LaboratoryError(f"{' '.join(argv)}: {output.decode().strip()}")

    async def do_cable(self, name: str, connected: bool) -> None:
        self.log("cable", name=name, connected=connected)
        next(modem for modem in self.cables if modem.name == name).connected = connected

    async def do_switch(self, plug: str | None, mode: str) -> None:
        self.switch.set_mode(plug, mode)

    async def do_switch_reach(self, node: str, reachable: bool) -> None:
        self.log("switch-reach", node=node, reachable=reachable)
        (self.switch.unreachable.discard if reachable else self.switch.unreachable.add)(node)

    async def do_client_start(self, address: str, port: int, path: str, every_ms: float) -> None:
        await self.client_stop()
        log = f"{self.directory}/client.err"
        argv = [f"{HERE}/requester.py", f"{self.directory}/client.log", address, str(port), path, str(every_ms)]
        client = await Process.start(argv, log)
        await ip(
            f"link add client type veth peer name eth0 netns {client.pid}",
            "link set client master br0",
            "link set client up",
        )
        await self.inside(client, "ip", "link", "set", "lo", "up")
        await self.inside(client, "ip", "addr", "add", self.plan.client_address() + "/24", "dev", "eth0")
        await self.inside(client, "ip", "link", "set", "eth0", "up")
        await client.go(log)
        self.client = client

    async def do_client_stop(self) -> None:
        await self.client_stop()

    async def client_stop(self) -> None:
        if self.client is not None:
            client, self.client = self.client, None
            await client.end()
            await ip("link del client", may_be_gone=True)

    async def do_close(self) -> None:
        asyncio.get_running_loop().call_later(0.01, self.stopped.set)


def main() -> int:
    directory = sys.argv[1]
    detached = "--detached" in sys.argv
    if not detached:
        kernel.die_with_parent(signal.SIGTERM)
    else:
        os.setsid()
    with open(f"{directory}/plan.json") as file:
        plan = Plan.from_json(file.read())
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID)
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    child = os.fork()
    if child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) & 0xFF

    kernel.die_with_parent()

    async def run() -> None:
        await Keeper(directory, plan).run()

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
