"""The storage thread: order, one fsync for what gathered, errors told to the right ones."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

from quorate.core import effects, events
from quorate.host.writer import Writer
from quorate.model.cib import Cib
from quorate.model.entries import Position

AT = Position(1, 1)


class FakeDisk:
    """Records calls; `gate` holds the first one up; `full` makes appends fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.gate = threading.Event()
        self.full = False

    def save_state(self, promised: int, position: Position, xml: bytes) -> None:
        self.calls.append(("state", xml))

    def append(self, records: Sequence[tuple[Position, bytes]]) -> None:
        self.gate.wait(5)
        if self.full:
            raise OSError("no space left")
        self.calls.append(("append", [data for _, data in records]))

    def save_promise(self, promised: int, lineage: int) -> None:
        self.calls.append(("promise", promised))

    def save_fork(self, name: str, xml: bytes) -> Path:
        self.calls.append(("fork", name))
        return Path("/forks") / name


class Listener:
    def __init__(self) -> None:
        self.saved: queue.SimpleQueue[events.Event] = queue.SimpleQueue()
        self.told: list[tuple[str, str, dict[str, str]]] = []

    def tell(self, severity: str, code: str, fields: dict[str, str]) -> None:
        self.told.append((severity, code, fields))

    def everything(self) -> list[events.Event]:
        found = []
        while not self.saved.empty():
            found.append(self.saved.get())
        return found


def append(key: int) -> effects.AppendJournal:
    return effects.AppendJournal(key=key, records=((AT, b"%d" % key),))


def test_records_that_gathered_share_one_flush_and_each_is_answered() -> None:
    disk, listener = FakeDisk(), Listener()
    writer = Writer(disk, listener.saved.put, listener.tell)
    writer.put(append(1))
    for key in (2, 3):
        writer.put(append(key))
    writer.put(effects.SavePromise(key=4, promised=9, lineage=1))
    writer.put(append(5))
    disk.gate.set()
    writer.close()
    flat = [data for kind, many in disk.calls if kind == "append" for data in many]  # type: ignore[attr-defined]
    assert flat == [b"1", b"2", b"3", b"5"]
    assert [kind for kind, _ in disk.calls].count("append") <= 3
    assert [kind for kind, _ in disk.calls][-2:] == ["promise", "append"]
    assert listener.everything() == [events.Saved(key=key) for key in (1, 2, 3, 4, 5)]


def test_the_configuration_is_serialised_when_it_is_asked_for() -> None:
    disk, listener, cib = FakeDisk(), Listener(), Cib.empty()
    disk.gate.set()
    before = cib.serialize()
    writer = Writer(disk, listener.saved.put, listener.tell)
    writer.put(effects.SaveState(key=1, promised=1, position=AT, cib=cib))
    cib.root.set("epoch", "77")
    writer.put(effects.SaveFork(name="lost", cib=cib))
    writer.close()
    assert disk.calls[0] == ("state", before)
    assert listener.everything() == [events.Saved(key=1)]
    assert listener.told == [("warning", "fork-kept", {"file": "/forks/lost"})]


def test_a_full_disk_is_told_to_each_who_asked() -> None:
    disk, listener = FakeDisk(), Listener()
    disk.full = True
    disk.gate.set()
    writer = Writer(disk, listener.saved.put, listener.tell)
    for key in (1, 2):
        writer.put(append(key))
    writer.close()
    assert listener.everything() == [events.Saved(key=key, error="no space left") for key in (1, 2)]
    assert {code for _, code, _ in listener.told} == {"storage-failed"}
