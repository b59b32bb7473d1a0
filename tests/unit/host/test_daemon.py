"""The daemon's shell around a machine: order of effects, timers, what it does with each kind, and its exit codes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from quorate.core import effects, events
from quorate.host import clock, daemon, places
from quorate.host.log import Log
from quorate.host.sockets import listen
from quorate.model import group, protocol
from quorate.model.entries import Position
from quorate.model.ids import MILLISECOND
from quorate.model.settings import Settings

SETTINGS = """
cluster = "c"
node = "n1"
key_file = "{0}/authkey"
state_dir = "{0}/state"
run_dir = "{0}/run"
self_fence_command = ["/bin/sh", "-c", "echo $0 > {0}/fenced"]
[[nodes]]
name = "n1"
id = 1
[[links]]
name = "a"
kind = "udp"
[links.addresses]
n1 = "127.0.0.1"
"""
NOTHING_STORED = events.StoredState(promised=0, position=Position(0, 0), cib=None)


class Script:
    """Stands for the Manager: answers events by a table, and remembers them."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self.replies: dict[type, list[effects.Effect]] = {}

    def handle(self, event: events.Event, now: int) -> list[effects.Effect]:
        self.events.append(event)
        return self.replies.pop(type(event), [])

    def seen(self, kind: type) -> list[events.Event]:
        return [event for event in self.events if isinstance(event, kind)]


class FakeAgents:
    def __init__(self, post: Callable[[events.Event], None]) -> None:
        self.post = post
        self.effects: list[effects.Effect] = []

    def close(self) -> None: ...

    def perform(self, effect: effects.Effect) -> None:
        self.effects.append(effect)
        if isinstance(effect, effects.RunAgent):
            self.post(events.AgentExited(key=effect.key, rc=0))  # at once: must not be handled inside another event


class FakeDisk:
    def save_state(self, *_: object) -> None: ...

    def append(self, *_: object) -> None: ...

    def save_promise(self, *_: object) -> None: ...

    def save_fork(self, *_: object) -> Path:
        return Path("/fork")


class House:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.script = Script()
        self.settings = Settings.parse(SETTINGS.format(directory), "test")
        self.places = places.places(self.settings)
        places.make_places(self.places)
        self.agents: FakeAgents | None = None
        self.log = directory / "log"
        self.engine = listen(self.places.engine_socket)
        self.daemon = daemon.Daemon(
            self.script, self.settings, self.places, Log("n1", "manager", str(self.log)), self._make, FakeDisk()
        )

    def _make(self, loop: asyncio.AbstractEventLoop, post: Callable[[events.Event], None]) -> FakeAgents:
        self.agents = FakeAgents(post)
        return self.agents

    async def until(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not ready():
                await asyncio.sleep(0.002)

    async def code(self) -> int:
        async with asyncio.timeout(5):
            return await self.daemon.finished


def inside(test: Callable[[House], Awaitable[None]], directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUORATE_RUN", raising=False)

    async def main() -> None:
        house = House(directory)
        try:
            await test(house)
        finally:
            await house.daemon.close()
            house.engine.close()

    asyncio.run(main())


def run_agent(key: str) -> effects.RunAgent:
    return effects.RunAgent(
        key=key, resource="r", agent_class="ocf", provider="heartbeat", agent="Dummy", operation="start", interval_ms=0,
        timeout_ms=1000, parameters={}, meta={},
    )  # fmt: skip


def test_a_start_brings_boot_id_clock_and_facts_and_the_next_manager_gets_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(house: House) -> None:
        house.script.replies[events.Started] = [effects.SaveFacts(data=b"facts")]
        house.daemon.start(NOTHING_STORED)
        await house.until(lambda: bool(house.script.seen(events.Started)))
        (started,) = house.script.seen(events.Started)
        assert isinstance(started, events.Started)
        assert (started.boot_id, started.stored, started.facts) == (clock.boot_id(), NOTHING_STORED, b"")
        assert isinstance(house.script.events[0], events.WallClock)
        assert house.daemon._load_facts() == b"facts"

    inside(test, tmp_path, monkeypatch)


def test_effects_run_in_order_and_answers_become_events_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(house: House) -> None:
        house.script.replies[events.Started] = [
            effects.AppendJournal(key=1, records=((Position(1, 1), b"x"),)),
            run_agent("a"),
            effects.SavePromise(key=2, promised=1, lineage=1),
            effects.ToEngine(request=group.Submit(token=4, payload=b"")),
        ]
        house.daemon._engine.close()
        house.daemon.start(NOTHING_STORED)
        await house.until(lambda: len(house.script.seen(events.Saved)) == 2)
        kinds = [type(event).__name__ for event in house.script.events if not isinstance(event, events.WallClock)]
        assert kinds[0] == "Started"
        assert house.script.seen(events.Saved) == [events.Saved(key=1), events.Saved(key=2)]
        assert house.script.seen(events.AgentExited) == [events.AgentExited(key="a", rc=0)]
        assert house.script.seen(events.FromEngine) == [
            events.FromEngine(event=group.SubmissionLost(token=4, cause="left"))
        ]

    inside(test, tmp_path, monkeypatch)


def test_timers_fire_in_order_and_cancelled_ones_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(house: House) -> None:
        now = clock.now()
        house.script.replies[events.Started] = [
            effects.SetTimer(name="second", at=now + 20 * MILLISECOND),
            effects.SetTimer(name="first", at=now + 10 * MILLISECOND),
            effects.SetTimer(name="never", at=now + 5 * MILLISECOND),
            effects.CancelTimer(name="never"),
        ]
        house.daemon.start(NOTHING_STORED)
        await house.until(lambda: len(house.script.seen(events.TimerFired)) == 2)
        assert house.script.seen(events.TimerFired) == [events.TimerFired(name="first"), events.TimerFired(name="second")]

    inside(test, tmp_path, monkeypatch)


@pytest.mark.parametrize(("how", "code"), [("left", daemon.EXIT_LEFT), ("exit", daemon.EXIT_AGAIN)])
def test_the_manager_ends_with_the_code_that_the_supervisor_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, code: int
) -> None:
    async def test(house: House) -> None:
        house.script.replies[events.Started] = [effects.StopNode(how=how, cause="test")]
        house.daemon.start(NOTHING_STORED)
        assert await house.code() == code

    inside(test, tmp_path, monkeypatch)


def test_self_fencing_runs_the_configured_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(house: House) -> None:
        house.script.replies[events.Started] = [effects.StopNode(how="reboot", cause="no quorum")]
        house.daemon.start(NOTHING_STORED)
        assert await house.code() == daemon.EXIT_NODE
        assert (tmp_path / "fenced").read_text() == "reboot\n"
        assert "This node ends itself (reboot): no quorum" in house.log.read_text()

    inside(test, tmp_path, monkeypatch)


def test_an_error_of_ours_ends_the_manager_and_is_logged_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(house: House) -> None:
        def fails(event: events.Event, now: int) -> list[effects.Effect]:
            raise ValueError("impossible")

        house.script.handle = fails  # type: ignore[method-assign]
        house.daemon.start(NOTHING_STORED)
        assert await house.code() == daemon.EXIT_INTERNAL
        assert "ValueError: impossible" in house.log.read_text()

    inside(test, tmp_path, monkeypatch)


def test_signals_ask_to_stop_cleanly_then_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(house: House) -> None:
        house.daemon.start(NOTHING_STORED)
        for count in (1, 2):
            os.kill(os.getpid(), 15)
            await house.until(lambda n=count: len(house.script.seen(events.StopAsked)) == n)  # type: ignore
        assert house.script.seen(events.StopAsked) == [events.StopAsked(), events.StopAsked(at_once=True)]

    inside(test, tmp_path, monkeypatch)


def test_the_loop_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(house: House) -> None:
        from quorate.host.stamp import StampReader

        reader = StampReader(house.places.stamp)
        first = reader.read()
        assert first is not None and first[0] == os.getpid()
        await house.until(lambda: (reader.read() or first)[1] > first[1])

    inside(test, tmp_path, monkeypatch)


def test_answers_find_their_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(house: House) -> None:
        reader, writer = await asyncio.open_unix_connection(str(house.places.manager_socket))
        data = protocol.encode(protocol.Fate(serial=9, request="r"))
        writer.write(len(data).to_bytes(4, "big") + data)
        await house.until(lambda: bool(house.script.seen(events.Asked)))
        (asked,) = house.script.seen(events.Asked)
        assert isinstance(asked, events.Asked)
        house.daemon._do(effects.Answer(client=asked.client, answer=protocol.Reply(serial=9, rc=1)))
        length = int.from_bytes(await reader.readexactly(4), "big")
        assert protocol.decode_answer(await reader.readexactly(length)) == protocol.Reply(serial=9, rc=1)
        writer.close()
        await writer.wait_closed()

    inside(test, tmp_path, monkeypatch)
