"""The storage thread: everything durable is written here, in the order in which it was asked for, off the event loop.

What has gathered while one flush was running is written together: journal records that follow each other share one
fsync. Each request is answered by its own `Saved`, with the error if the disk refused it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from quorate.core import effects, events
from quorate.model.entries import Position

Post = Callable[[events.Event], None]
Tell = Callable[[str, str, dict[str, str]], None]


class Disk(Protocol):
    """`host/storage.Storage`, as far as this thread uses it. Every method may raise."""

    def save_state(self, promised: int, position: Position, xml: bytes) -> None: ...

    def append(self, records: Sequence[tuple[Position, bytes]]) -> None: ...

    def save_promise(self, promised: int, lineage: int) -> None: ...

    def save_fork(self, name: str, xml: bytes) -> Path: ...


@dataclass(frozen=True, slots=True)
class _State:
    key: int
    promised: int
    position: Position
    xml: bytes


@dataclass(frozen=True, slots=True)
class _Fork:
    name: str
    xml: bytes


_Job = _State | _Fork | effects.AppendJournal | effects.SavePromise | None


class Writer:
    """`post` and `tell` (severity, code, fields) are called from the thread: they must hand over to the loop."""

    def __init__(self, disk: Disk, post: Post, tell: Tell) -> None:
        self._disk = disk
        self._post = post
        self._tell = tell
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="storage", daemon=True)
        self._thread.start()

    def put(
        self, effect: effects.SaveState | effects.AppendJournal | effects.SavePromise | effects.SaveFork
    ) -> None:
        """The configuration is serialised before this returns."""
        if isinstance(effect, effects.SaveState):
            self._jobs.put(_State(effect.key, effect.promised, effect.position, effect.cib.serialize()))
        elif isinstance(effect, effects.SaveFork):
            self._jobs.put(_Fork(effect.name, effect.cib.serialize(pretty=True)))
        else:
            self._jobs.put(effect)

    def close(self) -> None:
        """Returns when all that was asked for is written."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            gathered = [self._jobs.get()]
            while not self._jobs.empty():
                gathered.append(self._jobs.get())
            for group in _grouped(gathered):
                if group[0] is None:
                    return
                self._write(group)

    def _write(self, group: list[_Job]) -> None:
        error = ""
        try:
            self._save(group)
        except Exception as failure:  # whatever it was, it is not durable, and the manager must know
            error = str(failure) or type(failure).__name__
            self._tell("error", "storage-failed", {"what": _what(group[0]), "error": error})
        for job in group:
            if isinstance(job, (_State, effects.AppendJournal, effects.SavePromise)):
                self._post(events.Saved(key=job.key, error=error))

    def _save(self, group: list[_Job]) -> None:
        job = group[0]
        if isinstance(job, effects.AppendJournal):
            appends = [one for one in group if isinstance(one, effects.AppendJournal)]
            self._disk.append([record for one in appends for record in one.records])
        elif isinstance(job, _State):
            self._disk.save_state(job.promised, job.position, job.xml)
        elif isinstance(job, effects.SavePromise):
            self._disk.save_promise(job.promised, job.lineage)
        elif isinstance(job, _Fork):
            path = self._disk.save_fork(job.name, job.xml)
            self._tell("warning", "fork-kept", {"file": str(path)})


def _grouped(jobs: list[_Job]) -> list[list[_Job]]:
    """Runs of journal records together, everything else alone."""
    groups: list[list[_Job]] = []
    for job in jobs:
        if groups and isinstance(job, effects.AppendJournal) and isinstance(groups[-1][0], effects.AppendJournal):
            groups[-1].append(job)
        else:
            groups.append([job])
    return groups


def _what(job: _Job) -> str:
    if isinstance(job, _State):
        return "The configuration"
    if isinstance(job, _Fork):
        return f"The fork {job.name}"
    return "A promise" if isinstance(job, effects.SavePromise) else "A change of the configuration"
