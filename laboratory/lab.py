"""A laboratory as its user sees it: `Laboratory(plan)`, orders to the keeper, commands inside nodes, records.

with Laboratory(Plan(nodes=("n1", "n2"))) as lab:
    lab.power_on("n1", "n2")
    lab.run("n1", ["ping", "-c1", "n2"])
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from . import kernel
from .machine import LaboratoryError
from .plan import Plan
from .timeline import Holding, Outage, Request, holdings, longest_outage, overlaps, parse_requests

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACE = "/var/tmp"  # a disk, so that fsync costs what it costs
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def needs() -> str | None:
    """What is missing for a laboratory here, as a sentence, or None."""
    if sys.platform != "linux":
        return "The laboratory needs Linux (namespaces)."
    if os.geteuid() != 0:
        return "The laboratory needs root (it makes network, process and mount namespaces): run it with sudo."
    missing = [name for name in ("ip", "nft", "nsenter") if shutil.which(name, path=PATH) is None]
    if missing:
        return f"The laboratory needs {', '.join(missing)}: apt-get install iproute2 nftables util-linux."
    return None


class Laboratory:
    def __init__(self, plan: Plan, *, detached: bool = False, directory: str | None = None) -> None:
        problem = needs()
        if problem:
            raise LaboratoryError(problem)
        self.plan = plan
        self.directory = directory or tempfile.mkdtemp(prefix=f"q-{os.getpid()}-", dir=PLACE)
        os.chmod(self.directory, 0o755)
        self._detached = detached
        self._control: socket.socket | None = None
        self._file: Any = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._processes: list[subprocess.Popen[Any]] = []  # made by popen; they end with their nodes
        if directory is None:
            self._start()
        self._connect()

    @classmethod
    def existing(cls, directory: str) -> Laboratory:
        with open(f"{directory}/plan.json") as file:
            plan = Plan.from_json(file.read())
        return cls(plan, directory=directory, detached=True)

    @staticmethod
    def all_existing() -> list[str]:
        """Directories of laboratories that were left up on purpose; what one that died left on the disk is removed."""
        found = []
        for path in sorted(glob.glob(f"{PLACE}/q-*/control")):
            if not os.path.exists(f"{os.path.dirname(path)}/detached"):
                continue  # belongs to a run that will end it
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(path)
                    found.append(os.path.dirname(path))
                except ConnectionRefusedError:
                    shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        return found

    def _start(self) -> None:
        with open(f"{self.directory}/plan.json", "w") as file:
            file.write(self.plan.to_json())
        argv = [sys.executable, "-m", "laboratory.keeper", self.directory]
        if self._detached:
            argv.append("--detached")
            open(f"{self.directory}/detached", "w").close()
        with open(f"{self.directory}/keeper.log", "wb") as log:
            environment = {**os.environ, "PATH": PATH}
            self._keeper = subprocess.Popen(
                argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def _connect(self) -> None:
        deadline = kernel.boottime_ns() + 60 * 10**9
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        while True:
            try:
                self._control.connect(f"{self.directory}/control")
                break
            except OSError as error:
                ended = self._keeper is not None and self._keeper.poll() is not None
                if ended or kernel.boottime_ns() > deadline:
                    said = self.keeper_log()
                    self._control.close()
                    if self._keeper is not None:
                        self._keeper.kill()
                        self._keeper.wait()
                        shutil.rmtree(self.directory, ignore_errors=True)
                    raise LaboratoryError(f"the keeper does not answer ({error}): {said}") from error
                time.sleep(0.01)
        self._control.settimeout(60)
        self._file = self._control.makefile("rwb")

    def keeper_log(self) -> str:
        with open(f"{self.directory}/keeper.log") as file:
            return file.read()[-2000:].strip()

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(keep_records=error is not None and bool(os.environ.get("QUORATE_KEEP_RECORDS")))

    def close(self, keep_records: bool = False) -> None:
        """Power off, remove everything. Were this never called, the kernel would still end all of it with the
        keeper."""
        if self._control is None:
            return
        try:
            self.order("close")
        except LaboratoryError:
            pass  # already gone; what follows removes the rest
        try:
            self._file.close()
        except OSError:
            pass  # the order above could not be written
        self._control.close()
        self._control = None
        if self._keeper is not None:
            try:
                self._keeper.wait(20)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
        for process in self._processes:
            process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        if not keep_records:
            shutil.rmtree(self.directory, ignore_errors=True)

    def order(self, op: str, **fields: Any) -> Any:
        try:
            self._file.write(json.dumps({"op": op, **fields}).encode() + b"\n")
            self._file.flush()
            line = self._file.readline()
        except OSError as error:
            raise LaboratoryError(f"the keeper is gone: {error}: {self.keeper_log()}") from error
        if not line:
            raise LaboratoryError(f"the keeper is gone: {self.keeper_log()}")
        answer = json.loads(line)
        if "error" in answer:
            raise LaboratoryError(answer["error"])
        return answer["result"]

    # ---- power, cables --------------------------------------------------------------------------------------------

    def power_on(self, *nodes: str) -> None:
        for node in nodes or self.plan.nodes:
            self.order("power", node=node, on=True)

    def power_off(self, node: str) -> None:
        """A power cut: every process is killed at once, the interfaces are gone. Returns when that is so."""
        self.order("power", node=node, on=False)

    def is_on(self, node: str) -> bool:
        return bool(self.state(node)["on"])

    def state(self, node: str) -> dict[str, Any]:
        found: dict[str, Any] = self.order("state")["nodes"][node]
        return found

    def cut(self, node: str, *networks: str) -> None:
        self.order("link", node=node, networks=list(networks or self.plan.networks), up=False)

    def heal(self, node: str, *networks: str) -> None:
        self.order("link", node=node, networks=list(networks or self.plan.networks), up=True)

    def cut_one_way(self, source: str, network: str) -> None:
        self.order("one_way", source=source, network=network, blocked=True)

    def heal_one_way(self, source: str, network: str) -> None:
        self.order("one_way", source=source, network=network, blocked=False)

    def cut_cable(self, name: str) -> None:
        self.order("cable", name=name, connected=False)

    def heal_cable(self, name: str) -> None:
        self.order("cable", name=name, connected=True)

    def switch_mode(self, mode: str, plug: str | None = None) -> None:
        self.order("switch", plug=plug, mode=mode)

    def switch_reachable(self, node: str, reachable: bool) -> None:
        self.order("switch_reach", node=node, reachable=reachable)

    # ---- inside nodes ---------------------------------------------------------------------------------------------

    def enter_command(self, node: str) -> list[str]:
        pid = self.state(node)["pid"]
        if not pid:
            raise LaboratoryError(f"{node} is off")
        return ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--"]

    def environment(self) -> dict[str, str]:
        return {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **self.plan.environment}

    def popen(self, node: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """A process in the node. Not for one that will be stopped by a signal: nsenter would stop with it, and reap
        nothing."""
        process = subprocess.Popen(self.enter_command(node) + list(argv), env=self.environment(), **options)
        self._processes.append(process)
        return process

    def run(
        self, node: str, argv: Sequence[str], *, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.enter_command(node) + list(argv),
            env=self.environment(), capture_output=True, text=True, timeout=timeout, check=False,
            **({"input": input} if input is not None else {"stdin": subprocess.DEVNULL}),
        )  # fmt: skip
        if check and done.returncode:
            raise LaboratoryError(
                f"{node}: {' '.join(argv)}: exit {done.returncode}: {(done.stderr + done.stdout).strip()[-1500:]}"
            )
        return done

    def pids(self, node: str, *words: str) -> list[int]:
        """Processes of the node (all, or those whose command line holds every word), as the host counts."""
        namespace = os.readlink(f"/proc/{self.state(node)['pid']}/ns/pid")
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{name}/ns/pid") != namespace:
                    continue
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # it ended meanwhile
            if line and all(word in line for word in words):
                found.append(int(name))
        return sorted(found)

    def signal(self, node: str, number: signal.Signals, *words: str) -> list[int]:
        pids = self.pids(node, *words)
        if not pids:
            raise LaboratoryError(f"{node}: no process {' '.join(words)}")
        for pid in pids:
            os.kill(pid, number)
        return pids

    def read(self, node: str, path: str) -> str:
        """A file on the node's disk (/etc, /var/lib, /var/log), also while it is off."""
        for place, name in (("/etc/", "etc/"), ("/var/lib/", "lib/"), ("/var/log/", "log/")):
            if path.startswith(place):
                with open(os.path.join(self.directory, node, name, path[len(place) :]), errors="replace") as file:
                    return file.read()
        raise LaboratoryError(f"{path} is not on a node's disk")

    # ---- outside and records --------------------------------------------------------------------------------------

    def client_start(self, address: str, port: int = 80, path: str = "/", every_ms: float = 5) -> None:
        self.order("client_start", address=address, port=port, path=path, every_ms=every_ms)

    def client_stop(self) -> None:
        self.order("client_stop")

    def requests(self) -> list[Request]:
        try:
            with open(f"{self.directory}/client.log", errors="replace") as file:
                return parse_requests(file.read())
        except FileNotFoundError:
            return []

    def last_request(self) -> Request | None:
        """The newest record, without reading the whole file."""
        try:
            with open(f"{self.directory}/client.log", "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - 4096))
                found = parse_requests(file.read().split(b"\n", 1)[-1].decode(errors="replace"))
        except FileNotFoundError:
            return None
        return found[-1] if found else None

    def await_answer(self, since: int, timeout: float, from_nodes: Iterable[str] | None = None) -> Request:
        """The first good answer that began after `since` (BOOTTIME ns), from one of the nodes."""
        wanted = None if from_nodes is None else set(from_nodes)
        deadline = kernel.boottime_ns() + int(timeout * 1e9)
        while True:
            last = self.last_request()
            good = last is not None and last.answer is not None and last.began > since
            if good and last is not None and (wanted is None or last.answer in wanted):
                return last
            if kernel.boottime_ns() > deadline:
                shown = (
                    "no request was made" if last is None else f"the last one ended in {last.failure or last.answer!r}"
                )
                raise LaboratoryError(f"no answer for the client within {timeout:.0f} s: {shown}")
            time.sleep(0.02)

    def outage(self, since: int) -> Outage | None:
        return longest_outage(self.requests(), since)

    def events(self) -> list[dict[str, Any]]:
        with open(f"{self.directory}/events.log") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def holdings(self, address: str) -> Mapping[str, list[Holding]]:
        events = self.events()
        found = {}
        for node in self.plan.nodes:
            offs = [
                event["t"]
                for event in events
                if event["event"] == "power" and event["node"] == node and not event["on"]
            ]
            with open(f"{self.directory}/{node}/observations") as file:
                found[node] = holdings(node, file.read(), address, offs)
        return found

    def double_holders(self, address: str) -> list[tuple[Holding, Holding]]:
        return overlaps(self.holdings(address))
