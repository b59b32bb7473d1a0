"""The scheduler's process: kept warm, one run at a time, so that a large run delays nothing else on the node.

It listens on `RUN_DIR/scheduler.sock` (the same user only) for frames of msgpack: `Work` in, `Outcome` out. Inputs
are kept for people as `STATE_DIR/pengine/pe-input-N.bz2`, at most 400 of them, written after the answer has gone.
Memory is bounded by RLIMIT_AS; a run that exceeds it ends as an error. The time limit is the caller's: it kills the
process.
"""

from __future__ import annotations

import argparse
import bz2
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from quorate.host import clock, frames, places
from quorate.host.log import Log
from quorate.host.sockets import listen
from quorate.model import protocol, settings
from quorate.model.graph import Graph

INPUTS_MAX = 400
_MEMORY_MAX = 4 * 1024**3
_READ_BYTES = 1024 * 1024


class Work(msgspec.Struct, frozen=True, array_like=True):
    """Schedule this CIB as of `wall`."""

    key: int
    wall: int
    cib: bytes


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    key: int
    graph: Graph | None
    error: str = ""
    messages: tuple[str, ...] = ()
    input_name: str = ""
    took_ms: int = 0


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """First frame to whoever connects: whom to kill when a run takes too long."""

    process: int


Schedule = Callable[[bytes, int], tuple[Graph, tuple[str, ...]]]


class Inputs:
    """The last inputs of the scheduler, numbered round."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mark = directory / "pe-input.last"
        try:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._next = (int(self._mark.read_text()) + 1) % INPUTS_MAX
        except (OSError, ValueError):
            self._next = 0

    def name(self) -> str:
        """Of the next input."""
        return str(self._directory / f"pe-input-{self._next}.bz2")

    def keep(self, cib: bytes) -> None:
        """Losing one is no harm: nothing but people's curiosity depends on it."""
        path = Path(self.name())
        scratch = path.with_suffix(".new")
        try:
            scratch.write_bytes(bz2.compress(cib, 6))
            os.replace(scratch, path)
            self._mark.write_text(str(self._next))
        except OSError:
            scratch.unlink(missing_ok=True)
            return
        self._next = (self._next + 1) % INPUTS_MAX


def serve(listener: socket.socket, schedule: Schedule, inputs: Inputs, log: Log) -> None:
    """For ever: one connection after the other, one piece of work after the other."""
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                _converse(connection, schedule, inputs)
            except (OSError, frames.FrameTooLong, msgspec.DecodeError) as error:
                log.write("warning", "scheduler-client", {"error": str(error)})


def _converse(connection: socket.socket, schedule: Schedule, inputs: Inputs) -> None:
    connection.setblocking(True)
    connection.sendall(frames.frame(msgspec.msgpack.encode(Hello(os.getpid()))))
    reader = frames.FrameReader(protocol.FRAME_BYTES_MAX)
    while data := connection.recv(_READ_BYTES):
        for one in reader.feed(data):
            work = msgspec.msgpack.decode(one, type=Work)
            outcome = _run(work, schedule, inputs)
            connection.sendall(frames.frame(msgspec.msgpack.encode(outcome)))
            inputs.keep(work.cib)


def _run(work: Work, schedule: Schedule, inputs: Inputs) -> Outcome:
    began = clock.now()
    graph: Graph | None = None
    messages: tuple[str, ...] = ()
    error = ""
    try:
        graph, messages = schedule(work.cib, work.wall)
    except MemoryError:
        error = "the scheduler ran out of memory"
    except Exception as failure:  # an error of ours: the input is kept, and says how to repeat it
        error = f"{type(failure).__name__}: {failure}"
    return Outcome(
        key=work.key,
        graph=graph,
        error=error,
        messages=messages,
        input_name=inputs.name(),
        took_ms=(clock.now() - began) // 1_000_000,
    )


def bound_memory() -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = min(_MEMORY_MAX, max(512 * 1024**2, machine // 2))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def run(chosen: settings.Settings) -> int:
    """The process, once forked or started."""
    from quorate.host.scheduling import schedule

    where = places.places(chosen)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bound_memory()
    log = Log(chosen.node, "scheduler", chosen.log_file)
    serve(listen(where.worker_socket), schedule, Inputs(where.state / "pengine"), log)
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="quorate-scheduler", description="The scheduler's process of one node.")
    parser.add_argument("--config", help="quorate.toml of the node")
    chosen = parser.parse_args(arguments)
    try:
        return run(places.load_settings(places.config_path(chosen.config)))
    except (places.PlaceError, settings.SettingsError) as error:
        print(error, file=sys.stderr)
        return 78


if __name__ == "__main__":
    sys.exit(main())
