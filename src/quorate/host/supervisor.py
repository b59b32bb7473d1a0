"""`quorate run`: the guardian of one node's processes.

It starts the engine (a program of its own, early, so that it stays small), then loads what the others share and forks
the scheduler worker, the manager and the tool server from itself: they start in milliseconds and share their pages. A
child that ends is started again, at once the first time, then with growing pauses; a manager whose stamp is too old
is killed first. Services go on meanwhile: the new manager adopts them.

When the supervisor itself is killed, its children are too (parent-death signal): nothing is left without its guardian.
SIGTERM is the clean departure: the manager empties the node, then the engine says good-bye. A second one leaves
services running, a third kills.

Exit codes: 0 left, 70 the manager failed again and again, 75 the node had to go down, 78 the configuration.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click

from quorate import __version__
from quorate.host import clock, corosync_process, keys, places, realtime
from quorate.host.log import Log
from quorate.host.stamp import StampReader
from quorate.model import authkey, settings
from quorate.model.ids import MILLISECOND, SECOND

EXIT_LEFT = 0
EXIT_INTERNAL = 70
EXIT_NODE = 75
EXIT_CONFIGURATION = 78

_SHARED = (
    "asyncio",
    "lxml.etree",
    "quorate.core.node",
    "quorate.core.scheduler",
    "quorate.host.agents",
    "quorate.host.daemon",
    "quorate.host.worker",
    "quorate.tools.server",
)
_PAUSES_NS = tuple(ms * MILLISECOND for ms in (0, 100, 250, 500, 1000, 2000, 5000))
_STEADY_NS = 30 * SECOND  # a child that lived so long starts afresh in the pauses
_CHECK_NS = 500 * MILLISECOND
_STARTING_NS = 30 * SECOND  # a manager that has not stamped yet
_OOM_SCORE = -900  # of supervisor and engine: when memory runs out, others go first
_LAST_MOMENT_NS = 2 * SECOND  # for the engine's good-bye
_MANAGER_FAILURES_MAX = 5
_MANAGER_FAILURES_NS = 60 * SECOND


@dataclass(slots=True)
class Child:
    """`program`: exec'ed if it is a list of arguments, called in a fork if it is a function returning the exit code."""

    name: str
    program: list[str] | Callable[[], int]
    process: int = 0
    started_at: int = 0
    start_at: int | None = None
    failures: int = 0
    failed_at: list[int] = field(default_factory=list)


class Supervisor:
    def __init__(
        self, chosen: settings.Settings, log: Log, children: list[Child], shared: tuple[str, ...] = _SHARED
    ) -> None:
        self._log = log
        self._shared = shared
        self._stamp = StampReader(places.places(chosen).stamp)
        self._stall_ns = chosen.manager_stall_ms * MILLISECOND
        self._awake_since = clock.now()
        self._checked_at = clock.now()
        self._signals: list[int] = []
        self._stops = 0
        self._exit: int | None = None
        self._wakeups, self._waker = socket.socketpair()
        self._children = {child.name: child for child in children}

    def run(self) -> int:
        """Until the node has left or nothing more can be done. Returns the exit code."""
        self._take_signals()
        realtime.set_oom_score(_OOM_SCORE)
        self._log.write("notice", "started", {"process": "The node", "version": __version__})
        early = [self._children[name] for name in ("corosync", "engine") if name in self._children]
        for child in early:
            self._start(child)
        for module in self._shared:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()
        for child in self._children.values():
            if child not in early:
                self._start(child)
        while self._exit is None:
            self._turn()
        self._end_all()
        return self._exit

    # ---- turning ------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        select.select([self._wakeups], [], [], self._timeout())
        try:
            self._wakeups.recv(4096)
        except BlockingIOError:
            pass  # woken by the time
        now = clock.now()
        if now - self._checked_at > 2 * SECOND:
            self._awake_since = now
        while self._signals:
            self._signalled(self._signals.pop(0))
        self._reap(now)
        for child in self._children.values():
            if child.start_at is not None and now >= child.start_at:
                self._start(child)
        if now - self._checked_at >= _CHECK_NS:
            self._checked_at = now
            self._check_stamp(now)

    def _timeout(self) -> float:
        now = clock.now()
        due = [child.start_at for child in self._children.values() if child.start_at is not None]
        return max(0, min([self._checked_at + _CHECK_NS, *due]) - now) / SECOND

    def _take_signals(self) -> None:
        for end in (self._wakeups, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda received, _: self._signals.append(received))

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._log.reopen()
            for child in self._children.values():
                if child.name in ("engine", "manager"):
                    _send(child.process, signal.SIGHUP)
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stops += 1
            self._log.write("notice", "stopping", {"process": "The node", "cause": signal.Signals(number).name})
            manager = self._children["manager"]
            if self._stops > 2 or not manager.process:
                self._exit = EXIT_LEFT
            else:
                _send(manager.process, signal.SIGTERM)

    def _reap(self, now: int) -> None:
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process:
                return
            child = next((child for child in self._children.values() if child.process == process), None)
            if child is not None:
                child.process = 0
                self._ended(child, status, now)

    def _ended(self, child: Child, status: int, now: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if child.name == "manager" and self._manager_is_done(code):
            return
        first = not child.failed_at and now - child.started_at < _STEADY_NS
        if child.name == "engine" and code == EXIT_CONFIGURATION and first:
            self._exit = EXIT_CONFIGURATION  # it has said why
            return
        if now - child.started_at > _STEADY_NS:
            child.failures = 0
        pause = _PAUSES_NS[min(child.failures, len(_PAUSES_NS) - 1)]
        child.failures += 1
        child.failed_at = [at for at in child.failed_at if now - at < _MANAGER_FAILURES_NS] + [now]
        child.start_at = now + pause
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        self._log.write(
            "error", "child-ended", {"child": f"The {child.name}", "how": how, "delay_ms": str(pause // MILLISECOND)}
        )
        if child.name == "engine" and isinstance(child.program, list) and "--tolerant" not in child.program:
            child.program.append("--tolerant")
        if child.name == "manager":
            if "scheduler" in self._children:  # it may be busy for a manager that is gone
                _send(self._children["scheduler"].process, signal.SIGKILL)
            if len(child.failed_at) > _MANAGER_FAILURES_MAX:
                self._log.write("critical", "manager-fails", {"times": str(len(child.failed_at))})
                self._exit = EXIT_INTERNAL

    def _manager_is_done(self, code: int) -> bool:
        """The manager's end is the node's."""
        if code == EXIT_LEFT or self._stops > 1:
            self._exit = EXIT_LEFT
        elif code == EXIT_NODE:
            self._exit = EXIT_NODE
        elif code == EXIT_CONFIGURATION and not self._children["manager"].failed_at:
            self._exit = EXIT_CONFIGURATION
        return self._exit is not None

    def _check_stamp(self, now: int) -> None:
        manager = self._children["manager"]
        if not manager.process:
            return
        read = self._stamp.read()
        if read is not None and read[0] == manager.process:
            silent = now - max(read[1], self._awake_since)
            limit = self._stall_ns
        else:
            silent, limit = now - max(manager.started_at, self._awake_since), max(_STARTING_NS, self._stall_ns)
        if silent > limit:
            self._log.write("critical", "manager-killed", {"age_ms": str(silent // MILLISECOND)})
            _send(manager.process, signal.SIGKILL)

    # ---- children -----------------------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        child.start_at = None
        child.started_at = clock.now()
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            self._become(child, parent)
        child.process = process
        if child.name == "manager" and self._stops:
            _send(process, signal.SIGTERM)

    def _become(self, child: Child, parent: int) -> None:
        """In the child; never returns."""
        code = EXIT_INTERNAL
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._wakeups.close()
            self._waker.close()
            if child.name not in ("corosync", "engine"):
                realtime.set_oom_score(0)  # what the manager starts must not outlive everything else
            realtime.end_with_parent(parent)  # holds across exec
            if isinstance(child.program, list):
                os.execv(child.program[0], child.program)
            name = {"manager": "quorated"}.get(child.name, f"quorate-{child.name}")
            realtime.name_process(name, *sys.argv[1:])
            code = child.program()
        except BaseException:  # whatever it is, this process ends here and not in the supervisor's code
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _end_all(self) -> None:
        """The engine says good-bye if the node has left; otherwise it is silenced, as a failed node should be."""
        polite = [child for child in self._children.values() if child.name in ("corosync", "engine")]
        for child in self._children.values():
            _send(child.process, signal.SIGTERM if child in polite and self._exit == EXIT_LEFT else signal.SIGKILL)
        until = clock.now() + _LAST_MOMENT_NS
        while any(child.process for child in self._children.values()):
            if clock.now() > until:
                for child in polite:
                    _send(child.process, signal.SIGKILL)
                break
            select.select([self._wakeups], [], [], 0.02)
            try:
                process, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            for child in self._children.values():
                if process and child.process == process:
                    child.process = 0


def children_of(chosen: settings.Settings, config: Path) -> list[Child]:
    """The engine is a program of its own (as Corosync is, if it is ours to run), the others are forks."""
    module = "quorate.host.engine" if chosen.engine == "heartbeat" else "quorate.host.corosync_engine"
    engine = [sys.executable, "-P", "-m", module, "--config", str(config)]
    corosync = [] if chosen.engine == "heartbeat" else corosync_process.children()
    return [
        *(Child("corosync", command) for command in corosync),
        Child("engine", engine),
        Child("scheduler", lambda: _call("quorate.host.worker", chosen)),
        Child("manager", lambda: _call("quorate.host.daemon", chosen)),
        Child("tools", lambda: _serve_tools(config)),
    ]


def _call(module: str, chosen: settings.Settings) -> int:
    return int(importlib.import_module(module).run(chosen))


def _serve_tools(config: Path) -> int:
    os.environ["QUORATE_CONFIG"] = str(config)
    importlib.import_module("quorate.tools.server").main([])
    return 0


def _send(process: int, number: signal.Signals) -> None:
    if process:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            pass  # it has just ended; it is reaped next


def _hold(where: places.Places) -> int:
    """One supervisor for a run directory. Returns the descriptor that holds the lock."""
    descriptor = os.open(where.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise places.PlaceError(
            f"{where.run}: quorate runs here already (process {holder}); stop it first, or choose another run_dir"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@click.command()
@click.option("--config", type=click.Path(dir_okay=False), help="quorate.toml of this node (else $QUORATE_CONFIG).")
def run(config: str | None) -> int:
    """Run this node: engine, manager and tool server, until told to stop.

    SIGTERM empties the node and leaves; a second one leaves its services running."""
    path = places.config_path(config).absolute()
    try:
        chosen = places.load_settings(path)
        where = places.places(chosen)
        places.make_places(where)
        if chosen.engine == "heartbeat":  # Corosync has a key of its own
            keys.load_keys(Path(chosen.key_file))
        else:
            corosync_process.check(chosen)
        lock = _hold(where)
    except (places.PlaceError, settings.SettingsError, authkey.AuthKeyError) as error:
        click.echo(str(error), err=True)
        return EXIT_CONFIGURATION
    realtime.name_process("quorate")
    log = Log(chosen.node, "supervisor", chosen.log_file)
    for warning in chosen.warnings():
        log.write("warning", "settings", {"advice": warning})
    os.chdir("/")
    try:
        return Supervisor(chosen, log, children_of(chosen, path)).run()
    finally:
        os.close(lock)
