"""One run of a program: its own process group, bounded output, ended as a whole at its timeout.

The end is the end of the process (a pidfd), not the end of its output: services that an agent starts may hold the pipes
open for ever. `posix_spawn` costs half a millisecond whatever the size of this process and its limit of open files.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

UMASK = 0o026
STDIN_BYTES_MAX = 60_000  # written at once into an empty pipe, which holds 64 KiB
STDOUT_BYTES_MAX = 1024 * 1024  # the first: metadata, lists
STDERR_BYTES_MAX = 64 * 1024  # the last: reasons
KILL_GRACE_S = 5.0  # after SIGKILL; then what it does is unknown
DRAIN_READS_MAX = 64  # of what is left in the pipes when the process has ended
_READ_BYTES = 64 * 1024
REASON_PREFIX = b"ocf-exit-reason:"
_DEFAULT_SIGNALS = tuple(
    signal.Signals[f"SIG{name}"] for name in ("PIPE", "XFSZ", "HUP", "INT", "QUIT", "TERM", "CHLD", "USR1", "USR2")
)


class Loop(Protocol):
    """What is needed of an event loop; asyncio's has it."""

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> Any: ...

    def remove_reader(self, fd: int) -> Any: ...

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Any: ...

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """`code`: exit code, or minus the signal. `survives`: it could not be ended; nothing is known of what it does."""

    code: int
    timed_out: bool = False
    killed: bool = False
    survives: bool = False
    output: bytes = b""
    errors: bytes = b""
    reason: str = ""
    execution_ms: int = 0


class SpawnError(Exception):
    """The program could not be executed. `missing`: there is none."""

    def __init__(self, message: str, *, missing: bool = False, forbidden: bool = False) -> None:
        super().__init__(message)
        self.missing = missing
        self.forbidden = forbidden


@dataclass(slots=True)
class _Output:
    """What is kept of a stream, and the last exit reason seen in it."""

    limit: int
    keep_last: bool
    data: bytearray = field(default_factory=bytearray)
    reason: bytes = b""

    def add(self, chunk: bytes) -> None:
        if not self.keep_last:
            self.data += chunk[: self.limit - len(self.data)]
            return
        self.data += chunk
        excess = len(self.data) - self.limit
        if excess > 0:
            self.reason = _last_reason(bytes(self.data[:excess])) or self.reason
            del self.data[:excess]

    def last_reason(self) -> str:
        reason = _last_reason(bytes(self.data)) or self.reason
        return reason.decode("utf-8", "replace").strip()


def _last_reason(text: bytes) -> bytes:
    start = text.rfind(REASON_PREFIX)
    if start < 0:
        return b""
    return text[start + len(REASON_PREFIX) :].split(b"\n", 1)[0]


class RunningProcess:
    """Spawned by the constructor, which may raise SpawnError. `on_exit` is called once, never from inside it."""

    def __init__(
        self,
        loop: Loop,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        directory: Path,
        timeout_s: float,
        on_exit: Callable[[Exit], None],
        stdin: bytes | None = None,
        on_spawned: Callable[[int], None] | None = None,
    ) -> None:
        self._loop = loop
        self._on_exit = on_exit
        self._output = _Output(STDOUT_BYTES_MAX, keep_last=False)
        self._errors = _Output(STDERR_BYTES_MAX, keep_last=True)
        self._timed_out = self._killed = self._told = False
        self._begun = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.pid, self._pipes = _spawn(argv, environment, directory, stdin)
        self._open: dict[int, _Output] = {self._pipes[0]: self._output, self._pipes[1]: self._errors}
        if on_spawned is not None:
            on_spawned(self.pid)
        self._pidfd = os.pidfd_open(self.pid)
        loop.add_reader(self._pidfd, self._ended)
        for pipe in self._pipes:
            loop.add_reader(pipe, self._readable, pipe)
        self._timer = loop.call_later(timeout_s, self._timeout)

    def kill(self) -> None:
        """End the whole group; `on_exit` follows with `killed`."""
        if not self._told and not self._timed_out:
            self._killed = True
            self._end_group()

    def _timeout(self) -> None:
        self._timed_out = not self._killed
        self._end_group()

    def _end_group(self) -> None:
        _kill_group(self.pid)
        self._timer.cancel()
        self._timer = self._loop.call_later(KILL_GRACE_S, self._survives)

    def _survives(self) -> None:
        self._tell(Exit(code=-signal.SIGKILL, survives=True, **self._common()))  # goes on being watched, to be reaped

    def _ended(self) -> None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._timer.cancel()
        if self._timed_out or self._killed:
            _kill_group(self.pid)  # children that were forked while the group was being ended
        for pipe in list(self._open):
            for _ in range(DRAIN_READS_MAX):
                if not self._readable(pipe):
                    break
            self._close(pipe)
        self._tell(Exit(code=os.waitstatus_to_exitcode(status), **self._common()))

    def _common(self) -> dict[str, Any]:
        elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - self._begun
        return {
            "timed_out": self._timed_out,
            "killed": self._killed,
            "output": bytes(self._output.data),
            "errors": bytes(self._errors.data),
            "reason": self._errors.last_reason(),
            "execution_ms": int(elapsed * 1000),
        }

    def _tell(self, ended: Exit) -> None:
        if not self._told:
            self._told = True
            self._on_exit(ended)

    def _readable(self, pipe: int) -> bool:
        """Take one piece of output; False when there is nothing (more) to read."""
        kept = self._open.get(pipe)
        if kept is None:
            return False
        try:
            chunk = os.read(pipe, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self._close(pipe)
            return False
        kept.add(chunk)
        return True

    def _close(self, pipe: int) -> None:
        if self._open.pop(pipe, None) is not None:
            self._loop.remove_reader(pipe)
            os.close(pipe)


def keep_descriptors_private() -> None:
    """What this process itself has inherited is not for agents either: a service would keep it open for ever."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2:
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                pass  # the listing's own


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody is left in it


def _spawn(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path, stdin: bytes | None
) -> tuple[int, tuple[int, int]]:
    if stdin is not None and len(stdin) > STDIN_BYTES_MAX:
        raise SpawnError(f"the parameters for {argv[0]} are longer than {STDIN_BYTES_MAX} bytes")
    opened: list[int] = []
    try:
        output_read, output_write = _pipe(opened)
        errors_read, errors_write = _pipe(opened)
        if stdin is None:
            source = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            opened.append(source)
        else:
            source, sink = _pipe(opened)
            os.write(sink, stdin)
        actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, output_write, 1),
                   (os.POSIX_SPAWN_DUP2, errors_write, 2)]  # fmt: skip
        pid = _spawn_in(directory, argv, environment, actions)
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    for descriptor in opened:
        if descriptor not in (output_read, errors_read):
            os.close(descriptor)
    os.set_blocking(output_read, False)
    os.set_blocking(errors_read, False)
    return pid, (output_read, errors_read)


def _pipe(opened: list[int]) -> tuple[int, int]:
    ends = os.pipe()
    opened.extend(ends)
    return ends


def _spawn_in(
    directory: Path, argv: Sequence[str], environment: Mapping[str, str], actions: list[tuple[int, int, int]]
) -> int:
    """posix_spawn knows neither directory nor umask: they are this process's own for the moment of the call."""
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    umask = os.umask(UMASK)
    try:
        os.chdir(directory)
        return _exec(argv, environment, actions)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        forbidden = error.errno in (errno.EACCES, errno.EPERM)
        raise SpawnError(f"cannot execute {argv[0]}: {error.strerror}", missing=missing, forbidden=forbidden) from error
    finally:
        os.umask(umask)
        os.fchdir(here)
        os.close(here)


def _exec(argv: Sequence[str], environment: Mapping[str, str], actions: list[tuple[int, int, int]]) -> int:
    try:
        return os.posix_spawn(argv[0], list(argv), environment, file_actions=actions, setpgroup=0,
                              setsigmask=(), setsigdef=_DEFAULT_SIGNALS)  # fmt: skip
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    return os.posix_spawn("/bin/sh", ["/bin/sh", *argv], environment, file_actions=actions, setpgroup=0,
                          setsigmask=(), setsigdef=_DEFAULT_SIGNALS)  # a script without "#!"  # fmt: skip
