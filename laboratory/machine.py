"""One node as the keeper sees it: a power supply, interfaces, and a state directory that survives power cuts."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Sequence

from .plan import Plan

HERE = os.path.dirname(os.path.abspath(__file__))


class LaboratoryError(Exception):
    """Something of the laboratory itself failed; the text says what and where."""


async def ip(*commands: str, may_be_gone: bool = False) -> None:
    """Run `ip` commands in the keeper's network namespace."""
    process = await asyncio.create_subprocess_exec(
        "ip", "-force", "-batch", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate("\n".join(commands).encode())
    harmless = (b"No such device", b"Cannot find device", b"Command failed -")
    if may_be_gone and all(any(text in line for text in harmless) for line in output.splitlines()):
        return
    if process.returncode:
        raise LaboratoryError(f"ip: {output.decode().strip()} (in: {'; '.join(commands)})")


class Process:
    """A process that lives in namespaces of its own and follows the protocol of `node_init`: child, built, go,
    ready."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = 0  # as the keeper counts
        self.host_pid = 0  # as everybody outside counts

    @classmethod
    async def start(cls, argv: Sequence[str], log: str) -> Process:
        with open(log, "ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", *argv,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        self = cls(process)
        self.pid = int(await self.expect("child", log))
        self.host_pid = int(await self.expect("built", log))
        return self

    async def expect(self, word: str, log: str) -> str:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode().split()
        if not line or line[0] != word:
            raise LaboratoryError(f"{log}: expected {word!r}, got {' '.join(line)!r}")
        return line[1] if len(line) > 1 else ""

    async def go(self, log: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        await self.process.stdin.drain()
        await self.expect("ready", log)

    async def end(self) -> None:
        """When this returns every process of the namespace is gone: the first process has waited for its init."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), 15)
        except TimeoutError as error:
            raise LaboratoryError(
                "a node does not die: the kernel waits for a process whose parent outside does not reap it"
            ) from error


class Machine:
    def __init__(self, plan: Plan, name: str, directory: str, devices: dict[str, str]) -> None:
        self.plan = plan
        self.name = name
        self.number = plan.nodes.index(name) + 1
        self.directory = os.path.join(directory, name)
        self.devices = devices  # path in the node -> path here
        self.cut: set[int] = set()  # networks whose cable is pulled
        self.process: Process | None = None
        self.boots = 0
        self.boot_id = ""
        self._changing = asyncio.Lock()

    @property
    def is_on(self) -> bool:
        return self.process is not None

    def hardware_address(self, number: int) -> str:
        """The same after each boot, as a real card's."""
        return f"02:71:00:00:{number:02x}:{self.number:02x}"

    def prepare(self) -> None:
        """The node's disk: a copy of /etc, and the host's directories of /var/lib and /var/log without what is in
        them."""
        os.makedirs(self.directory)
        shutil.copytree("/etc", f"{self.directory}/etc", symlinks=True, ignore_dangling_symlinks=True)
        for place, name in (("/var/lib", "lib"), ("/var/log", "log")):
            copy_directories(place, f"{self.directory}/{name}", depth=2)
        hosts = ["127.0.0.1 localhost"]
        hosts += [f"{self.plan.address(node)} {node}" for node in self.plan.nodes]
        self.write("/etc/hosts", "\n".join(hosts) + "\n", 0o644)
        self.write("/etc/hostname", self.name + "\n", 0o644)
        for path, (content, mode) in {**self.plan.files, **self.plan.node_files.get(self.name, {})}.items():
            self.write(path, content.replace("{node}", self.name), mode)
        open(f"{self.directory}/observations", "ab").close()

    def write(self, path: str, content: str, mode: int) -> None:
        for place, name in (("/etc/", "etc/"), ("/var/lib/", "lib/"), ("/var/log/", "log/")):
            if path.startswith(place):
                target = os.path.join(self.directory, name, path[len(place) :])
                break
        else:
            raise LaboratoryError(f"a node's disk holds /etc, /var/lib and /var/log only, not {path}")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        with open(target, "w") as file:
            file.write(content)
        os.chmod(target, mode)

    def spec(self) -> dict[str, object]:
        lines = ["link set lo up"]
        for number in range(len(self.plan.networks)):
            lines += [
                f"addr add {self.plan.address(self.name, number)}/24 broadcast + dev eth{number}",
                f"link set eth{number} up",
            ]
        handles = {"power": f"{self.directory}/power", "observations": f"{self.directory}/observations"}
        handles |= {f"device{i}": source for i, source in enumerate(self.devices.values())}
        return {
            "node": self.name,
            "boot_id": self.boot_id,
            "state": self.directory,
            "keep_paths": self.plan.keep_paths,
            "handles": handles,
            "devices": {path: f"device{i}" for i, path in enumerate(self.devices)},
            "sbin": self.plan.sbin,
            "observe": self.plan.observe,
            "boot": self.plan.boot,
            "ip": lines,
            "environment": self.plan.environment,
        }

    async def power_on(self) -> None:
        async with self._changing:
            if self.process is not None:
                return
            self.boots += 1
            self.boot_id = str(uuid.uuid4())
            spec, log = f"{self.directory}/spec.json", f"{self.directory}/init.log"
            with open(spec, "w") as file:
                json.dump(self.spec(), file)
            process = await Process.start([f"{HERE}/node_init.py", spec], log)
            commands = []
            for number in range(len(self.plan.networks)):
                side = f"v{self.number}-{number}"
                commands += [
                    f"link add {side} type veth peer name eth{number} address {self.hardware_address(number)} netns {process.pid}",
                    f"link set {side} master br{number}",
                    f"link set {side} {'down' if number in self.cut else 'up'}",
                ]
            await ip(*commands)
            await process.go(log)
            self.process = process

    async def power_off(self) -> None:
        """Returns when no process of the node and no interface of it is left."""
        async with self._changing:
            if self.process is None:
                return
            process, self.process = self.process, None
            links = [f"link del v{self.number}-{number}" for number in range(len(self.plan.networks))]
            await ip(*links, may_be_gone=True)  # first, so that no dying process says good-bye to anybody
            await process.end()

    async def set_link(self, number: int, up: bool) -> None:
        (self.cut.discard if up else self.cut.add)(number)
        if self.is_on:
            await ip(f"link set v{self.number}-{number} {'up' if up else 'down'}")


def copy_directories(source: str, target: str, depth: int) -> None:
    """Directories with owner and mode, without files, `depth` levels down."""
    status = os.stat(source)
    os.makedirs(target, exist_ok=True)
    os.chmod(target, status.st_mode & 0o7777)
    os.chown(target, status.st_uid, status.st_gid)
    if depth == 0:
        return
    for name in sorted(os.listdir(source)):
        path = os.path.join(source, name)
        if os.path.isdir(path) and not os.path.islink(path):
            copy_directories(path, os.path.join(target, name), depth - 1)
