"""The manager's ends of the engine's and the scheduler's sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from quorate.core import effects, events
from quorate.host import frames, worker
from quorate.host.engine_client import EngineClient
from quorate.host.log import Log
from quorate.host.scheduler_client import SchedulerClient
from quorate.host.sockets import listen
from quorate.model import group
from quorate.model.cib import Cib
from quorate.model.graph import Graph

GRAPH = Graph(synapses=())


async def until(ready: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not ready():
            await asyncio.sleep(0.002)


class FakeEngine:
    """One end of the engine's socket: what was asked, and a way to say something."""

    def __init__(self, path: Path) -> None:
        self.listener = listen(path)
        self.asked: list[group.EngineRequest] = []
        self.status_asked = 0
        self.reader = frames.FrameReader(1 << 20)
        self.connection = None

    def serve(self) -> None:
        if self.connection is None:
            try:
                self.connection, _ = self.listener.accept()
                self.connection.setblocking(False)
            except BlockingIOError:
                return
        data = frames.read_available(self.connection)
        asked = [group.decode_request(one) for one in self.reader.feed(data or b"")]
        self.status_asked += sum(isinstance(one, group.StatusAsked) for one in asked)
        self.asked += [one for one in asked if not isinstance(one, group.StatusAsked)]

    def say(self, event: group.EngineEvent) -> None:
        assert self.connection is not None
        self.connection.send(frames.frame(group.encode(event)))

    def die(self) -> None:
        assert self.connection is not None
        self.connection.close()
        self.connection = None


def test_join_is_kept_and_sent_whenever_the_engine_is_back(tmp_path: Path) -> None:
    async def main() -> None:
        path, heard = tmp_path / "engine.sock", []
        client = EngineClient(path, heard.append)
        join = group.Join(incarnation=5)
        client.send(join)
        client.send(group.Submit(token=1, payload=b"x"))
        assert heard == [group.SubmissionLost(token=1, cause="left")]
        engine = FakeEngine(path)
        await until(lambda: engine.serve() or engine.asked == [join])
        engine.die()
        await until(lambda: any(isinstance(event, group.EngineGone) for event in heard))
        await until(lambda: engine.serve() or engine.asked == [join, join])
        engine.say(group.EngineGone(cause="stalled"))
        await until(lambda: engine.serve() or engine.asked == [join, join, join])
        client.send(group.Leave())
        engine.say(group.EngineGone(cause="again"))
        await until(lambda: heard[-1] == group.EngineGone(cause="again"))
        await until(lambda: engine.serve() or engine.asked[3:] == [group.Leave()])
        client.close()
        engine.listener.close()
        engine.die()

    asyncio.run(main())


def test_links_that_were_up_before_the_manager_came_are_told(tmp_path: Path) -> None:
    async def main() -> None:
        path, heard = tmp_path / "engine.sock", []
        engine = FakeEngine(path)
        client = EngineClient(path, heard.append)
        await until(lambda: engine.serve() or engine.status_asked == 1)
        link = group.LinkStatus(peer=2, link="a", up=True, kind="udp", address="x", received=1, lost=0, rtt_us=None)
        status = group.EngineStatus(engine="e", node=1, token_ms=1000, view=None, links=(link,), counters={})
        engine.say(status)
        engine.say(status)
        await until(lambda: len(heard) == 3)
        assert heard == [status, group.LinkChanged(peer=2, link="a", up=True, cause="as found"), status]
        client.close()
        engine.listener.close()
        engine.die()

    asyncio.run(main())


def test_an_engine_that_talks_nonsense_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        path, heard = tmp_path / "engine.sock", []
        engine = FakeEngine(path)
        client = EngineClient(path, heard.append)
        engine.serve()
        engine.connection.send(frames.frame(b"\xc1"))
        await until(lambda: bool(heard))
        assert isinstance(heard[0], group.EngineGone) and "no engine sends" in heard[0].cause
        client.close()
        engine.listener.close()
        engine.die()

    asyncio.run(main())


class Scheduling:
    """A client and what it posted and told."""

    def __init__(self, path: Path, limit: float = 5.0) -> None:
        self.posted: list[events.Event] = []
        self.told: list[tuple[str, str, dict[str, str]]] = []
        self.client = SchedulerClient(
            path, self.posted.append, lambda severity, code, fields: self.told.append((severity, code, fields)), limit
        )

    def run(self, key: int) -> None:
        self.client.run(effects.RunScheduler(key=key, cib=Cib.empty()))


def start_worker(path: Path, directory: Path, schedule: worker.Schedule) -> None:
    listener = listen(path)
    inputs = worker.Inputs(directory / "pengine")
    threading.Thread(
        target=worker.serve, args=(listener, schedule, inputs, Log("n", "s", str(directory / "log"))), daemon=True
    ).start()


def test_runs_are_answered_one_after_the_other_and_their_inputs_kept(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "scheduler.sock"
        house = Scheduling(path)
        for key in (1, 2, 3):
            house.run(key)  # there is no worker yet: they wait
        await asyncio.sleep(0)
        start_worker(path, tmp_path, lambda cib, wall: (GRAPH, (f"{len(cib)} bytes",)))
        await until(lambda: len(house.posted) == 3)
        assert [(event.key, event.graph, event.error) for event in house.posted] == [(k, GRAPH, "") for k in (1, 2, 3)]
        names = [Path(event.input_name).name for event in house.posted]
        assert names == ["pe-input-0.bz2", "pe-input-1.bz2", "pe-input-2.bz2"]
        await until(lambda: len(list((tmp_path / "pengine").glob("*.bz2"))) == 3)
        house.client.close()

    asyncio.run(main())


def test_an_error_in_the_scheduler_is_an_answer(tmp_path: Path) -> None:
    def fails(cib: bytes, wall: int) -> tuple[Graph, tuple[str, ...]]:
        raise ValueError("odd input")

    async def main() -> None:
        path = tmp_path / "scheduler.sock"
        start_worker(path, tmp_path, fails)
        house = Scheduling(path)
        house.run(1)
        await until(lambda: bool(house.posted))
        assert house.posted[0].graph is None and house.posted[0].error == "ValueError: odd input"
        house.client.close()

    asyncio.run(main())


DEAD_END = """
import os, socket, sys, time, msgspec
from quorate.host import frames, worker
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
print("ready", flush=True)
connection, _ = listener.accept()
connection.sendall(frames.frame(msgspec.msgpack.encode(worker.Hello(os.getpid()))))
connection.recv(10)
time.sleep(60) if sys.argv[2] == "hang" else os._exit(1)
"""


def dead_end(path: Path, how: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", DEAD_END, str(path), how], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


def test_a_run_that_takes_too_long_is_ended_with_its_process(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "scheduler.sock"
        process = dead_end(path, "hang")
        house = Scheduling(path, limit=0.3)
        house.run(1)
        await until(lambda: bool(house.posted))
        assert "took more than 0.3 s" in house.posted[0].error
        assert process.wait(5) == -signal.SIGKILL
        house.client.close()

    asyncio.run(main())


def test_a_worker_that_dies_in_a_run_is_an_error_and_the_next_run_waits_for_a_new_one(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "scheduler.sock"
        process = dead_end(path, "die")
        house = Scheduling(path)
        house.run(1)
        house.run(2)
        await until(lambda: bool(house.posted))
        assert "process ended" in house.posted[0].error
        process.wait(5)
        start_worker(path, tmp_path, lambda cib, wall: (GRAPH, ()))
        await until(lambda: len(house.posted) == 2)
        assert house.posted[1].graph == GRAPH
        house.client.close()

    asyncio.run(main())


def test_inputs_are_numbered_round_and_go_on_after_a_restart(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(worker, "INPUTS_MAX", 3)
    inputs = worker.Inputs(tmp_path)
    for number in range(4):
        inputs.keep(b"%d" % number)
    assert sorted(os.listdir(tmp_path)) == ["pe-input-0.bz2", "pe-input-1.bz2", "pe-input-2.bz2", "pe-input.last"]
    assert worker.Inputs(tmp_path).name() == str(tmp_path / "pe-input-1.bz2")


def test_work_and_outcome_survive_the_pipe() -> None:
    outcome = worker.Outcome(key=1, graph=GRAPH, messages=("m",))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(outcome), type=worker.Outcome) == outcome
