"""systemd units, against a stand-in for systemd on a private bus."""

# ruff: noqa: F722, F821, UP037  (D-Bus signatures stand where Python has its annotations)

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import DBusError, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_property, method

from quorate.core import effects as fx
from quorate.core import events as ev
from quorate.host.agents import AgentRunner, AgentSettings

from .conftest import agent

pytestmark = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed")

CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={place}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
<allow user="*"/></policy></busconfig>
"""


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "bus.conf").write_text(CONFIGURATION.format(place=tmp_path))
    command = ["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        yield daemon.stdout.readline().strip()
        daemon.terminate()


class Unit(ServiceInterface):
    def __init__(self, name: str, load: str) -> None:
        super().__init__("org.freedesktop.systemd1.Unit")
        self.unit_name, self.load = name, load
        self.states = ["inactive"]  # the next ones; the last stays
        self.job_number = 0

    @dbus_property(access=PropertyAccess.READ)
    def ActiveState(self) -> "s":
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    @dbus_property(access=PropertyAccess.READ)
    def LoadState(self) -> "s":
        return self.load

    @dbus_property(access=PropertyAccess.READ)
    def SubState(self) -> "s":
        return "dead"

    @dbus_property(access=PropertyAccess.READ)
    def Description(self) -> "s":
        return "a <unit>"

    @dbus_property(access=PropertyAccess.READ)
    def Job(self) -> "(uo)":
        return [0, "/"]


class FakeSystemd(ServiceInterface):
    """`after`: the states that a unit goes through once it is started or stopped."""

    def __init__(self, message_bus: MessageBus) -> None:
        super().__init__("org.freedesktop.systemd1.Manager")
        self.message_bus = message_bus
        self.units: dict[str, Unit] = {}
        self.calls: list[str] = []
        self.after = {"StartUnit": ["activating", "active"], "StopUnit": ["deactivating", "inactive"]}

    def add(self, name: str, load: str = "loaded") -> Unit:
        unit = self.units[name] = Unit(name, load)
        self.message_bus.export(f"/unit/u{len(self.units)}", unit)
        return unit

    def path(self, name: str) -> str:
        return f"/unit/u{list(self.units).index(name) + 1}"

    @method()
    def LoadUnit(self, name: "s") -> "o":
        if name not in self.units:
            raise DBusError("org.freedesktop.systemd1.NoSuchUnit", f"Unit {name} not found.")
        return self.path(name)

    @method()
    def Reload(self) -> "":
        self.calls.append("Reload")

    @method()
    def StartUnit(self, name: "s", mode: "s") -> "o":
        return self._change("StartUnit", name, mode)

    @method()
    def StopUnit(self, name: "s", mode: "s") -> "o":
        return self._change("StopUnit", name, mode)

    def _change(self, what: str, name: str, mode: str) -> str:
        self.calls.append(f"{what} {name} {mode}")
        self.units[name].states = list(self.after[what])
        return "/job/1"


class Bench:
    def __init__(self, address: str, place: Path) -> None:
        self.address, self.place = address, place
        self.override = place / "units/web.service.d/50-quorate.conf"

    def run(self, *steps: Any, after: dict[str, list[str]] | None = None, kill: bool = False) -> list[ev.AgentExited]:
        """Each step is an operation, or a function that changes the stand-in; the answers to the operations."""

        async def main() -> list[ev.AgentExited]:
            served = await MessageBus(bus_address=self.address).connect()
            fake = self.fake = FakeSystemd(served)
            fake.after |= after or {}
            served.export("/org/freedesktop/systemd1", fake)
            fake.add("web.service")
            fake.add("gone.service", "not-found")
            await served.request_name("org.freedesktop.systemd1")
            got: asyncio.Queue[Any] = asyncio.Queue()
            settings = AgentSettings(
                run_directory=self.place / "run", system_bus=self.address, systemd_directory=self.place / "units"
            )
            runner = AgentRunner(asyncio.get_running_loop(), got.put_nowait, settings)
            answers = []
            for step in steps:
                if callable(step):
                    step(fake)
                    continue
                runner.perform(step if isinstance(step, (fx.RunAgent, fx.LoadMetadata)) else unit(step))
                if kill:
                    await asyncio.sleep(0.05)
                    runner.perform(fx.KillAgent(key="k"))
                answers.append(await asyncio.wait_for(got.get(), 10))
            runner.close()
            served.disconnect()
            return answers

        return asyncio.run(main())


def unit(operation: str, name: str = "web", timeout_ms: int = 5_000) -> fx.RunAgent:
    return agent(operation, name=name, timeout_ms=timeout_ms, agent_class="systemd", provider=None)


@pytest.fixture
def bench(bus: str, tmp_path: Path) -> Bench:
    return Bench(bus, tmp_path)


def test_a_whole_cycle(bench: Bench) -> None:
    seen: list[bool] = []
    look = lambda fake: seen.append(bench.override.exists())  # noqa: E731
    answers = bench.run("monitor", "start", look, "monitor", "stop", look, "monitor")
    assert [answer.rc for answer in answers] == [7, 0, 0, 0, 7]
    assert seen == [True, False] and not bench.override.parent.exists()
    assert bench.fake.calls == ["Reload", "StartUnit web.service replace", "Reload", "StopUnit web.service replace"]


def test_the_override_keeps_systemd_from_restarting(bench: Bench) -> None:
    bench.run("start")
    assert "Restart=no" in bench.override.read_text() and "Before=quorate.service" in bench.override.read_text()


def test_a_start_that_fails(bench: Bench) -> None:
    answer = bench.run("start", after={"StartUnit": ["activating", "failed"]})[0]
    assert answer.rc == 1 and answer.reason == "the unit is failed (dead)"


def test_units_on_their_way_are_waited_for_until_the_timeout(bench: Bench) -> None:
    answer = bench.run(unit("start", timeout_ms=300), after={"StartUnit": ["activating"]})[0]
    assert answer.timed_out and answer.execution_ms >= 290
    answer = bench.run("start", after={"StartUnit": ["activating"]}, kill=True)[0]
    assert answer.killed


def test_units_that_are_not_there(bench: Bench) -> None:
    operations = ("monitor", "start", "stop")
    answers = bench.run(*(unit(operation, name) for name in ("gone", "no") for operation in operations))
    assert [(answer.rc, answer.missing) for answer in answers] == [(5, True), (5, True), (0, False)] * 2


def test_other_actions_and_refusals(bench: Bench) -> None:
    answers = bench.run("promote", "reload")
    assert answers[0].rc == 3
    assert answers[1].rc == 1 and "systemd refused ReloadUnit" in answers[1].reason


def test_metadata(bench: Bench) -> None:
    known, unknown = bench.run(fx.LoadMetadata(agent="systemd:web"), fx.LoadMetadata(agent="systemd:no"))
    assert b"a &lt;unit&gt;" in (known.xml or b"") and unknown.xml is None  # type: ignore[attr-defined]


def test_no_bus(tmp_path: Path) -> None:
    async def main() -> Any:
        got: asyncio.Queue[Any] = asyncio.Queue()
        settings = AgentSettings(run_directory=tmp_path, system_bus=f"unix:path={tmp_path}/nothing")
        runner = AgentRunner(asyncio.get_running_loop(), got.put_nowait, settings)
        runner.perform(unit("monitor"))
        return await got.get()

    answer = asyncio.run(main())
    assert answer.rc == 1 and "cannot reach systemd over D-Bus" in answer.reason

