"""What an engine must offer to be put through the contract suite, and how the embedded one does: in virtual time, and
as processes.

A driver runs a cluster of nodes 1..N of one kind of engine. It is driven from one thread: `wait` lets time pass
(virtual or real). To put another engine through the suite, write a class like `SimulatedDriver` and add it to
DRIVERS: a function from (nodes, token_ms) to a driver.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from quorate.host import clock
from quorate.model import group
from quorate.model.ids import SECOND
from quorate.simulation.group import EngineNode, engine_configuration
from quorate.simulation.network import Network
from quorate.simulation.world import World

from .real_engines import RealCluster, RealNode


class EngineDriver(Protocol):
    """A driver that cannot make a fault skips the test."""

    def start(self, *nodes: int) -> None: ...

    def stop(self, node: int) -> None:
        """Orderly end of the engine, as by SIGTERM."""

    def kill(self, node: int) -> None:
        """The node vanishes."""

    def pause(self, node: int) -> None: ...

    def resume(self, node: int) -> None: ...

    def partition(self, *sides: tuple[int, ...]) -> None: ...

    def heal(self) -> None: ...

    def request(self, node: int, request: group.EngineRequest) -> None:
        """From the node's manager; the first after `drop_manager` comes from a new one."""

    def drop_manager(self, node: int) -> None:
        """The manager dies; its engine stays."""

    def events(self, node: int) -> list[group.EngineEvent]:
        """All that the node's present manager was told, in order."""

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Until the condition holds, or False after so many seconds."""

    def close(self) -> None: ...


class SimulatedDriver:
    """The embedded engine in virtual time."""

    def __init__(self, nodes: int, token_ms: int) -> None:
        self._world = World("contract")
        self._network = Network(self._world, ("lan", "ring"))
        self._nodes = {
            n: EngineNode(self._world, self._network, engine_configuration(n, nodes, ("lan", "ring"), token_ms))
            for n in range(1, nodes + 1)
        }
        self._events: dict[int, list[group.EngineEvent]] = {n: [] for n in self._nodes}
        for n, node in self._nodes.items():
            node.listener = lambda event, n=n: self._events[n].append(event)  # type: ignore[misc]

    def start(self, *nodes: int) -> None:
        for n in nodes:
            self._nodes[n].start()

    def stop(self, node: int) -> None:
        self._nodes[node].stop()
        self._events[node] = []

    def kill(self, node: int) -> None:
        self._nodes[node].crash()
        self._events[node] = []

    def pause(self, node: int) -> None:
        self._nodes[node].computer.pause()

    def resume(self, node: int) -> None:
        self._nodes[node].computer.resume()

    def partition(self, *sides: tuple[int, ...]) -> None:
        self._network.partition(*sides)

    def heal(self) -> None:
        self._network.heal()

    def request(self, node: int, request: group.EngineRequest) -> None:
        self._nodes[node].request(request)

    def drop_manager(self, node: int) -> None:
        self._nodes[node].manager_gone("dropped")
        self._events[node] = []

    def events(self, node: int) -> list[group.EngineEvent]:
        return self._events[node]

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        until = self._world.now + int(seconds * SECOND)
        while not condition():
            if not self._world.step(until):
                self._world.now = max(self._world.now, until)
                return condition()
        return True

    def close(self) -> None:
        pass


class ProcessDriver:
    """The embedded engine as processes with UDP on the loopback. It cannot cut the loopback in two."""

    def __init__(self, nodes: int, token_ms: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="quorate-contract-")
        self._cluster = RealCluster(Path(self._directory.name), nodes, token_ms=token_ms)
        for node in self._cluster.nodes:
            self._cluster.configure(node)

    def _node(self, node: int) -> RealNode:
        return self._cluster.nodes[node - 1]

    def start(self, *nodes: int) -> None:
        for node in nodes:
            self._node(node).start()
        for node in nodes:
            self._node(node).connect()

    def stop(self, node: int) -> None:
        self._node(node).signal(signal.SIGTERM)
        process = self._node(node).process
        assert process is not None
        process.wait(5)
        self.kill(node)

    def kill(self, node: int) -> None:
        self._node(node).kill()
        self._node(node).events = []

    def pause(self, node: int) -> None:
        self._node(node).signal(signal.SIGSTOP)

    def resume(self, node: int) -> None:
        self._node(node).signal(signal.SIGCONT)

    def partition(self, *sides: tuple[int, ...]) -> None:
        pytest.skip("the loopback is not cut without namespaces; tests/cluster does that")

    def heal(self) -> None:
        pass

    def request(self, node: int, request: group.EngineRequest) -> None:
        if self._node(node).connection is None:
            self._node(node).connect()
        self._node(node).send(request)

    def drop_manager(self, node: int) -> None:
        self._node(node).leave_socket()
        self._node(node).events = []

    def events(self, node: int) -> list[group.EngineEvent]:
        return self._node(node).events

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        until = clock.now() + int(seconds * SECOND)
        while not condition():
            if clock.now() >= until:
                return False
            self._cluster.turn(0.02)
        return True

    def close(self) -> None:
        self._cluster.__exit__(None, None, None)
        self._directory.cleanup()


DRIVERS: dict[str, Callable[[int, int], EngineDriver]] = {"simulated": SimulatedDriver, "processes": ProcessDriver}
