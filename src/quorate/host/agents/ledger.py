"""Which actions are under way, in files that outlive the manager: written before an agent is executed, removed after.

A manager that comes back ends what its predecessor left in the middle of an action, by process group; never a service
that an agent started and left running, and never a stranger who got the same number (the start time tells).
Files: RUN_DIR/ledger/NUMBER, fields separated by tabs; a second line is added once the process exists. They need no
fsync: they are about processes, which no more outlive the machine than files in /run do.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

MARK = "QUORATE_ACTION"  # environment variable by which a process is found whose number is not in the ledger yet
END_GRACE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """What became of a predecessor's action. outcome: "ended", "gone" (it was over), "survives" (cannot be ended)."""

    key: str
    what: str
    pid: int
    outcome: str


class Ledger:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._boot_id = boot_id()
        self._number = 0
        self._prefix = f"{os.getpid()}-{time.clock_gettime_ns(time.CLOCK_BOOTTIME)}"

    def begin(self, key: str, what: str) -> tuple[Path, str]:
        """Before the agent is executed: the entry's path, and the mark for its environment. May raise OSError."""
        self._number += 1
        name = f"{self._prefix}-{self._number}"
        path = self.directory / name
        text = "\t".join((_plain(key), self._boot_id, name, _plain(what))) + "\n"
        try:
            _write(path, text)
        except FileNotFoundError:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, text)
        return path, name

    def spawned(self, path: Path, pid: int) -> None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{pid}\t{start_time(pid) or 0}\n")

    def end(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def end_orphans(self) -> list[Orphan]:
        """End every action of a previous manager that is still under way. Waits for their end, END_GRACE_S at most."""
        orphans: list[Orphan] = []
        waiting: list[tuple[str, str, int, int]] = []
        entries = [path for path in sorted(self.directory.glob("*")) if not path.name.startswith(self._prefix)]
        for path in entries:
            found = self._running(path)
            if found is not None:
                key, what, pid, started = found
                if pid and is_same_process(pid, started):
                    _kill_group(pid)
                    waiting.append(found)
                else:
                    orphans.append(Orphan(key=key, what=what, pid=pid, outcome="gone"))
        deadline = time.clock_gettime(time.CLOCK_BOOTTIME) + END_GRACE_S
        while waiting and time.clock_gettime(time.CLOCK_BOOTTIME) < deadline:
            ended = [entry for entry in waiting if not is_same_process(entry[2], entry[3])]
            orphans.extend(Orphan(key=key, what=what, pid=pid, outcome="ended") for key, what, pid, _ in ended)
            waiting = [entry for entry in waiting if entry not in ended]
            if waiting:
                time.sleep(0.005)
        orphans.extend(Orphan(key=key, what=what, pid=pid, outcome="survives") for key, what, pid, _ in waiting)
        for path in entries:
            self.end(path)
        return orphans

    def _running(self, path: Path) -> tuple[str, str, int, int] | None:
        """(key, what, pid, start time) of an entry; None for one of an earlier boot or without meaning."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        fields = lines[0].split("\t") if lines else []
        if len(fields) != 4 or fields[1] != self._boot_id:
            return None
        key, _, mark, what = fields
        if len(lines) > 1 and len(numbers := lines[1].split("\t")) == 2 and all(part.isdigit() for part in numbers):
            return key, what, int(numbers[0]), int(numbers[1])
        pid = find_marked(mark, what)
        return key, what, pid, (start_time(pid) or 0) if pid else 0


def find_marked(mark: str, what: str) -> int:
    """The leader of the group that was spawned with this mark; 0 if there is none. Services that the agent has started
    bear the mark too; the agent is the one whose command line it is."""
    wanted = f"{MARK}={mark}".encode()
    argument = what.split(" ", 1)[0].encode()
    for entry in sorted((entry for entry in os.listdir("/proc") if entry.isdigit()), key=int):
        try:
            environment = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            command = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in environment and argument in command and os.getpgid(int(entry)) == int(entry):
            return int(entry)
    return 0


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _plain(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which the process began (field 22 of its stat); None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rfind(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def is_same_process(pid: int, started: int) -> bool:
    return start_time(pid) == started
