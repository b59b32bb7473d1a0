"""The guardian with children of the test's making: restarts, clean departure, a manager that hangs, the end of all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SETTINGS = """
cluster = "c"
node = "n1"
key_file = "{0}/authkey"
state_dir = "{0}/state"
run_dir = "{0}/run"
manager_stall_ms = 5000
[[nodes]]
name = "n1"
id = 1
[[links]]
name = "a"
kind = "udp"
[links.addresses]
n1 = "127.0.0.1"
"""

# The children write a line when they start and when they are told to stop; `manager` acts as the test says.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from quorate.host import clock, places, supervisor
from quorate.host.log import Log
from quorate.host.stamp import StampWriter
from quorate.model.settings import Settings

directory, manager_does = Path(sys.argv[1]), sys.argv[2]
chosen = Settings.parse((directory / "quorate.toml").read_text(), "test")
where = places.places(chosen)
places.make_places(where)
supervisor._CHECK_NS = 50_000_000

def note(text):
    with open(directory / "notes", "a") as file:
        file.write(f"{text} {os.getpid()}\\n")

def child(name):
    def program():
        signal.signal(signal.SIGTERM, lambda *_: (note(name + " told"), os._exit(0)))
        note(name + " started")
        time.sleep(60)
        return 1
    return program

def manager():
    StampWriter(where.stamp, clock.now())
    note("manager started")
    if manager_does.startswith("exits"):
        return int(manager_does.split()[1])
    signal.signal(signal.SIGTERM, lambda *_: (note("manager told"), os._exit(0)))
    time.sleep(60)
    return 1

children = [
    supervisor.Child("engine", child("engine")),
    supervisor.Child("manager", manager),
    supervisor.Child("tools", child("tools")),
]
guardian = supervisor.Supervisor(chosen, Log("n1", "supervisor", str(directory / "log")), children, ())
if manager_does == "hangs":
    guardian._stall_ns = 300_000_000
sys.exit(guardian.run())
"""


class House:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "quorate.toml").write_text(SETTINGS.format(directory))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, manager_does: str = "waits") -> None:
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(self.directory), manager_does])

    def notes(self) -> list[tuple[str, int]]:
        path = self.directory / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines]

    def count(self, text: str) -> int:
        return sum(1 for said, _ in self.notes() if said == text)

    def pid(self, text: str) -> int:
        return [process for said, process in self.notes() if said == text][-1]

    def until(self, ready: Callable[[], bool]) -> None:
        end = time.time() + 10
        while not ready():
            assert time.time() < end, self.notes()
            time.sleep(0.005)

    def all_started(self) -> None:
        self.until(lambda: all(self.count(f"{name} started") for name in ("engine", "manager", "tools")))

    def code(self) -> int:
        assert self.process is not None
        return self.process.wait(10)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.delenv("QUORATE_RUN", raising=False)
    made = House(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_manager_is_back_at_once_and_nothing_else_is_touched(house: House) -> None:
    house.start()
    house.all_started()
    began = time.time()
    os.kill(house.pid("manager started"), signal.SIGKILL)
    house.until(lambda: house.count("manager started") == 2)
    assert time.time() - began < 0.5
    assert house.count("engine started") == house.count("tools started") == 1


def test_a_clean_departure_ends_the_manager_first_then_the_engine_says_good_bye(house: House) -> None:
    house.start()
    house.all_started()
    assert house.process is not None
    house.process.send_signal(signal.SIGTERM)
    assert house.code() == 0
    told = [said for said, _ in house.notes() if said.endswith("told")]
    assert told == ["manager told", "engine told"]


def test_a_manager_that_hangs_is_killed_and_started_again(house: House) -> None:
    house.start("hangs")
    house.until(lambda: house.count("manager started") >= 2)
    assert "showed no sign of life" in (house.directory / "log").read_text()


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (75, 75), (78, 78)])
def test_the_managers_last_word_is_the_nodes(house: House, code: int, expected: int) -> None:
    house.start(f"exits {code}")
    assert house.code() == expected
    assert house.count("engine told") == (1 if code == 0 else 0)


def test_a_manager_that_fails_again_and_again_takes_the_node_down_without_good_bye(house: House) -> None:
    house.start("exits 70")
    assert house.code() == 70
    assert house.count("manager started") == 6
    assert house.count("engine told") == 0
    assert not alive(house.pid("engine started"))


def test_when_the_guardian_is_killed_nothing_is_left(house: House) -> None:
    house.start()
    house.all_started()
    assert house.process is not None
    house.process.kill()
    house.process.wait()
    house.until(lambda: not any(alive(process) for _, process in house.notes()))
