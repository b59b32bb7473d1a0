"""Engine processes on real sockets: starts them, speaks to them as their managers would, and breaks them."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from quorate.host import clock, frames
from quorate.host.sockets import connect
from quorate.host.stamp import StampWriter
from quorate.model import authkey, group
from quorate.model.ids import SECOND

PATIENCE_SECONDS = 15.0
_FRAME_MAX = group.MESSAGE_BYTES_MAX + 65_536


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RealNode:
    """One engine and the test's end of its socket. `events` is all it ever said to this manager."""

    def __init__(self, cluster: RealCluster, number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.directory = cluster.directory / f"n{number}"
        self.directory.mkdir()
        self.config = self.directory / "quorate.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket | None = None
        self.stamp: StampWriter | None = None
        self.events: list[group.EngineEvent] = []
        self.is_stamping = True
        self._reader = frames.FrameReader(_FRAME_MAX)

    @property
    def view(self) -> group.View | None:
        views = [event.view for event in self.events if isinstance(event, group.ViewChanged)]
        return views[-1] if views else None

    @property
    def delivered(self) -> list[tuple[int, bytes]]:
        return [(event.sender, event.payload) for event in self.events if isinstance(event, group.Delivered)]

    @property
    def diagnoses(self) -> set[str]:
        return {event.code for event in self.events if isinstance(event, group.Diagnosis)}

    def start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "QUORATE_RUN"}
        command = [sys.executable, "-m", "quorate.host.engine", "--config", str(self.config)]
        with open(self.directory / "stderr", "ab") as errors:
            self.process = subprocess.Popen(command, stderr=errors, env=environment)

    def connect(self) -> None:
        """As a manager that has just started."""
        end = clock.now() + int(PATIENCE_SECONDS * SECOND)
        while True:
            try:
                self.connection = connect(self.directory / "run" / "engine.sock")
                break
            except OSError:
                assert self.process is not None and self.process.poll() is None, self.said()
                assert clock.now() < end, self.said()
                time.sleep(0.01)
        self._reader = frames.FrameReader(_FRAME_MAX)

    def show_life(self) -> None:
        """As the manager's loop does, unless the test lets it stall."""
        if self.is_stamping and self.connection is not None:
            if self.stamp is None:
                self.stamp = StampWriter(self.directory / "run" / "manager.stamp", clock.now())
            self.stamp.stamp(clock.now())

    def send(self, request: group.EngineRequest) -> None:
        assert self.connection is not None
        self.connection.setblocking(True)
        self.connection.sendall(frames.frame(group.encode(request)))
        self.connection.setblocking(False)

    def submit(self, token: int, payload: bytes, bulk: bool = False) -> None:
        self.send(group.Submit(token=token, payload=payload, bulk=bulk))

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.leave_socket()

    def leave_socket(self) -> None:
        """As a manager that died."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def read(self) -> None:
        while self.connection is not None:
            data = frames.read_available(self.connection)
            if data is None:
                return
            if not data:
                self.leave_socket()
                self.events.append(group.EngineGone(cause="its connection ended"))
                return
            self.events += [group.decode_event(one) for one in self._reader.feed(data)]

    def said(self) -> str:
        return (self.directory / "stderr").read_text()


class RealCluster:
    """`size` nodes on the loopback with one UDP link; `devices` adds a serial link between the first two, `udp` False
    leaves it alone."""

    def __init__(
        self, directory: Path, size: int, devices: tuple[str, str] | None = None, udp: bool = True, token_ms: int = 500
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self.name = "contract"
        self.key = authkey.AuthKey(epoch=1, secret=os.urandom(authkey.SECRET_BYTES))
        self.token_ms = token_ms
        self.devices = devices
        self.udp = udp
        self.nodes = [RealNode(self, number) for number in range(1, size + 1)]
        for node in self.nodes:
            self.configure(node)

    def __enter__(self) -> RealCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.leave_socket()
            if node.process is not None and node.process.poll() is None:
                node.process.kill()
                node.process.wait()

    def configure(self, node: RealNode, name: str | None = None, key: authkey.AuthKey | None = None) -> None:
        """Write the node's files; `name` and `key` other than the cluster's make a stranger of it."""
        key_file = node.directory / "authkey"
        key_file.write_text(authkey.render([key or self.key]))
        key_file.chmod(0o600)
        lines = [
            f'cluster = "{name or self.name}"',
            f'node = "n{node.number}"',
            f'key_file = "{key_file}"',
            f'state_dir = "{node.directory}/state"',
            f'run_dir = "{node.directory}/run"',
            f"token_ms = {self.token_ms}",
            "manager_stall_ms = 5000",
        ]
        for other in self.nodes if hasattr(self, "nodes") else [node]:
            lines += ["[[nodes]]", f'name = "n{other.number}"', f"id = {other.number}"]
        if self.udp:
            lines += ["[[links]]", 'name = "lan"', 'kind = "udp"', f"port = {self.port}", "[links.addresses]"]
            lines += [f'n{other.number} = "127.0.0.{other.number}"' for other in self.nodes]
        if self.devices is not None:
            lines += ["[[links]]", 'name = "cable"', 'kind = "serial"', "[links.devices]"]
            lines += [f'n{number} = "{device}"' for number, device in enumerate(self.devices, 1)]
        node.config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """All engines, all managers joined, one view."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.connect()
            node.send(group.Join(incarnation=1000 + node.number))
        everybody = tuple(node.number for node in self.nodes)
        self.until(lambda: all(node.view is not None and node.view.members == everybody for node in self.nodes))

    def until(self, ready: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Read what the engines say until it is so."""
        end = clock.now() + int(seconds * SECOND)
        while not ready():
            assert clock.now() < end, "\n".join(node.said()[-2000:] for node in self.nodes)
            self.turn(0.05)

    def turn(self, seconds: float) -> None:
        open_ones = [node for node in self.nodes if node.connection is not None]
        ready, _, _ = select.select([node.connection for node in open_ones], [], [], seconds)
        for node in open_ones:
            node.show_life()
            if node.connection in ready:
                node.read()
