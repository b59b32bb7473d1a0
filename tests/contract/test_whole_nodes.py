"""Whole nodes under `quorate run` on the loopback: every process may be killed, and what cannot start says why."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quorate.host import clock
from quorate.host.control import NotRunning, ask
from quorate.model import protocol
from quorate.model.ids import SECOND

from .real_engines import RealCluster, RealNode

PATIENCE_SECONDS = 20.0


class WholeNode:
    """One node: its supervisor, and what its processes are."""

    def __init__(self, node: RealNode) -> None:
        self.node = node
        self.process: subprocess.Popen[bytes] | None = None
        text = node.config.read_text()
        node.config.write_text('self_fence_command = ["/bin/true"]\n' + text)

    def start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "QUORATE_RUN"}
        environment["QUORATE_BOOT_ID"] = f"boot-{self.node.number}-{os.getpid()}"
        command = [sys.executable, "-m", "quorate.command", "run", "--config", str(self.node.config)]
        with open(self.node.directory / "stderr", "ab") as errors:
            self.process = subprocess.Popen(command, stderr=errors, env=environment)

    def children(self) -> dict[str, int]:
        """Process ids of what the supervisor runs, by the name that `ps` shows."""
        assert self.process is not None
        found = {}
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            for process in file.read().split():
                try:
                    found[Path(f"/proc/{process}/comm").read_text().strip()] = int(process)
                except FileNotFoundError:
                    continue  # it has just ended
        return found

    def kill(self, name: str) -> int:
        process = self.children()[name]
        os.kill(process, signal.SIGKILL)
        return process

    def status(self) -> protocol.StatusReply | None:
        try:
            reply = ask(self.node.directory / "run" / "manager.sock", protocol.StatusQuery(serial=1, cib=False), 5)
        except NotRunning:
            return None
        return reply if isinstance(reply, protocol.StatusReply) else None


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[WholeNode]]:
    cluster = RealCluster(tmp_path, 3, token_ms=1000)
    made = [WholeNode(node) for node in cluster.nodes]
    yield made
    for node in made:
        if node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.wait()


def until(ready: Callable[[], bool], nodes: list[WholeNode]) -> None:
    end = clock.now() + int(PATIENCE_SECONDS * SECOND)
    while not ready():
        assert clock.now() < end, "\n".join(node.node.said()[-3000:] for node in nodes)
        time.sleep(0.02)


def is_whole(nodes: list[WholeNode]) -> bool:
    """All nodes are quorate, synchronised, and agree on the DC."""
    seen = [node.status() for node in nodes]
    return all(
        status is not None
        and status.quorate
        and status.dc is not None
        and status.dc == (seen[0] and seen[0].dc)
        and [facts.synced for facts in status.nodes] == [True] * len(nodes)
        for status in seen
    )


def test_three_nodes_come_up_and_any_process_may_be_killed(nodes: list[WholeNode]) -> None:
    for node in nodes:
        node.start()
    until(lambda: is_whole(nodes), nodes)
    victim = nodes[1]
    for name in ("quorated", "quorate-engine", "quorate-tools", "quorate-schedul"):
        until(lambda name=name: name in victim.children(), nodes)  # type: ignore[misc]
        killed = victim.kill(name)
        until(lambda name=name, old=killed: victim.children().get(name, old) != old, nodes)  # type: ignore[misc]
        until(lambda: is_whole(nodes), nodes)
    assert "Traceback" not in victim.node.said()


def test_nodes_leave_cleanly_by_command_and_by_signal(nodes: list[WholeNode]) -> None:
    for node in nodes:
        node.start()
    until(lambda: is_whole(nodes), nodes)
    command = [sys.executable, "-m", "quorate.command", "stop", "--config", str(nodes[2].node.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert nodes[2].process is not None and nodes[2].process.wait(5) == 0
    first = nodes[0].status()
    assert first is not None and first.quorate and first.fences == ()
    assert nodes[1].process is not None
    nodes[1].process.send_signal(signal.SIGTERM)
    assert nodes[1].process.wait(20) == 0
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and "nobody answers" in done.stderr


def test_a_guardian_that_is_killed_takes_its_node_along(nodes: list[WholeNode]) -> None:
    node = nodes[0]
    node.start()
    until(lambda: len(node.children()) == 4, nodes[:1])
    children = node.children()
    assert node.process is not None
    node.process.kill()
    node.process.wait()
    until(lambda: not any(Path(f"/proc/{process}/exe").exists() for process in children.values()), nodes[:1])


def test_a_port_in_use_ends_the_start_with_one_sentence(nodes: list[WholeNode]) -> None:
    node = nodes[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as occupant:
        occupant.bind(("127.0.0.1", node.node.cluster.port))
        node.start()
        assert node.process is not None and node.process.wait(20) == 78
    assert f"127.0.0.1 port {node.node.cluster.port} is in use by another program" in node.node.said()
    assert "Traceback" not in node.node.said()


def test_a_second_start_of_one_node_is_refused(nodes: list[WholeNode]) -> None:
    first, second = nodes[0], nodes[0].node
    first.start()
    until(lambda: first.status() is not None, nodes[:1])
    command = [sys.executable, "-m", "quorate.command", "run", "--config", str(second.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 78
    assert "runs here already" in done.stderr and "Traceback" not in done.stderr
    assert first.process is not None and first.process.poll() is None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda node: node.config.unlink(), "quorate init"),
        (lambda node: node.config.write_text("cluster = 5\n"), "cluster"),
        (lambda node: (node.directory / "authkey").chmod(0o644), "chmod 600"),
        (lambda node: (node.directory / "authkey").write_text("key 1 AAAA 00000000\n"), "quorate keygen"),
    ],
)
def test_a_bad_configuration_ends_the_start_with_sentences(
    nodes: list[WholeNode], spoil: Callable[[RealNode], object], sentence: str
) -> None:
    node = nodes[0]
    spoil(node.node)
    node.start()
    assert node.process is not None and node.process.wait(20) == 78
    assert sentence in node.node.said() and "Traceback" not in node.node.said()
