"""The embedded engine as processes on real sockets: what only they can show (the contract itself runs everywhere)."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.host import clock
from quorate.host.seal import Seal
from quorate.model import authkey, group, wire

from .real_engines import RealCluster


def members(cluster: RealCluster, *numbers: int) -> bool:
    return all(
        node.view is not None and node.view.members == numbers for node in cluster.nodes if node.number in numbers
    )


def test_three_engines_deliver_in_one_order_and_a_large_message_whole(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 3) as cluster:
        cluster.start()
        large = os.urandom(3_000_000)
        for token in range(100):
            for node in cluster.nodes:
                node.submit(token, b"%d.%d" % (node.number, token))
        cluster.nodes[2].submit(100, large)
        cluster.until(lambda: all(len(node.delivered) == 301 for node in cluster.nodes))
        first, second, third = (node.delivered for node in cluster.nodes)
        assert first == second == third
        assert (3, large) in first


def test_a_manager_that_dies_leaves_the_members_while_its_node_stays(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 3) as cluster:
        cluster.start()
        cluster.nodes[1].leave_socket()
        cluster.until(lambda: members(cluster, 1, 3))
        view = cluster.nodes[0].view
        assert view is not None and view.nodes == (1, 2, 3)
        cluster.nodes[1].connect()
        cluster.nodes[1].send(group.Join(incarnation=2000))
        cluster.until(lambda: members(cluster, 1, 2, 3))


def test_a_manager_whose_stamp_is_old_is_absent_until_it_stamps_and_joins_again(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 2) as cluster:
        cluster.start()
        node = cluster.nodes[0]
        node.is_stamping = False
        cluster.until(lambda: members(cluster, 2), seconds=12)
        node.is_stamping = True
        cluster.until(lambda: any(isinstance(event, group.EngineGone) for event in node.events))
        node.send(group.Join(incarnation=1001))
        cluster.until(lambda: members(cluster, 1, 2))


def test_a_killed_engine_is_lost_within_the_token_and_comes_back(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 3) as cluster:
        cluster.start()
        began = clock.now()
        cluster.nodes[0].kill()
        cluster.until(lambda: members(cluster, 2, 3))
        assert 0.4e9 < clock.now() - began < 1.5e9
        cluster.nodes[0].start()
        cluster.nodes[0].connect()
        cluster.nodes[0].send(group.Join(incarnation=3000))
        cluster.until(lambda: members(cluster, 1, 2, 3))


def test_an_engine_that_slept_accuses_nobody_and_joins_again(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 3) as cluster:
        cluster.start()
        sleeper = cluster.nodes[0]
        sleeper.signal(signal.SIGSTOP)
        cluster.until(lambda: members(cluster, 2, 3))
        seen = len(sleeper.events)
        sleeper.signal(signal.SIGCONT)
        cluster.until(lambda: members(cluster, 1, 2, 3))
        views = [event.view for event in sleeper.events[seen:] if isinstance(event, group.ViewChanged)]
        assert all(1 in view.nodes and len(view.nodes) > 1 for view in views)


def test_an_engine_told_to_end_says_good_bye(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 2, token_ms=2000) as cluster:
        cluster.start()
        began = clock.now()
        cluster.nodes[0].signal(signal.SIGTERM)
        cluster.until(lambda: members(cluster, 2))
        assert clock.now() - began < 1.5e9
        assert cluster.nodes[0].process is not None and cluster.nodes[0].process.wait(5) == 0


def test_an_attackers_packets_are_told_and_change_nothing(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 2) as cluster:
        cluster.start()
        view = cluster.nodes[0].view
        target = ("127.0.0.1", cluster.port)
        wrong = authkey.AuthKey(epoch=1, secret=bytes(32))
        beat = wire.encode(wire.GoodBye("x"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
            attacker.bind(("127.0.0.9", 0))
            attacker.sendto(b"garbage", target)
            attacker.sendto(os.urandom(100), target)
            attacker.sendto(Seal((cluster.key,), "other", 2, 5).seal(0, beat), target)
            attacker.sendto(Seal((cluster.key,), cluster.name, 77, 5).seal(0, beat), target)
            attacker.sendto(Seal((cluster.key,), cluster.name, 2, 5).seal(0, beat), target)
            attacker.sendto(Seal((cluster.key,), cluster.name, 1, 5).seal(0, beat), target)
            attacker.sendto(Seal((wrong,), cluster.name, 1, 6).seal(0, beat), target)
            expected = {"garbage", "foreign-cluster", "unknown-node", "address-mismatch", "duplicate-id", "wrong-key"}
            cluster.until(lambda: cluster.nodes[0].diagnoses >= expected)
        for node in cluster.nodes:
            node.submit(1, b"still here")
        cluster.until(lambda: all(len(node.delivered) == 2 for node in cluster.nodes))
        assert cluster.nodes[0].view == view


def test_a_node_with_another_key_is_named(tmp_path: Path) -> None:
    with RealCluster(tmp_path, 3) as cluster:
        cluster.configure(cluster.nodes[2], key=authkey.AuthKey(epoch=1, secret=bytes(32)))
        for node in cluster.nodes:
            node.start()
            node.connect()
            node.send(group.Join(incarnation=node.number))
        cluster.until(lambda: members(cluster, 1, 2) and "wrong-key" in cluster.nodes[0].diagnoses)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("port", "is in use by another program"),
        ("key-mode", "chmod 600"),
        ("no-key", "quorate keygen"),
        ("toml", "token_ms"),
    ],
)
def test_what_cannot_start_says_so_in_a_sentence(tmp_path: Path, fault: str, sentence: str) -> None:
    with RealCluster(tmp_path, 1) as cluster, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as occupant:
        (node,) = cluster.nodes
        if fault == "port":
            occupant.bind(("127.0.0.1", cluster.port))
        elif fault == "key-mode":
            (node.directory / "authkey").chmod(0o644)
        elif fault == "no-key":
            (node.directory / "authkey").unlink()
        else:
            node.config.write_text(node.config.read_text().replace("token_ms = 500", "token_ms = 5"))
        node.start()
        assert node.process is not None and node.process.wait(10) == 78
        assert sentence in node.said() and "Traceback" not in node.said()


@pytest.mark.namespaces
@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_an_address_that_vanishes_is_a_fault_of_its_link_and_heals(tmp_path: Path) -> None:
    program = Path(__file__).with_name("vanishing_address.py")
    command = ["unshare", "--net", sys.executable, str(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class Cable:
    """Two pseudo-terminals whose masters are joined; cutting it hangs both up."""

    def __init__(self) -> None:
        self._masters, slaves = zip(*(pty.openpty() for _ in range(2)), strict=True)
        self.devices = (os.ttyname(slaves[0]), os.ttyname(slaves[1]))
        self._slaves = slaves  # kept open, so that a node that closes its end does not hang the line up
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        one, two = self._masters
        while True:
            ready, _, _ = select.select([one, two, self._stop], [], [])
            if self._stop in ready:
                return
            for source, sink in ((one, two), (two, one)):
                if source in ready:
                    os.write(sink, os.read(source, 4096))

    def close(self) -> None:
        os.write(self._stopper, b"x")
        self._thread.join()
        for descriptor in (*self._masters, *self._slaves, self._stop, self._stopper):
            os.close(descriptor)


@pytest.fixture
def cable() -> Iterator[Cable]:
    made = Cable()
    yield made
    made.close()


def test_two_nodes_on_a_serial_line_alone_form_a_group(tmp_path: Path, cable: Cable) -> None:
    with RealCluster(tmp_path, 2, devices=cable.devices, udp=False, token_ms=1000) as cluster:
        cluster.start()
        for token in range(5):
            cluster.nodes[token % 2].submit(token, b"small operation %d" % token + b"x" * 300)
        cluster.until(lambda: all(len(node.delivered) == 5 for node in cluster.nodes))
        assert cluster.nodes[0].delivered == cluster.nodes[1].delivered
