"""Corosync with its engine on each of some nodes, in network namespaces on one bridge: started, cut apart and broken.

A namespace for each node, because Corosync's services have fixed names in it. Needs root; what is made here has names
that begin with `qcs` and the process's id, and is removed at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from quorate.host import clock
from quorate.host.adapters.corosync import is_installed
from quorate.model import authkey, corosync_conf, group
from quorate.model.ids import SECOND
from quorate.model.settings import Settings

from .real_engines import RealCluster, RealNode

PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_PATIENCE_SECONDS = 10


def missing() -> str:
    """Why this cannot run here, or nothing."""
    if not is_installed() or shutil.which("corosync", path=PATH) is None:
        return "Corosync is not installed (apt-get install corosync libcpg4 libquorum5 libcmap4)"
    if os.geteuid() != 0:
        return "real Corosync needs root for its namespaces"
    if shutil.which("ip", path=PATH) is None or shutil.which("unshare", path=PATH) is None:
        return "iproute2 and util-linux are needed"
    probe = subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, check=False)
    return "" if probe.returncode == 0 else "namespaces are not allowed here"


class CorosyncNode(RealNode):
    """`corosync` and `process` (the engine), both in the node's network namespace."""

    cluster: CorosyncCluster
    corosync: subprocess.Popen[bytes] | None = None

    @property
    def namespace(self) -> str:
        return f"{self.cluster.prefix}-n{self.number}"

    @property
    def conf(self) -> Path:
        return self.directory / "corosync.conf"

    def start_corosync(self) -> None:
        script = (
            "mount --make-rprivate / && mount -t tmpfs tmpfs /run && "
            f"mount --bind {self.directory}/lib /var/lib/corosync && exec corosync -f -c {self.conf}"
        )
        command = ["ip", "netns", "exec", self.namespace, "unshare", "-m", "sh", "-c", script]
        with open(self.directory / "stderr", "ab") as errors:
            self.corosync = subprocess.Popen(command, stdout=errors, stderr=errors)

    def start(self) -> None:
        self.start_corosync()
        self.start_engine()

    def start_engine(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "QUORATE_RUN"}
        engine = [sys.executable, "-m", "quorate.host.corosync_engine", "--config", str(self.config)]
        with open(self.directory / "stderr", "ab") as errors:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *engine], stderr=errors, env=environment
            )

    def both(self, number: signal.Signals) -> None:
        for process in (self.corosync, self.process):
            if process is not None and process.poll() is None:
                process.send_signal(number)

    def kill_corosync(self) -> None:
        assert self.corosync is not None
        self.corosync.kill()
        self.corosync.wait()

    def kill(self) -> None:
        self.both(signal.SIGKILL)
        for process in (self.corosync, self.process):
            if process is not None:
                process.wait()
        self.leave_socket()


class CorosyncCluster(RealCluster):
    """`size` nodes 10.9.0.1, 10.9.0.2, ... on one network."""

    def __init__(self, directory: Path, size: int, token_ms: int) -> None:
        self.prefix = f"qcs{os.getpid()}"
        self.directory = directory
        self.name = "contract"
        self.token_ms = token_ms
        self.secret = os.urandom(corosync_conf.KEY_BYTES)
        self.nodes: list[RealNode] = []
        self.nodes += [CorosyncNode(self, number) for number in range(1, size + 1)]
        self._wire()
        for node in self.nodes:
            self.configure(node)

    def _wire(self) -> None:
        hub = f"{self.prefix}-hub"
        run("ip", "netns", "add", hub)
        for bridge in ("br0", "br1"):
            run("ip", "-n", hub, "link", "add", bridge, "type", "bridge", "forward_delay", "0")
            run("ip", "-n", hub, "link", "set", bridge, "up")
        for node in self.nodes:
            assert isinstance(node, CorosyncNode)
            name = node.namespace
            run("ip", "netns", "add", name)
            run(
                "ip", "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"v{node.number}", "netns", hub
            )
            run("ip", "-n", hub, "link", "set", f"v{node.number}", "master", "br0", "up")
            run("ip", "-n", name, "addr", "add", f"10.9.0.{node.number}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")

    def partition(self, *sides: tuple[int, ...]) -> None:
        for bridge, side in zip(("br0", "br1"), sides, strict=True):
            for number in side:
                run("ip", "-n", f"{self.prefix}-hub", "link", "set", f"v{number}", "master", bridge)

    def configure(self, node: RealNode, name: str | None = None, key: authkey.AuthKey | None = None) -> None:
        assert isinstance(node, CorosyncNode)
        (node.directory / "lib").mkdir(exist_ok=True)
        key_file = node.directory / "corosync.key"
        key_file.write_bytes(self.secret)
        key_file.chmod(0o400)
        lines = [
            f'cluster = "{self.name}"', f'node = "n{node.number}"', 'engine = "corosync"',
            f'state_dir = "{node.directory}/state"', f'run_dir = "{node.directory}/run"',
            f"token_ms = {self.token_ms}", "manager_stall_ms = 5000",
        ]  # fmt: skip
        for other in self.nodes:
            lines += ["[[nodes]]", f'name = "n{other.number}"', f"id = {other.number}"]
        lines += ["[[links]]", 'name = "lan"', 'kind = "udp"', "[links.addresses]"]
        lines += [f'n{other.number} = "10.9.0.{other.number}"' for other in self.nodes]
        text = "\n".join(lines) + "\n"
        node.config.write_text(text)
        settings = Settings.parse(text, str(node.config))
        node.conf.write_text(
            corosync_conf.write(settings, log_file=f"{node.directory}/corosync.log", key_file=str(key_file))
        )

    def close(self) -> None:
        for node in self.nodes:
            node.kill()
        for name in [f"{self.prefix}-n{node.number}" for node in self.nodes] + [f"{self.prefix}-hub"]:
            run("ip", "netns", "del", name)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


class CorosyncDriver:
    """Real Corosync under the contract suite (see `driver.EngineDriver`)."""

    def __init__(self, nodes: int, token_ms: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="quorate-contract-")
        self.cluster = CorosyncCluster(Path(self._directory.name), nodes, token_ms)

    def node(self, number: int) -> CorosyncNode:
        node = self.cluster.nodes[number - 1]
        assert isinstance(node, CorosyncNode)
        return node

    def start(self, *nodes: int) -> None:
        for node in nodes:
            self.node(node).start()
        for node in nodes:
            self.node(node).connect()

    def stop(self, node: int) -> None:
        self.node(node).both(signal.SIGTERM)
        for process in (self.node(node).process, self.node(node).corosync):
            assert process is not None
            process.wait(_PATIENCE_SECONDS)
        self.kill(node)

    def kill(self, node: int) -> None:
        self.node(node).kill()
        self.node(node).events = []

    def pause(self, node: int) -> None:
        self.node(node).both(signal.SIGSTOP)

    def resume(self, node: int) -> None:
        self.node(node).both(signal.SIGCONT)

    def partition(self, *sides: tuple[int, ...]) -> None:
        self.cluster.partition(*sides)

    def heal(self) -> None:
        self.cluster.partition(tuple(range(1, len(self.cluster.nodes) + 1)), ())

    def request(self, node: int, request: group.EngineRequest) -> None:
        if self.node(node).connection is None:
            self.node(node).connect()
        self.node(node).send(request)

    def drop_manager(self, node: int) -> None:
        self.node(node).leave_socket()
        self.node(node).events = []

    def events(self, node: int) -> list[group.EngineEvent]:
        return self.node(node).events

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        until = clock.now() + int(seconds * SECOND)
        while not condition():
            if clock.now() >= until:
                return False
            self.cluster.turn(0.02)
        return True

    def close(self) -> None:
        self.cluster.close()
        self._directory.cleanup()
